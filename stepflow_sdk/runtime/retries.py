"""How often, and how soon, a component that failed is called again (section c.4 of the flow format)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal

from stepflow_sdk.errors import (
    ComponentError,
    RemoteError,
    RequestTimeout,
    ResourceUnavailable,
    ServerLost,
    WireError,
)
from stepflow_sdk.flows import OnError
from stepflow_sdk.protocol.error_codes import may_be_retried

__all__ = ["Backoff", "RetryBudget", "RetryPolicy", "Trouble", "trouble_of"]

_DEFAULT_MAX_RETRIES: Final = 3
_TRANSPORT_CODES: Final = range(-32399, -32299)
_COMPONENT_CODES: Final = range(-32199, -32099)


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long is waited before a component is called again, in seconds.

    Attributes:
        kind: ``fibonacci`` waits ``least`` twice, and then each time as long as the last two times together;
            ``exponential`` waits ``factor`` times as long each time; ``constant`` waits ``least`` each time.
        least: The first wait.
        most: The longest wait; without a meaning for ``constant``.
        factor: Of ``exponential`` alone.
    """

    kind: Literal["fibonacci", "exponential", "constant"] = "fibonacci"
    least: float = 1.0
    most: float = 10.0
    factor: float = 2.0

    @classmethod
    def constant(cls, seconds: float) -> "Backoff":
        """The same wait each time."""
        return cls("constant", least=seconds, most=seconds)

    def delays(self) -> Iterator[float]:
        """The waits, one after the other, without an end."""
        now, then = self.least, self.least
        while True:
            yield now if self.kind == "constant" else min(now, self.most)
            if self.kind == "fibonacci":
                # Bounded as it goes: the numbers themselves would grow without an end.
                now, then = then, min(now + then, self.most)
            elif self.kind == "exponential":
                now = min(now * self.factor, self.most)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What a runtime does about steps that failed.

    Attributes:
        transport_max_retries: How often a step is tried again whose server was lost, whatever its ``onError`` says
            (but for ``useDefault``); 0 for never.
        backoff: How long is waited before each try, also of those that ``onError: retry`` asks for.
    """

    transport_max_retries: int = 3
    backoff: Backoff = field(default_factory=Backoff)


class Trouble(Enum):
    """Why an attempt failed, as far as it matters for another one."""

    TRANSPORT = "the server was lost"
    COMPONENT = "the component failed, and may not fail the next time"
    FINAL = "another attempt would end as this one did"


def trouble_of(error: WireError, *, builtin: bool = False) -> Trouble:
    """Tell what kind of failure an error is.

    The range of its code decides (section 8.2 of the dialects). In the protocol's own table, in which our servers
    answer, codes have no ranges; there the rule is the one by which they choose a code for runtimes that have them, see
    `range_codes`: an exception of the component's own may not come again, nor what is said to be ``retryable``.

    Args:
        error: What the plugin raised.
        builtin: Whether a component of the runtime's own raised it: a code of the transport is that of a nested flow
            then, whose steps have had their retries.
    """
    if isinstance(error, RemoteError):
        if error.code in _TRANSPORT_CODES:
            return Trouble.FINAL if builtin else Trouble.TRANSPORT
        return Trouble.COMPONENT if error.code in _COMPONENT_CODES else Trouble.FINAL
    if isinstance(error, ServerLost):
        return Trouble.TRANSPORT
    if builtin:
        return Trouble.FINAL
    if isinstance(error, ComponentError):
        return Trouble.COMPONENT if may_be_retried(error) else Trouble.FINAL
    return Trouble.COMPONENT if isinstance(error, (ResourceUnavailable, RequestTimeout)) else Trouble.FINAL


class RetryBudget:
    """How many attempts one step has left: of each kind its own, with one backoff for all.

    Args:
        policy: The runtime's.
        on_error: The step's.
    """

    def __init__(self, policy: RetryPolicy, on_error: OnError | None) -> None:
        action = "fail" if on_error is None else on_error.action
        asked = None if on_error is None else on_error.max_retries
        retries = _DEFAULT_MAX_RETRIES if asked is None else asked
        self._left = {
            # A default takes effect at the first failure, before any retry.
            Trouble.TRANSPORT: 0 if action == "useDefault" else policy.transport_max_retries,
            Trouble.COMPONENT: retries if action == "retry" else 0,
            Trouble.FINAL: 0,
        }
        self._delays = policy.backoff.delays()

    def spend(self, trouble: Trouble) -> float | None:
        """Take one retry; returns the seconds to wait before it, or None when none is left."""
        if self._left[trouble] < 1:
            return None
        self._left[trouble] -= 1
        return next(self._delays)
