"""Makes error answers of what goes wrong : a status, a message, and nothing of the inside."""

import logging
from typing import Any

from stepflow_sdk.errors import (
    AccessDenied,
    BlobNotFound,
    InvalidFlow,
    InvalidInput,
    InvalidParams,
    InvalidValue,
    NotFound,
    RequestTimeout,
    ResourceUnavailable,
    ServerLost,
    StepflowError,
    WireError,
)
from stepflow_sdk.runtime.service.messages import ErrorAnswer
from stepflow_sdk.transports.http.policy import Refusal

__all__ = ["Conflict", "error_answer"]

_log = logging.getLogger("stepflow_sdk.runtime.service")

_STATUSES: tuple[tuple[type[StepflowError], int], ...] = (
    (NotFound, 404),
    (BlobNotFound, 404),
    (InvalidFlow, 422),
    (InvalidValue, 400),
    (InvalidParams, 400),
    (InvalidInput, 400),
    (AccessDenied, 403),
    (RequestTimeout, 504),
    (ServerLost, 502),
    (ResourceUnavailable, 503),
    (WireError, 502),
)


class Conflict(StepflowError):
    """What is asked for cannot be done to something in its present state."""


def error_answer(error: Exception) -> tuple[int, ErrorAnswer]:
    """The status and the body for an exception; what nobody foresaw is told in the log only."""
    if isinstance(error, Refusal):
        return error.status, ErrorAnswer(error.status, error.error.message)
    if isinstance(error, Conflict):
        return 409, ErrorAnswer(409, str(error))
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            diagnostics: list[Any] | None = error.diagnostics if isinstance(error, InvalidFlow) else None
            return status, ErrorAnswer(status, str(error), diagnostics or None)
    _log.error("a request failed", exc_info=error)
    return 500, ErrorAnswer(500, "the service failed on this request; its log says why")
