"""Logging of a served process: ids on every record, and never a wait for whoever reads the log."""

import io
import logging
import threading
from collections import deque
from datetime import UTC, datetime
from typing import Any, Literal, TextIO, TypeAlias

from stepflow_sdk.context.current import CURRENT

__all__ = ["ContextFilter", "JsonFormatter", "LineLogger", "LogFormat", "LogThread"]

LogFormat: TypeAlias = Literal["text", "json"]

_NO_FIELDS: dict[str, Any] = dict.fromkeys(("component", "run_id", "flow_id", "step_id", "attempt", "trace_id"))
_FORMAT = "%(asctime)s %(levelname)s %(name)s%(step)s: %(message)s"
_MAX_LINE = 8192
_MAX_TEXT = 20_000
"""How much of a message, and of a traceback, is kept, in characters: many of them may have to wait."""
_TRACEBACKS = logging.Formatter()


class ContextFilter(logging.Filter):
    """Gives every log record the ids of the component that wrote it; they are None elsewhere."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add what the record does not have yet."""
        running = CURRENT.get()
        fields = _NO_FIELDS if running is None else running.context().log_fields()
        for name, value in fields.items():
            if getattr(record, name, None) is None:
                setattr(record, name, value)
        record.step = _step_text(record)
        return True


def _step_text(record: logging.LogRecord) -> str:
    parts = [f"{name[:-3]}={value}" for name in ("run_id", "step_id") if (value := getattr(record, name, None))]
    component = getattr(record, "component", None)
    return f" [{' '.join([component, *parts])}]" if component else ""


class LogThread:
    """Writes log records to a stream in a thread of its own, so that a full pipe stops nobody.

    At most ``limit`` records wait; those above it are dropped and counted in the log. In the format ``json`` each
    record is one line with an object: ``time``, ``level``, ``logger``, ``message``, the ids, and ``exception``.
    """

    def __init__(self, stream: TextIO, level: int | str, format: LogFormat = "text", *, limit: int = 2000) -> None:
        self._writer = logging.StreamHandler(stream)
        self._writer.setFormatter(logging.Formatter(_FORMAT) if format == "text" else JsonFormatter())
        self._handler = _DroppingHandler(limit)
        self._handler.addFilter(ContextFilter())
        self._thread = threading.Thread(target=self._write, name="stepflow-log", daemon=True)
        self._level = level

    def start(self) -> None:
        """Become the root logger's handler."""
        root = logging.getLogger()
        root.addHandler(self._handler)
        root.setLevel(self._level)
        self._thread.start()

    def stop(self, timeout: float = 1.0) -> bool:
        """Write what waits, for at most ``timeout`` seconds; False when the thread is stuck in a write."""
        logging.getLogger().removeHandler(self._handler)
        self._handler.end()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _write(self) -> None:
        while (record := self._handler.next()) is not None:
            if dropped := self._handler.take_dropped():
                text = "%d log records were dropped: whoever reads the log is too slow"
                self._writer.handle(_record(text, dropped))
            self._writer.handle(record)


class JsonFormatter(logging.Formatter):
    """Makes of a record a line with an object: ``time``, ``level``, ``logger``, ``message``, ids and ``exception``."""

    def __init__(self) -> None:
        super().__init__()
        # Only those who ask for this format pay for it.
        from json import JSONEncoder

        self._encode = JSONEncoder(default=str).encode

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= {name: value for name in _NO_FIELDS if (value := getattr(record, name, None)) is not None}
        if record.exc_info and not record.exc_text:
            record.exc_text = _shortened(self.formatException(record.exc_info))
        if record.exc_text:
            fields["exception"] = record.exc_text
        return self._encode(fields)


class _DroppingHandler(logging.Handler):
    """What the standard library's QueueHandler and queue are, without all that comes with their modules."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self._records: deque[logging.LogRecord] = deque()
        self._dropped = 0
        self._over = False
        # A lock that may be taken again: what the collector or a signal calls may log, in the middle of all this.
        self._changed = threading.Condition(threading.RLock())

    def emit(self, record: logging.LogRecord) -> None:
        try:
            detached = self._detached(record)
        except Exception:
            self.handleError(record)
            return
        with self._changed:
            if len(self._records) >= self._limit:
                self._dropped += 1
            else:
                self._records.append(detached)
                self._changed.notify()

    def next(self) -> logging.LogRecord | None:
        """Wait for the next record; None when there is none and none will come."""
        with self._changed:
            while not self._records:
                if self._over:
                    return None
                self._changed.wait()
            return self._records.popleft()

    def end(self) -> None:
        """Know that no record will come."""
        with self._changed:
            self._over = True
            self._changed.notify()

    def _detached(self, record: logging.LogRecord) -> logging.LogRecord:
        # The writer's thread gets texts alone: what they are made of may change, or lives on through its traceback.
        original, record = record, logging.LogRecord("", 0, "", 0, "", None, None)
        record.__dict__.update(original.__dict__)
        record.msg, record.args = _shortened(original.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = _TRACEBACKS.formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = _shortened(record.exc_text)
        record.exc_info = None
        return record

    def take_dropped(self) -> int:
        dropped, self._dropped = self._dropped, 0
        return dropped


def _shortened(text: str) -> str:
    if len(text) <= _MAX_TEXT:
        return text
    # What a text begins with and what a traceback ends with say the most.
    half = _MAX_TEXT // 2
    return f"{text[:half]} … {len(text) - 2 * half} characters left out … {text[-half:]}"


def _record(text: str, *args: object) -> logging.LogRecord:
    record = logging.LogRecord("stepflow_sdk.log", logging.WARNING, __file__, 0, text, args, None)
    record.step = ""
    return record


class LineLogger(io.TextIOBase):
    """A text stream whose lines become log records: what stands in for stdout while stdout is the wire."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._lines = threading.local()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # the base class has an attribute here
        """The encoding that writers may ask for."""
        return "utf-8"

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Log each line that ends here; the rest waits for its end, for each thread apart."""
        pending = getattr(self._lines, "text", "") + text
        *lines, rest = pending.split("\n")
        if len(rest) > _MAX_LINE:
            lines, rest = [*lines, rest], ""
        self._lines.text = rest
        for line in lines:
            if line.strip():
                self._logger.info("%s", line)
        return len(text)

    def flush(self) -> None:
        """Nothing: a line is logged when it ends."""
