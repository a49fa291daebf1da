"""Which run and step a log record of the runtime belongs to."""

import logging
from contextvars import ContextVar
from typing import Final

from stepflow_sdk.protocol import ObservabilityContext
from stepflow_sdk.tracing import current_trace_id

__all__ = ["CURRENT_STEP", "StepFilter"]

CURRENT_STEP: ContextVar[tuple[ObservabilityContext, str, int] | None] = ContextVar("stepflow_step", default=None)
"""The ids, the component and the attempt of the step that is being called."""

_LOGGERS: Final = (
    "stepflow_sdk.runtime",
    "stepflow_sdk.runtime.runs",
    "stepflow_sdk.runtime.service",
    "stepflow_sdk.transports",
)
_NAMES: Final = ("run_id", "flow_id", "step_id", "component", "attempt", "trace_id")
_NOTHING: Final = (ObservabilityContext(), None, None)


class StepFilter(logging.Filter):
    """Gives log records ``run_id``, ``flow_id``, ``step_id``, ``component``, ``attempt`` and ``trace_id``, or None."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add what the record does not have yet."""
        ids, component, attempt = CURRENT_STEP.get() or _NOTHING
        values = (ids.run_id, ids.flow_id, ids.step_id, component, attempt, ids.trace_id or current_trace_id())
        for name, value in zip(_NAMES, values, strict=True):
            if getattr(record, name, None) is None:
                setattr(record, name, value)
        return True


for _name in _LOGGERS:
    # On the loggers and not on a handler, for handlers are the application's.
    logging.getLogger(_name).addFilter(StepFilter())
