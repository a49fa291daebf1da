"""Params, results and errors, which arrive encoded, read into the types of their method."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from stepflow_sdk.errors import InternalError, InvalidParams, ParseError
from stepflow_sdk.packed import Encoded, Packed
from stepflow_sdk.protocol.codec import Envelope
from stepflow_sdk.protocol.events import Answer, Call, Complaint, Notification, Request
from stepflow_sdk.protocol.failures import exception_of
from stepflow_sdk.protocol.methods import Method
from stepflow_sdk.protocol.values import Error

__all__ = ["decode_params", "read_answer", "read_complaint"]

_decode_error = msgspec.json.Decoder(Error).decode


def read_answer(call: Call, envelope: Envelope) -> Answer:
    """Return the answer to a call of ours: its result in the type of the method, or the error; never raises."""
    method = call.method
    result = envelope.result
    try:
        if not envelope.error or bytes(envelope.error) == b"null":
            if result:
                return Answer(call, _decode(result, method.result, method.decode_result), None)
        elif not result or result == Raw(b"null"):
            return Answer(call, None, exception_of(_decode_error(envelope.error)))
        else:
            return Answer(call, None, InternalError(f"the answer to {method.name} has both a result and an error"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Answer(call, None, InternalError(f"the answer to {method.name} has not the promised form: {error}"))
    return Answer(call, None, InternalError(f"the answer to {method.name} has neither a result nor an error"))


def read_complaint(error: Raw) -> Complaint:
    """Return an error of the other end that names no request; never raises."""
    try:
        return Complaint(exception_of(_decode_error(error)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Complaint(InternalError("an error without an id that cannot be read either"))


def _decode(part: Encoded, form: type[Struct], decoder: msgspec.json.Decoder[Any]) -> Any:
    if not isinstance(part, Packed):
        return decoder.decode(part)
    # Nothing of the faster wire is loaded before both ends have agreed on it.
    from stepflow_sdk.protocol.packing import decode_message

    return decode_message(part, form)


def decode_params(request: Request | Notification, method: Method) -> Any:
    """Decode the params of a request into the type of its method.

    Raises:
        InvalidParams: A field is missing or has the wrong type; the message names it.
        ParseError: The params are not JSON (a character that is not UTF-8, say).
    """
    if isinstance(request, Request) and request.decoded is not None:
        return request.decoded
    try:
        return _decode(request.params, method.params, method.decode_params)
    except msgspec.ValidationError as error:
        _, _, path = str(error).partition(" - at `")
        data = {"method": method.name, "path": path.rstrip("`") or "$"}
        raise InvalidParams(f"{method.name}: {error}", data=data) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ParseError(f"{method.name}: the params are not JSON: {error}") from None
