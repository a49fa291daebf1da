"""The error codes of the dialects.

The protocol has one table (`stepflow_sdk.errors`). Runtimes from 0.11 on decide by the range of a code what to do
with an error: -32100 to -32199 is tried again for steps with ``onError: retry``, -32300 to -32399 counts as a broken
transport, and everything else fails at once.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

from stepflow_sdk.errors import (
    AccessDenied,
    BlobNotFound,
    ComponentError,
    ExpressionError,
    InvalidValue,
    NotFound,
    RequestTimeout,
    ResourceUnavailable,
    ServerError,
    SessionExpired,
    WireError,
)

__all__ = ["ErrorCodes", "is_stopping", "may_be_retried", "protocol_codes", "range_codes"]

ErrorCodes = Callable[[int, BaseException], int]
"""From a code of the protocol's table, and the exception behind it, to the code that goes out."""

_COMPONENT_FAILED = -32100
_RESOURCE_UNAVAILABLE = -32102
_TRANSPORT = -32300

_IN_RANGES: Mapping[int, int] = {
    ResourceUnavailable.code: _RESOURCE_UNAVAILABLE,
    RequestTimeout.code: _RESOURCE_UNAVAILABLE,
    AccessDenied.code: ServerError.code,
    BlobNotFound.code: -32005,
    ExpressionError.code: ServerError.code,
    SessionExpired.code: ServerError.code,
    InvalidValue.code: -32004,
    NotFound.code: -32005,
}


def is_stopping(error: BaseException) -> bool:
    """Whether an error, here or from the other end, says that the server is about to end: another may be asked."""
    return isinstance(error, ResourceUnavailable) and error.data == {"stopping": True}


def protocol_codes(code: int, exception: BaseException) -> int:  # noqa: ARG001  (`ErrorCodes`)
    """Every code as it is in the protocol's table."""
    return code


def may_be_retried(error: WireError) -> bool:
    """Whether a component's error says that the next call may succeed.

    An exception of the component's own says so, which over the wire is a `ComponentError` with its type in the data.
    """
    data: Any = error.data
    own_exception = isinstance(data, dict) and "exception" in cast("dict[str, Any]", data)
    return isinstance(error, ComponentError) and (error.retryable or own_exception)


def range_codes(code: int, exception: BaseException) -> int:
    """The codes of runtimes 0.10 and 0.11, and of the failed steps of flows.

    A component that fails with an exception of its own, or says that it is ``retryable``, can be tried again; one
    that raises a `ComponentError` without that cannot. A server that is about to end counts as a broken transport: the
    step belongs to the next one.
    """
    if is_stopping(exception):
        return _TRANSPORT
    if code == ComponentError.code:
        final = isinstance(exception, WireError) and not may_be_retried(exception)
        return ServerError.code if final else _COMPONENT_FAILED
    return _IN_RANGES.get(code, code)
