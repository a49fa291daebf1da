"""Frames in MessagePack, for two ends that have agreed on them in ``initialize``.

A frame is a map with the keys of a JSON-RPC message but ``jsonrpc``. Its ``params``, ``result`` and ``error`` are text,
and then JSON, which is how everything goes that is rare or small; or a map, for the messages that carry values: inputs,
outputs and blobs. In the place of the value these have text, which is JSON, or bytes, which are MessagePack: bytes
within bytes for a binary blob. So a value that is handed on costs nothing, however long it is.
"""

from typing import Any, Final, Literal, cast

import msgspec
from msgspec import Raw, Struct

from stepflow_sdk.errors import InvalidRequest, ParseError
from stepflow_sdk.packed import Encoded, Packed
from stepflow_sdk.protocol.codec import Codec, Envelope, Executed, OnePass, Unreadable
from stepflow_sdk.protocol.messages import ComponentExecuteParams, ComponentExecuteResult, GetBlobResult, PutBlobParams

__all__ = ["PACKED", "decode_message"]

_VALUES: Final[dict[Any, str]] = {
    ComponentExecuteParams: "input",
    ComponentExecuteResult: "output",
    PutBlobParams: "data",
    GetBlobResult: "data",
}
"""The messages that are maps, and the field of each that is a value."""

_pack = msgspec.msgpack.Encoder().encode
_decode_envelope = msgspec.msgpack.Decoder(Envelope).decode
_json = msgspec.json.Encoder().encode


class _PackedParams(ComponentExecuteParams):
    input: bytes


class _Execute(Struct, gc=False):
    id: int | str
    method: Literal["components/execute"]
    params: _PackedParams


class _Executed(Struct, gc=False):
    id: str
    result: ComponentExecuteResult
    error: None = None
    method: Literal["\0"] = "\0"  # as in the codec for JSON


_decode_execute = msgspec.msgpack.Decoder(_Execute).decode
_decode_executed = msgspec.msgpack.Decoder(_Executed).decode


class _Success(Struct):
    id: int | str
    result: Any


class _Failure(Struct):
    id: int | str | None
    error: Any


class _Call(Struct):
    id: str
    method: str
    params: Any


class _Notify(Struct):
    method: str
    params: Any


def decode_message(packed: Packed, form: type[Struct]) -> Any:
    """Read the params or the result of a method, of which the values stay encoded.

    Raises:
        msgspec.DecodeError: They have another form, or are not MessagePack.
        UnicodeDecodeError: A text is not UTF-8.
    """
    known = _DECODERS.get(form)
    if known is None:
        raise msgspec.ValidationError("Expected JSON text")
    decode, field = known
    message = decode(packed.data)
    setattr(message, field, _read_text_or_bytes(memoryview(getattr(message, field))))
    return message


_DECODERS: Final = {form: (msgspec.msgpack.Decoder(form).decode, field) for form, field in _VALUES.items()}


def _read_execute(frame: bytes | bytearray) -> OnePass:
    execute = cast("OnePass", _decode_execute(frame))
    params = execute.params
    params.input = Packed(params.input)
    return execute


def _read_executed(frame: bytes | bytearray) -> Executed:
    executed = _decode_executed(frame)
    result = executed.result
    result.output = _read_text_or_bytes(memoryview(result.output))
    return executed


def _read_envelope(frame: bytes | bytearray) -> Envelope:
    try:
        envelope = _decode_envelope(frame)
        if envelope.params:
            envelope.params = _read_part(envelope.params)
        if envelope.result:
            envelope.result = _read_part(envelope.result)
        if envelope.error:
            error = _read_part(envelope.error)
            envelope.error = Raw(error.to_json()) if isinstance(error, Packed) else error
    except msgspec.ValidationError as error:
        raise Unreadable(InvalidRequest(f"the message has not its form: {error}"), _recover_id(frame)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(ParseError(f"the message is not MessagePack: {error}"), _recover_id(frame)) from None
    return envelope


def _read_part(element: Any) -> Encoded:
    view = memoryview(element)
    return Packed(view) if 0x80 <= view[0] <= 0x8F else _read_text_or_bytes(view)


def _read_text_or_bytes(view: memoryview) -> Encoded:
    head = view[0]
    start = _STARTS.get(head)
    if start is not None:
        return _text(view[start:]) if head >= _FIRST_TEXT else Packed(view[start:])
    return _text(view[1:]) if 0xA0 <= head <= 0xBF else Packed(view)


_STARTS: Final = {0xC4: 2, 0xC5: 3, 0xC6: 5, 0xD9: 2, 0xDA: 3, 0xDB: 5}
"""Where the content begins, of bytes and of text whose length has 8, 16 or 32 bits."""

_FIRST_TEXT: Final = 0xD9


def _text(view: memoryview) -> Raw:
    # As for JSON frames: nobody else looks at the UTF-8 of what is only handed on.
    text = bytes(view)
    if not text.isascii():
        text.decode("utf-8")
    return Raw(text)


def _recover_id(frame: bytes | bytearray) -> int | str | None:
    """The id of a message that could not be read: this encoder, at least, puts it first."""
    start = frame[:1100]
    if start[1:4] != b"\xa2id" or not 0x80 <= start[0] <= 0x8F:
        return None
    rest = start[4:]
    # What follows the id is unknown or broken, and how long the id is says its first byte.
    for length in (_length(rest), 2, 3, 5, 9):
        try:
            return msgspec.msgpack.decode(rest[:length], type=int | str)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return None


def _length(element: bytes | bytearray) -> int:
    head = element[0] if element else 0
    if 0xA0 <= head <= 0xBF:
        return 1 + head - 0xA0
    if head == 0xD9 and len(element) > 1:
        return 2 + element[1]
    if head == 0xDA and len(element) > 2:
        return 3 + int.from_bytes(element[1:3])
    return 1


def _part(message: Any) -> Any:
    field = _VALUES.get(type(message))
    if field is None:
        return _as_text(message if isinstance(message, Raw) else _json(message))
    native = message.__copy__()
    setattr(native, field, _value(getattr(message, field)))
    return native


def _value(value: Any) -> Any:
    if isinstance(value, Packed):
        return value.data
    if isinstance(value, Raw):
        return _as_text(value)
    try:
        return _pack(value)
    except (OverflowError, TypeError, ValueError):  # JSON has integers of any size
        return _as_text(_json(value))


def _as_text(json: bytes | Raw) -> Raw:
    size = len(json)
    if size < 32:
        head = bytes([0xA0 + size])
    elif size < 1 << 16:
        head = b"\xda" + size.to_bytes(2)
    else:
        head = b"\xdb" + size.to_bytes(4)
    return Raw(head + bytes(json))


def _executed(id: int | str, output: bytes | Packed) -> bytes:
    data: Any = output.data if isinstance(output, Packed) else _as_text(output)
    return _pack(_Success(id, ComponentExecuteResult(data)))


def _success(id: int | str, result: Any) -> _Success:
    return _Success(id, _part(result))


def _failure(id: int | str | None, error: Any) -> _Failure:
    return _Failure(id, _part(error))


def _call(id: str, method: str, params: Any) -> _Call:
    return _Call(id, method, _part(params))


def _notification(method: str, params: Any) -> _Notify:
    return _Notify(method, _part(params))


PACKED = Codec(
    is_text=False,
    read_execute=_read_execute,
    read_executed=_read_executed,
    read_envelope=_read_envelope,
    recover_id=_recover_id,
    encode=_pack,
    executed=_executed,
    success=_success,
    failure=_failure,
    call=_call,
    notification=_notification,
)
