"""The failures of steps whose component was not the one that failed (section c.5 of the flow format)."""

from collections.abc import Sequence
from typing import Any

from stepflow_sdk.errors import ComponentNotFound, RemoteError, ServerLost, WireError
from stepflow_sdk.flows import Failure, Skipped
from stepflow_sdk.protocol import FlowError, FlowResult, FlowResultFailed, FlowResultSkipped, FlowResultSuccess
from stepflow_sdk.protocol.error_codes import range_codes

__all__ = [
    "Skipped",
    "failure_of",
    "flow_result",
    "internal_failure",
    "is_unserved",
    "not_completed",
    "routing_failure",
]

TRANSPORT = -32300
"""The server could not be reached, went away, or broke the protocol; also an error of a builtin component."""

INTERNAL = -32202
"""The engine's own errors."""


_NO_ROUTE = "error routing component"


def failure_of(error: WireError, step_id: str, component: str, *, wrap: bool) -> Failure:
    """The failure of a step whose component raised this.

    An error that a component server answered keeps message and data, and its code becomes that of the 0.11 family,
    which an orchestrator would have been told. What happened around a component, and with
    ``wrap`` also what it raised itself, is told as ``step "x" failed`` with the story in the stack of its data.
    """
    if isinstance(error, ServerLost):
        return _told(error.flow_code, step_id, component, [error.message], error.data)
    if wrap and not isinstance(error, RemoteError):
        # What a component of the runtime itself says stands among the details, where upstream has it.
        return _told(TRANSPORT, step_id, component, [error.message], error.data, details=[error.message])
    code = error.code if isinstance(error, RemoteError) else range_codes(error.code, error)
    return Failure(code, error.message, error.data)


def internal_failure(step_id: str, component: str, cause: str) -> Failure:
    """The failure of a step that a bug of the runtime ended."""
    return _told(INTERNAL, step_id, component, [cause])


def routing_failure(cause: str) -> Failure:
    """The failure of a step whose component no plugin serves."""
    return Failure(INTERNAL, _NO_ROUTE, {"stack": [{"error": _NO_ROUTE}, {"error": cause}]})


def is_unserved(failure: Failure | None) -> bool:
    """Whether a step failed because its component is nowhere: there is no route to it, or its server has it not."""
    if failure is None:
        return False
    return failure.code == ComponentNotFound.code or (failure.code == INTERNAL and failure.message == _NO_ROUTE)


def not_completed(step_ids: Sequence[str]) -> Failure:
    """The failure of what waits for steps that wait for each other; only unchecked flows have such steps."""
    return Failure(INTERNAL, f"Step {step_ids[0]} not completed" if step_ids else "Steps not completed")


def flow_result(outcome: Any) -> FlowResult:
    """The result of a flow whose output resolved to this value, `Failure` or, in 0.7 and 0.8, `Skipped`."""
    if isinstance(outcome, Failure):
        return FlowResultFailed(FlowError(outcome.code, outcome.message, outcome.data))
    if isinstance(outcome, Skipped):
        return FlowResultSkipped(outcome.reason)
    return FlowResultSuccess(outcome)


def _told(
    code: int, step_id: str, component: str, causes: Sequence[str], data: Any = None, *, details: Sequence[str] = ()
) -> Failure:
    message = f'step "{step_id}" failed'
    attachments = [f"Component: {component}", f"Component execution failed for step '{step_id}'", *details]
    stack: list[dict[str, Any]] = [{"error": message, "attachments": attachments}]
    stack += [{"error": cause} for cause in causes]
    told: dict[str, Any] = {"stack": stack}
    if data is not None:
        told["cause"] = data
    return Failure(code, message, told)
