"""Reads ``retry`` of a configuration (section c.4 of the flow format)."""

from typing import Final, Literal

from stepflow_sdk.flows import did_you_mean
from stepflow_sdk.flows.values import describe
from stepflow_sdk.runtime.config_fields import Fields
from stepflow_sdk.runtime.retries import Backoff, RetryPolicy

__all__ = ["read_retry"]

_Kind = Literal["fibonacci", "exponential", "constant"]
_KINDS: Final[tuple[_Kind, ...]] = ("fibonacci", "exponential", "constant")
_KEYS: Final = {
    "fibonacci": ("type", "minDelayMs", "maxDelayMs"),
    "exponential": ("type", "minDelayMs", "maxDelayMs", "factor"),
    "constant": ("type", "delayMs"),
}


def read_retry(root: Fields) -> RetryPolicy:
    """Read it from the configuration; the defaults are those of the orchestrator.

    Raises:
        InvalidConfig: Something in it is wrong.
    """
    fields = root.inner("retry", "'retry'")
    if fields is None:
        return RetryPolicy()
    hints = {
        "maxAttempts": "that is the key of 0.10; write transportMaxRetries, which does not count the first attempt"
    }
    fields.only(("transportMaxRetries", "backoff"), hints)
    retries = fields.integer("transportMaxRetries")
    backoff = fields.inner("backoff", "'backoff'")
    return RetryPolicy(
        RetryPolicy().transport_max_retries if retries is None else retries,
        Backoff() if backoff is None else _read_backoff(backoff),
    )


def _read_backoff(fields: Fields) -> Backoff:
    fields.need("type", "type: fibonacci")
    kind = _kind(fields)
    fields.only(_KEYS[kind])
    default = Backoff()
    if kind == "constant":
        delay = fields.integer("delayMs")
        return Backoff.constant(default.least if delay is None else delay / 1000)
    least, most, factor = fields.integer("minDelayMs"), fields.integer("maxDelayMs"), fields.number("factor")
    seconds = default.least if least is None else least / 1000
    longest = default.most if most is None else most / 1000
    if longest < seconds:
        name = "minDelayMs" if most is None else "maxDelayMs"
        fields.refuse(f"'maxDelayMs' ({longest * 1000:g}) is less than 'minDelayMs' ({seconds * 1000:g})", name)
    if factor is not None and factor < 1:
        fields.refuse(f"'factor' is 1 or more, not {factor:g}", "factor")
    return Backoff(kind, seconds, longest, default.factor if factor is None else factor)


def _kind(fields: Fields) -> _Kind:
    given = fields.value("type")
    for kind in _KINDS:
        if kind == given:
            return kind
    hint = did_you_mean(given, _KINDS) if isinstance(given, str) else None
    said = f"; {hint}" if hint else ""
    shown = repr(given[:60]) if isinstance(given, str) else describe(given)
    return fields.refuse(f"'type' of 'backoff' is 'fibonacci', 'exponential' or 'constant', not {shown}{said}", "type")
