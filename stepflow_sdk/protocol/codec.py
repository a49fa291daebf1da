"""Frames: one JSON-RPC message to and from bytes.

Decoding has two stages. `read_envelope` takes the outer object apart and checks that the whole frame is JSON in
UTF-8; params and results stay encoded until their method is known. What cannot be read comes out as `Unreadable`
with the error to answer and, where it can be told, the id to answer to.
"""

import re
from collections.abc import Callable
from typing import Any, Literal, Protocol, cast

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from stepflow_sdk.errors import InvalidRequest, ParseError, WireError
from stepflow_sdk.packed import Encoded, Packed
from stepflow_sdk.protocol.messages import ComponentExecuteParams, ComponentExecuteResult

__all__ = ["JSON", "Codec", "Envelope", "Unreadable", "encode", "encode_error", "read_envelope", "recover_id"]


class Envelope(Struct, gc=False):
    """The outer object of any message; absent parts are `UNSET` or empty."""

    jsonrpc: str = "2.0"
    id: int | str | UnsetType | None = UNSET
    method: str | UnsetType = UNSET
    params: Encoded = Raw(b"")
    result: Encoded = Raw(b"")
    error: Raw = Raw(b"")


class OnePass(Protocol):
    """A request whose params are decoded."""

    id: int | str
    params: ComponentExecuteParams


class Executed(Protocol):
    """A good answer to a request to execute a component, whose result is decoded."""

    id: str
    result: ComponentExecuteResult


class Codec(Struct, frozen=True, eq=False):
    """One encoding of messages.

    Attributes:
        is_text: Whether frames are UTF-8, at which nobody looks while they are read in one pass.
        read_execute: Takes a perfect request to execute a component apart, in one pass. It raises a
            `msgspec.DecodeError`, a `RecursionError` or a `UnicodeDecodeError` for every other frame: what that is,
            ``read_envelope`` finds out.
        read_executed: Takes a good answer to such a request apart, as ``read_execute`` does.
        read_envelope: Takes any frame apart; see the function of that name.
        recover_id: Finds the id of a message that could not be read, or None.
        encode: Encodes a message.
        executed: Encodes the answer to a request to execute a component, of its id and the encoded output.
        success: Makes the answer to a request, of its id and its result.
        failure: Makes the answer that is an error; the id is None where it could not be told.
        call: Makes a request, of its id, method and params.
        notification: Makes one, of its method and params.
    """

    is_text: bool
    read_execute: Callable[[bytes | bytearray], OnePass]
    read_executed: Callable[[bytes | bytearray], Executed]
    read_envelope: Callable[[bytes | bytearray], Envelope | list[Raw] | None]
    recover_id: Callable[[bytes | bytearray], int | str | None]
    encode: Callable[[Any], bytes]
    executed: Callable[[int | str, bytes | Packed], bytes]
    success: Callable[[int | str, Any], Struct]
    failure: Callable[[int | str | None, Any], Struct]
    call: Callable[[str, str, Any], Struct]
    notification: Callable[[str, Any], Struct]


class Unreadable(Exception):
    """A frame that is not a message."""

    def __init__(self, error: WireError, id: int | str | None) -> None:
        super().__init__(error.message)
        self.error = error
        self.id = id


class _Execute(Struct, gc=False):
    id: int | str
    method: Literal["components/execute"]
    params: ComponentExecuteParams
    jsonrpc: Literal["2.0"] = "2.0"


class _Executed(Struct, gc=False):
    id: str
    result: ComponentExecuteResult
    jsonrpc: str = "2.0"
    error: None = None
    # A message with a method is no answer, and no method has this name.
    method: Literal["\0"] = "\0"


class _Success(Struct, tag_field="jsonrpc", tag="2.0"):
    id: int | str | None
    result: Any


class _Failure(Struct, tag_field="jsonrpc", tag="2.0"):
    id: int | str | None
    error: Any


class _Call(Struct, tag_field="jsonrpc", tag="2.0"):
    id: int | str
    method: str
    params: Any


class _Notify(Struct, tag_field="jsonrpc", tag="2.0"):
    method: str
    params: Any


class _IdOnly(Struct):
    id: int | str | None = None


encode = msgspec.json.Encoder().encode
_BOM = b"\xef\xbb\xbf"
_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_id = msgspec.json.Decoder(_IdOnly).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode


def encode_error(id: int | str | None, error: Any) -> bytes:
    """Return the frame that answers a request with an error; the id is None where it could not be told."""
    return encode(_Failure(id, error))


def encode_notification(method: str, params: Any) -> bytes:
    """Return the frame of a notification."""
    return encode(_Notify(method, params))


def read_envelope(frame: bytes | bytearray) -> Envelope | list[Raw] | None:
    """Take a frame apart.

    Returns:
        The envelope of a message, the elements of a batch, or None for a blank frame.

    Raises:
        Unreadable: The frame is neither.
    """
    try:
        # The decoder skips over raw parts without a look at their UTF-8, so the frame is checked as a whole.
        if not frame.isascii():
            frame.decode("utf-8")
        return _decode_envelope(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _second_look(frame, error)


def _second_look(frame: bytes | bytearray, error: Exception) -> Envelope | list[Raw] | None:
    if frame.startswith(_BOM) and not frame.startswith(_BOM, len(_BOM)):  # one, or millions would be taken off
        return read_envelope(frame[len(_BOM) :])
    text = frame.strip(b" \t\r\n")
    if not text:
        return None
    if text.startswith(b"[") and not isinstance(error, UnicodeDecodeError):
        try:
            elements = _decode_list(text)
        except (msgspec.DecodeError, RecursionError) as broken:
            raise Unreadable(ParseError(f"the batch is not JSON: {_reason(broken)}"), None) from None
        if not elements:
            raise Unreadable(InvalidRequest("a batch must not be empty"), None) from None
        return elements
    raise Unreadable(_why(text, error), recover_id(text)) from None


def _why(text: bytes | bytearray, error: Exception) -> WireError:
    if isinstance(error, msgspec.ValidationError):
        # A wrong type may be found before broken syntax further on; which of the two it is decides the code.
        try:
            msgspec.json.decode(text, type=Raw)
        except (msgspec.DecodeError, RecursionError) as broken:
            return ParseError(f"the message is not JSON: {_reason(broken)}")
        return InvalidRequest(f"the message is not a JSON-RPC 2.0 message: {_reason(error)}")
    return ParseError(f"the message is not JSON: {_reason(error)}")


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 (byte {error.start})"
    return str(error)[:300]


_LEADING_ID = (
    rb'\s*\{\s*(?:"(?:jsonrpc|method)"\s*:\s*"[^"\\]*"\s*,\s*)*"id"\s*:\s*("(?:[^"\\]|\\.){0,1000}"|-?\d{1,19})\s*[,}]'
)


def recover_id(frame: bytes | bytearray) -> int | str | None:
    """Return the id of a message that could not be read, or None when it cannot be told.

    Looks at the message as JSON first, and else at its beginning, where senders put the id.
    """
    try:
        return _decode_id(frame).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        match = re.match(_LEADING_ID, frame[:2000])
    try:
        return msgspec.json.decode(match[1], type=int | str) if match else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _executed(id: int | str, output: bytes | Packed) -> bytes:
    if isinstance(output, Packed):
        output = output.to_json()
    return b'{"jsonrpc":"2.0","id":%b,"result":{"output":%b}}' % (encode(id), output)


JSON = Codec(
    is_text=True,
    read_execute=cast("Callable[[bytes | bytearray], OnePass]", msgspec.json.Decoder(_Execute).decode),
    read_executed=msgspec.json.Decoder(_Executed).decode,
    read_envelope=read_envelope,
    recover_id=recover_id,
    encode=encode,
    executed=_executed,
    success=_Success,
    failure=_Failure,
    call=_Call,
    notification=_Notify,
)
