"""From the raw JSON of an input, or the same in MessagePack, to typed values."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from stepflow_sdk.errors import ComponentError, InvalidInput
from stepflow_sdk.packed import Packed

from .binding import Reading
from .kinds import Kind, reachable
from .problems import ROOT, Report, describe_exception, summary

__all__ = ["Reader", "fast_decoder", "make_arguments"]

_decode_any = msgspec.json.Decoder().decode

RawJson = bytes | bytearray | memoryview | msgspec.Raw
Decode = Callable[[Any], Any]


class Reader:
    """Reads one input: fast when msgspec says yes, exactly otherwise.

    Args:
        kind: What the input is.
        decoders: msgspec's for it; None when there are none that agree with the schema.
    """

    __slots__ = ("_decode", "_decoders", "_kind", "_unpack")

    def __init__(self, kind: Kind, decoders: "Decoders | None") -> None:
        self._kind = kind
        self._decoders = decoders
        self._decode = None if decoders is None else decoders.decode
        self._unpack: Decode | None = None

    @property
    def reading(self) -> Reading:
        """How it reads, for whoever has no time for a call too many."""
        return Reading(self.read, self._decode)

    def read(self, raw: RawJson | Packed) -> Any:
        """Return the typed value.

        Raises:
            InvalidInput: With every problem found, each at its JSON path.
            ComponentError: A class of the user failed while it was constructed.
        """
        if isinstance(raw, Packed):
            return self._read_packed(raw)
        if self._decode is not None:
            try:
                return self._decode(raw)
            except Exception:  # noqa: S110 - whatever it was, the exact way finds it again and names it
                pass
        return self._read_exactly(raw)

    def _read_packed(self, packed: Packed) -> Any:
        decoders, self._decoders = self._decoders, None
        if decoders is not None:
            # For a runtime that speaks it, when that has come.
            self._unpack = decoders.unpack()
        if self._unpack is not None:
            try:
                return self._unpack(packed.data)
            except Exception:  # noqa: S110 - as for JSON
                pass
        # There is one exact way, and it says where in the JSON something is wrong.
        try:
            return self._read_exactly(packed.to_json())
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _invalid(f"the input is not MessagePack that can be read: {error}") from None

    def _read_exactly(self, raw: RawJson) -> Any:
        report = Report()
        try:
            value = _decode_any(raw)
            loaded = self._kind.load(value, ROOT, report)
        except RecursionError:
            raise _invalid("the input is nested too deeply") from None
        except UnicodeDecodeError:
            raise _invalid("the input is not valid UTF-8") from None
        except msgspec.DecodeError as error:
            raise _invalid(f"the input is not JSON that can be read: {error}") from None
        except ComponentError:
            raise
        except Exception as error:
            message = f"reading the input failed: {describe_exception(error)}"
            raise ComponentError(message, data={"exception": type(error).__name__}) from error
        if report.count:
            raise InvalidInput(summary("invalid input", report), data=report.data())
        return loaded


class Decoders:
    """msgspec's decode functions for a type.

    Attributes:
        decode: From JSON.
    """

    __slots__ = ("_kind", "_type", "decode")

    def __init__(self, kind: Kind, type_: Any) -> None:
        self.decode: Decode = msgspec.json.Decoder(type_).decode
        self._kind = kind
        self._type = type_

    def unpack(self) -> Decode | None:
        """Make the one from MessagePack; None when that would not agree with JSON."""
        from .packing import make_unpacker

        try:
            return make_unpacker(self._kind, self._type)
        except Exception:  # a type beyond msgspec, in this encoding alone
            return None


def fast_decoder(kind: Kind, make_type: Callable[[], Any]) -> Decoders | None:
    """Return msgspec's decode functions for a type, None when they would not agree with the kind's schema."""
    if not all(part.exact for part in reachable(kind)):
        return None
    try:
        return Decoders(kind, make_type())
    except Exception:  # a type beyond msgspec: the exact way reads it
        return None


def make_arguments(fields: Sequence[tuple[str, Any, Any]]) -> type[msgspec.Struct]:
    """Return a struct class for the parameters of a function, each ``(name, annotation, default)``.

    The default is the very object that the function has, or NODEFAULT. The attributes are ``a0``, ``a1`` and
    so on, since not every parameter's name can be one.
    """
    return msgspec.defstruct(
        "Arguments",
        [
            (f"a{index}", annotation)
            if default is msgspec.NODEFAULT
            else (f"a{index}", annotation, msgspec.field(default_factory=_same(default)))
            for index, (_, annotation, default) in enumerate(fields)
        ],
        rename={f"a{index}": name for index, (name, _, _) in enumerate(fields)},
        kw_only=True,
    )


def _same(default: Any) -> Callable[[], Any]:
    return lambda: default


def _invalid(message: str) -> InvalidInput:
    report = Report()
    report.add(ROOT, message)
    return InvalidInput(f"invalid input: {message}", data=report.data())
