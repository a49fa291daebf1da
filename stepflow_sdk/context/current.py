"""The context of the component that runs here, without a parameter for it."""

from contextvars import ContextVar
from typing import Any, Protocol

from stepflow_sdk.context.asynchronous import StepflowContext
from stepflow_sdk.context.blocking import BlockingContext
from stepflow_sdk.errors import StepflowError

__all__ = ["CURRENT", "current_context"]


class Running(Protocol):
    """A component that runs."""

    def context(self) -> StepflowContext[Any] | BlockingContext[Any]:
        """Its context, made when somebody asks for it."""
        ...


CURRENT: ContextVar[Running | None] = ContextVar("stepflow_running", default=None)


def current_context() -> StepflowContext[Any] | BlockingContext[Any]:
    """Return the context of the running component: blocking in a ``def``, else for ``await``.

    Raises:
        StepflowError: No component runs here.
    """
    running = CURRENT.get()
    if running is None:
        raise StepflowError("current_context() works inside a running component only")
    return running.context()
