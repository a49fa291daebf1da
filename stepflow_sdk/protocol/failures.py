"""From an exception to the error object of the wire, and back: the only place where either happens."""

from collections.abc import Callable, Sequence
from typing import Any, TypeGuard, TypeVar, cast

import msgspec

from stepflow_sdk.errors import WIRE_ERRORS, ComponentError, FlowFailed, RemoteError, SkipStep, WireError
from stepflow_sdk.protocol.error_codes import ErrorCodes, protocol_codes
from stepflow_sdk.protocol.values import Error

__all__ = ["error_of", "exception_of", "is_a", "name_of", "skip_reason", "sole_cause"]

MAX_TEXT = 20_000
"""The longest message that goes out, in characters."""

_MAX_NAME = 200
"""How much of the name of an exception's class goes out."""

_Kind = TypeVar("_Kind", bound=BaseException)

_class_name: Callable[[type], str] = type.__dict__["__name__"].__get__


def error_of(exception: BaseException, codes: ErrorCodes = protocol_codes) -> Error:
    """Return the error object that the other end gets for an exception.

    A `WireError` keeps its code, message and data. Anything else is the failed execution of a component
    (-32004): its type and its message go out, its traceback does not. Data that is not JSON is left out.

    Args:
        exception: What happened.
        codes: The error codes of the dialect that the other end speaks.
    """
    try:
        error = _protocol_error(sole_cause(exception))
        error.code = codes(error.code, exception)
    except BaseException:  # exceptions are code of the user, and any part of one may raise anything
        return Error(codes(ComponentError.code, RuntimeError()), name_of(exception))
    return error


def is_a(exception: BaseException | None, kind: type[_Kind]) -> TypeGuard[_Kind]:
    """Whether an exception is of a class, which `isinstance` asks the exception itself: a ``__class__`` may raise."""
    return issubclass(type(exception), kind)


def name_of(exception: BaseException) -> str:
    """Return the name of an exception's class; never raises, as the class itself may when it is asked."""
    return _clean(_class_name(type(exception))[:_MAX_NAME])


def skip_reason(skip: SkipStep) -> str | bool:
    """Return what a runtime is told of a skipped step: the reason, or True without one."""
    try:
        return (_clean(skip.reason) or True) if skip.reason is not None else True
    except BaseException:  # a reason that is no text, and has none
        return True


def _protocol_error(exception: BaseException) -> Error:
    if is_a(exception, WireError):
        # Whoever makes an exception can set its code to anything, which may not be a number that fits.
        code: object = exception.code
        known = code if type(code) is int and -(2**63) <= code < 2**63 else ComponentError.code
        return Error(known, _clean(exception.message), _json_data(_data_of(exception)))
    name = name_of(exception)
    text = _text_of(exception)
    data: dict[str, Any] = {"exception": name}
    if is_a(exception, FlowFailed):
        data["error"] = {"code": exception.code, "message": exception.message, "data": exception.data}
        return Error(ComponentError.code, text, _json_data(data) or {"exception": name})
    return Error(ComponentError.code, f"{name}: {text}" if text else name, data)


def exception_of(error: Error) -> WireError:
    """Return the exception for an error object of the other end: the class of its code."""
    known = WIRE_ERRORS.get(error.code)
    if known is None:
        return RemoteError(error.message, code=error.code, data=error.data)
    if known is ComponentError:
        data = _object(error.data)
        retryable = data is not None and data.get("retryable") is True
        return ComponentError(error.message, data=error.data, retryable=retryable)
    return known(error.message, data=error.data)


def sole_cause(exception: BaseException) -> BaseException:
    """Return the one exception inside nested groups of one, or the exception itself."""
    inner = _members(exception)
    while len(inner) == 1:
        exception = inner[0]
        inner = _members(exception)
    return exception


def _data_of(exception: WireError) -> Any:
    if isinstance(exception, ComponentError) and exception.retryable:
        data = {} if exception.data is None else _object(exception.data)
        return exception.data if data is None else {**data, "retryable": True}
    return exception.data


def _object(data: Any) -> dict[str, Any] | None:
    return cast("dict[str, Any]", data) if isinstance(data, dict) else None


def _members(exception: BaseException) -> Sequence[BaseException]:
    if not is_a(exception, BaseExceptionGroup):
        return ()
    try:
        return exception.exceptions
    except BaseException:  # a subclass may have made a property of it
        return ()


def _json_data(data: Any) -> Any:
    # What cannot be encoded must not cost the caller the message, so it is replaced and named.
    try:
        encoded = msgspec.json.encode(data)
        # A number that JSON does not have is encoded as null, in silence.
        if b"null" in encoded:
            from json import dumps  # servers start without it

            dumps(msgspec.to_builtins(data), allow_nan=False)
        return None if data is None else msgspec.Raw(encoded)
    except Exception:
        return {"omitted": f"data of type {type(data).__name__[:_MAX_NAME]} is not JSON"}


def _text_of(exception: BaseException) -> str:
    if members := _members(exception):
        return "; ".join(f"{name_of(inner)}: {_text_of(inner)}" for inner in members)[:MAX_TEXT]
    try:
        return _clean(str(exception))
    except BaseException:  # a __str__ of somebody else's may raise anything
        return ""


def _clean(text: object) -> str:
    # Lone surrogates cannot be encoded; a message is worth more than its oddest character.
    message = text if isinstance(text, str) else repr(text)
    return message[:MAX_TEXT].encode("utf-8", "replace").decode("utf-8")
