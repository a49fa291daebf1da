"""What every context knows: where the component runs, and for which step."""

import logging
import uuid
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Generic, Protocol

import msgspec

from stepflow_sdk.context.client import RuntimeClient
from stepflow_sdk.errors import ResourceUnavailable
from stepflow_sdk.protocol import BlobId, ObservabilityContext

if TYPE_CHECKING:
    # The default spares authors without a lifespan from writing StepflowContext[Any].
    from typing_extensions import TypeVar

    State = TypeVar("State", default=Any)
else:
    from typing import TypeVar

    State = TypeVar("State")

__all__ = ["Call", "ContextBase", "State", "Values"]

_log = logging.getLogger("stepflow_sdk.component")


class Values(Protocol):
    """Turns Python values into JSON and back, by the same rules as inputs and outputs of components."""

    def encode(self, value: Any) -> bytes:
        """Return a value as JSON; raises `InvalidValue` with the path of what is not JSON."""
        ...

    def decode(self, raw: msgspec.Raw, type: Any) -> Any:
        """Return JSON as a value of a type; raises `InvalidValue` with the path of what does not fit."""


class Call(msgspec.Struct):
    """The facts of one call of a component, from which a context is made.

    Attributes:
        component: Its path.
        attempt: Which try of the step this is, from 1.
        state: What the server's lifespan made.
    """

    component: str
    attempt: int
    ids: ObservabilityContext
    client: RuntimeClient
    values: Values
    state: Any


class ContextBase(Generic[State]):
    """The part of a context that asks nothing of the runtime."""

    def __init__(self, call: Call) -> None:
        self._facts = call
        self._ended = False
        self._submissions = 0

    @property
    def component(self) -> str:
        """The path under which the component was called, ``"/text/summarize"``."""
        return self._facts.component

    @property
    def attempt(self) -> int:
        """Which try of the step this is, from 1: it grows when a step is executed again."""
        return self._facts.attempt

    @property
    def run_id(self) -> str | None:
        """The id of the run, or None outside one."""
        return self._facts.ids.run_id

    @property
    def flow_id(self) -> BlobId | None:
        """The id of the flow, which is a blob, or None outside one."""
        return self._facts.ids.flow_id

    @property
    def step_id(self) -> str | None:
        """The id of the step, or None outside a flow."""
        return self._facts.ids.step_id

    @property
    def state(self) -> State:
        """What the server's ``lifespan`` yielded; None for a server without one."""
        state: State = self._facts.state
        return state

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the outcome any more: a long ``def`` component should look and give up."""
        return self._ended

    @property
    def log(self) -> "logging.LoggerAdapter[logging.Logger]":
        """A logger whose records carry ``component``, ``attempt`` and the ids of run, flow, step and trace."""
        return _ContextLogger(_log, self.log_fields())

    def log_fields(self) -> dict[str, Any]:
        """The ids that log records carry."""
        ids = self._facts.ids
        return {
            "component": self.component,
            "run_id": ids.run_id,
            "flow_id": ids.flow_id,
            "step_id": ids.step_id,
            "attempt": self.attempt,
            "trace_id": ids.trace_id,
        }

    def end(self) -> None:
        """Close the context; the server does this when the component has ended or nobody waits for it."""
        self._ended = True

    def _client(self) -> RuntimeClient:
        if self._ended:
            raise ResourceUnavailable("the component has ended; its context is closed")
        return self._facts.client

    def _next_key(self) -> str:
        # The same call of the same step must have the same key when the step is executed again, so it is counted.
        self._submissions += 1
        ids = self._facts.ids
        return str(uuid.uuid5(_KEYS, f"{ids.run_id}/{ids.step_id}/{self._submissions}"))


_KEYS = uuid.UUID("7f9c1d52-3a5e-4d0f-9a41-7b5f0f2a6c11")


class _ContextLogger(logging.LoggerAdapter[logging.Logger]):
    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs
