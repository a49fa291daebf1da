"""The log of a command, on stderr: as text, or as an object on each line."""

import logging
import sys
from functools import cache

from stepflow_sdk.cli.arguments import Options
from stepflow_sdk.cli.output import printable, say_as

__all__ = ["begin_log"]

_TEXT = "%(levelname)s %(name)s%(step)s: %(message)s"
_NAME = "stepflow_sdk.cli"


class _TextFormatter(logging.Formatter):
    """For people: what is logged comes from flows and servers, and must not move the cursor of a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def begin_log(options: Options) -> None:
    """Have the log go to stderr, in the format that was asked for; what else is said there has it too."""
    as_json = options.log_format == "json"
    level: str = options.log_level or ("INFO" if as_json else "WARNING")
    formatter = _json_formatter() if as_json else _TextFormatter(_TEXT)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    # Where a program of its own runs command lines, it has said what becomes of the log.
    logging.basicConfig(level=level, handlers=[handler])
    for known in logging.getLogger().handlers:
        # A handler has each of them once, however often command lines are run.
        for added in _filters():
            known.addFilter(added)
    say_as((lambda text, level: formatter.format(_record(text, level))) if as_json else None)


def _record(text: str, level: int) -> logging.LogRecord:
    if text.startswith("warning: "):
        text, level = text.removeprefix("warning: "), logging.WARNING
    return logging.LogRecord(_NAME, level, "", 0, "%s", (text,), None)


def _json_formatter() -> logging.Formatter:
    from stepflow_sdk.context.logs import JsonFormatter

    return JsonFormatter()


@cache
def _filters() -> tuple[logging.Filter, ...]:
    """They tell whose a record is, of a server in this process or of the runtime, and keep secrets out of it."""
    from stepflow_sdk.context.logs import ContextFilter
    from stepflow_sdk.runtime.log_ids import StepFilter
    from stepflow_sdk.runtime.redaction import SECRET_FILTER

    return StepFilter(), ContextFilter(), SECRET_FILTER
