"""Keeps the values of secret variables out of what is told of failures, and out of the log."""

import json
import logging
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import msgspec

from stepflow_sdk.flows import Failure
from stepflow_sdk.flows.values import is_array, is_object
from stepflow_sdk.runtime.runs import REDACTED, RunRecord

__all__ = ["SECRETS", "SECRET_FILTER", "holding", "redact", "secrets_of"]

SECRETS: ContextVar[tuple[str, ...]] = ContextVar("stepflow_secrets", default=())
"""The secrets of the run, and of those that it belongs to, around the place that asks."""

_SHORTEST: Final = 4
"""A shorter text stands in too many messages by chance, and is no secret that holds."""


_REMEMBERED: Final = 100
"""Of so many runs that have ended secrets are still looked for: what a server says on stderr comes when it comes."""


class _Held:
    """The secrets of the runs of this process, the longest first."""

    def __init__(self) -> None:
        self.texts: tuple[str, ...] = ()
        self._active: list[tuple[str, ...]] = []
        self._ended: deque[tuple[str, ...]] = deque(maxlen=_REMEMBERED)

    def begin(self, secrets: tuple[str, ...]) -> None:
        self._active.append(secrets)
        self._gather()

    def end(self, secrets: tuple[str, ...]) -> None:
        self._active.remove(secrets)
        self._ended.append(secrets)
        self._gather()

    def _gather(self) -> None:
        known = {text for secrets in (*self._active, *self._ended) for text in secrets}
        self.texts = tuple(sorted(known, key=len, reverse=True))


_held: Final = _Held()


class _SecretFilter(logging.Filter):
    """Writes ``<secret>`` in the place of each secret of a run, in messages and tracebacks."""

    def filter(self, record: logging.LogRecord) -> bool:
        secrets = _held.texts
        if not secrets:
            return True
        text = record.getMessage()
        clean = _without(text, secrets)
        if clean != text:
            record.msg, record.args = clean, None
        if record.exc_info and not record.exc_text:
            told = _TRACEBACKS.formatException(record.exc_info)
            clean = _without(told, secrets)
            if clean != told:
                # Whoever formats the exception once more would find the secret in it.
                record.exc_text, record.exc_info = clean, None
        return True


_TRACEBACKS: Final = logging.Formatter()
SECRET_FILTER: Final = _SecretFilter()

for _name in ("component", "runtime", "runtime.runs", "runtime.service", "server", "stdout", "transports"):
    # On the loggers, for handlers are the application's; the commands have it on theirs as well.
    logging.getLogger(f"stepflow_sdk.{_name}").addFilter(SECRET_FILTER)


@contextmanager
def holding(secrets: tuple[str, ...]) -> Generator[None, None, None]:
    """Keep the secrets of a run out of the log from now on."""
    if not secrets:
        yield
        return
    _held.begin(secrets)
    try:
        yield
    finally:
        _held.end(secrets)


def secrets_of(run: RunRecord) -> tuple[str, ...]:
    """The texts in the secret variables of a run, the longest first."""
    variables = run.variables or {}
    texts = {text for name in run.secrets if name in variables for text in _texts(variables[name])}
    # Messages quote texts as JSON does, where a quote or a line end is written in two characters.
    quoted = {json.dumps(text, ensure_ascii=ascii)[1:-1] for text in texts for ascii in (True, False)}
    return tuple(sorted(texts | quoted, key=len, reverse=True))


def redact(failure: Failure, secrets: Sequence[str]) -> Failure:
    """A failure with ``<secret>`` in the place of each secret in its message and data."""
    if not secrets:
        return failure
    message = _without(failure.message, secrets)
    return msgspec.structs.replace(failure, message=message, data=_redacted(failure.data, secrets))


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        if len(value) >= _SHORTEST:
            yield value
    elif is_object(value):
        for member in value.values():
            yield from _texts(member)
    elif is_array(value):
        for member in value:
            yield from _texts(member)


def _redacted(value: Any, secrets: Sequence[str]) -> Any:
    if isinstance(value, str):
        return _without(value, secrets)
    if is_object(value):
        return {_without(key, secrets): _redacted(member, secrets) for key, member in value.items()}
    if is_array(value):
        return [_redacted(member, secrets) for member in value]
    return value


def _without(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, REDACTED)
    return text
