"""A value in MessagePack, beside `msgspec.Raw`, which is one in JSON: what both ends of the faster wire hand on."""

import functools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

__all__ = ["ENCODING", "Encoded", "Packed", "has_no_json", "refuse_extension"]

ENCODING: Final = "msgpack"
"""The name under which runtimes offer it, and servers accept it."""


def refuse_extension(code: int, data: memoryview) -> Any:  # noqa: ARG001  (msgspec's signature)
    """Take an extension of MessagePack: raises `msgspec.DecodeError`."""
    raise msgspec.DecodeError(f"JSON has no extension {code}")


_decode = msgspec.msgpack.Decoder(ext_hook=refuse_extension).decode

# NaN and infinity are the numbers whose exponent has all bits set. These bytes may mean something else, too: who finds
# them takes the way through JSON, on which nothing is lost but time.
# Two searches, for each begins with a byte that is found at once: one for either takes eight times as long.
_WIDE: Final = rb"\xcb[\x7f\xff][\xf0-\xff]"
_NARROW: Final = rb"\xca[\x7f\xff][\x80-\xff]"

_FIRST: Final = (0xCA, 0xCB)
_SECOND: Final = (b"\x7f", b"\xff")
_LONG: Final = 1000
_RARE: Final = 512
"""Bytes from one to the next; what is rarer is found faster by itself, as a byte alone is found sixteen at a time."""

_BYTES = (b"\xc4", b"\xc5", b"\xc6")


@functools.cache
def _searches() -> tuple[Callable[[bytes | memoryview], object], ...]:
    # Made for the first that need them.
    return re.compile(_WIDE).search, re.compile(_NARROW).search


def has_no_json(data: bytes | memoryview) -> bool:
    """Whether there may be a number in MessagePack that JSON has not."""
    if len(data) > _LONG and not _may_be_found(bytes(data)):
        return False
    wide, narrow = _searches()
    return wide(data) is not None or narrow(data) is not None


def _may_be_found(data: bytes) -> bool:
    """Whether it takes the searches to know: not where no number begins before either of the rare second bytes."""
    left = len(data) // _RARE
    for second in _SECOND:
        at = data.find(second, 1)
        while at > 0:
            if data[at - 1] in _FIRST or not left:
                return True
            left -= 1
            at = data.find(second, at + 1)
    return False


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
