"""A value in MessagePack, beside `msgspec.Raw`, which is one in JSON: what both ends of the faster wire hand on."""

import re
from typing import TYPE_CHECKING, Any

import msgspec

__all__ = ["Encoded", "Packed", "has_no_json"]


def _refuse(code: int, data: memoryview) -> Any:  # noqa: ARG001  (msgspec's signature)
    raise msgspec.DecodeError(f"JSON has no extension {code}")


_decode = msgspec.msgpack.Decoder(ext_hook=_refuse).decode

# NaN and infinity are the numbers whose exponent has all bits set. These bytes may mean something else, too: who finds
# them takes the way through JSON, on which nothing is lost but time.
# Two searches, for each begins with a byte that is found at once: one for either takes eight times as long.
_has_wide = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]").search
_has_narrow = re.compile(rb"\xca[\x7f\xff][\x80-\xff]").search

_BYTES = (b"\xc4", b"\xc5", b"\xc6")


def has_no_json(data: bytes | memoryview) -> bool:
    """Whether there may be a number in MessagePack that JSON has not."""
    return _has_wide(data) is not None or _has_narrow(data) is not None


def _check_numbers(value: Any) -> None:
    import json

    json.dumps(msgspec.to_builtins(value), allow_nan=False)


class Packed:
    """A JSON value in MessagePack, as it came or as it will go.

    It holds what JSON can hold, and nothing else: keys are strings, numbers are finite.

    Attributes:
        data: The bytes.
    """

    __slots__ = ("data",)

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def decode(self) -> Any:
        """Return the value.

        Raises:
            msgspec.DecodeError: The bytes are not MessagePack.
        """
        # Bytes are a binary blob, in which anything may be found.
        if self.data[:1] in _BYTES or not has_no_json(self.data):
            return _decode(self.data)
        return msgspec.json.decode(self.to_json())

    def to_json(self) -> bytes:
        """Return the value as JSON text; what JSON has not becomes what it is in JSON: bytes are base64.

        Raises:
            msgspec.DecodeError: The bytes are not MessagePack, or nothing that could be JSON, such as NaN.
        """
        try:
            value = _decode(self.data)
            text = msgspec.json.encode(value)
            # A number that JSON has not becomes null, in silence.
            if b"null" in text and has_no_json(self.data):
                _check_numbers(value)
            return text
        except (TypeError, ValueError) as error:
            raise msgspec.DecodeError(f"not a value of JSON: {error}") from None


if TYPE_CHECKING:
    Encoded = msgspec.Raw | Packed
else:
    # Fields of this type are read as they stand on the wire; those in MessagePack are told apart afterwards.
    Encoded = msgspec.Raw
