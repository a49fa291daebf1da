"""The context of the component that runs here, without a parameter for it."""

from contextvars import ContextVar
from typing import Any

from stepflow_sdk.context.asynchronous import StepflowContext
from stepflow_sdk.context.blocking import BlockingContext
from stepflow_sdk.errors import StepflowError

__all__ = ["CURRENT", "current_context"]

CURRENT: ContextVar[StepflowContext[Any] | BlockingContext[Any] | None] = ContextVar("stepflow_context", default=None)


def current_context() -> StepflowContext[Any] | BlockingContext[Any]:
    """Return the context of the running component: blocking in a ``def``, else for ``await``.

    Raises:
        StepflowError: No component runs here.
    """
    context = CURRENT.get()
    if context is None:
        raise StepflowError("current_context() works inside a running component only")
    return context
