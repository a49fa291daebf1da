"""Keeps the values of secret variables out of what is told of failures."""

import json
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from typing import Any, Final

import msgspec

from stepflow_sdk.flows import Failure
from stepflow_sdk.flows.values import is_array, is_object
from stepflow_sdk.runtime.runs import REDACTED, RunRecord

__all__ = ["SECRETS", "redact", "secrets_of"]

SECRETS: ContextVar[tuple[str, ...]] = ContextVar("stepflow_secrets", default=())
"""The secrets of the run, and of those that it belongs to, around the place that asks."""

_SHORTEST: Final = 4
"""A shorter text stands in too many messages by chance, and is no secret that holds."""


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
