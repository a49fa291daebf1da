"""Inputs and outputs in MessagePack: for which kinds that is the same as JSON, but faster."""

from collections.abc import Callable
from typing import Any

import msgspec

from stepflow_sdk.packed import Packed, has_no_json, refuse_extension

from .classes import RawJson
from .containers import Array, Dictionary, Fixed
from .kinds import Anything, Described, Kind, Named, reachable
from .records import Record, Row
from .scalars import Boolean, Choice, Integer, Null, Number, Text
from .unions import Union

__all__ = ["make_packer", "make_unpacker"]

_SAME = (Array, Boolean, Choice, Described, Dictionary, Fixed, Integer, Named, Null, Number, Record, Row, Text, Union)
"""The kinds whose values are in MessagePack what they are in JSON, as msgspec writes both: no dates and no bytes."""

_pack = msgspec.msgpack.Encoder().encode

Encode = Callable[[Any], bytes]


def make_unpacker(kind: Kind, annotation: Any) -> Callable[[Any], Any] | None:
    """Return the function that reads a value of a type from MessagePack, when msgspec reads it as it does from JSON.

    Args:
        kind: What the type is; all parts of it are exact.
        annotation: The type.
    """
    if any(isinstance(part, RawJson) for part in reachable(kind)):
        return None
    decode = msgspec.msgpack.Decoder(annotation, ext_hook=refuse_extension).decode
    if not _has_floats(kind):
        return decode

    def unpack(data: Any) -> Any:
        if has_no_json(data):
            raise ValueError("there may be a number that is not finite")
        return decode(data)

    return unpack


def _has_floats(kind: Kind) -> bool:
    return any(isinstance(part, Anything | Number) for part in reachable(kind))


def make_packer(kind: Kind, annotation: Any, encode: Encode) -> Callable[[Any], bytes | Packed]:
    """Return the function that checks and encodes an output in MessagePack, or as JSON where that says more.

    Args:
        kind: What the output is.
        annotation: Its type.
        encode: What checks it and encodes it as JSON; its errors are the ones that are raised.
    """
    if not all(isinstance(part, _SAME) and part.exact and part.pure for part in reachable(kind)):
        return encode
    try:
        check = msgspec.msgpack.Decoder(annotation).decode
    except Exception:  # a type beyond msgspec
        return encode

    floats = _has_floats(kind)

    def pack(output: Any) -> bytes | Packed:
        try:
            packed = _pack(output)
            check(packed)
        except Exception:
            return encode(output)
        return encode(output) if floats and has_no_json(packed) else Packed(packed)

    return pack
