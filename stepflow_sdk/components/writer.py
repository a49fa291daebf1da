"""From a component's output to JSON, checked against the output schema."""

from collections.abc import Callable
from typing import Any

import msgspec

from stepflow_sdk.errors import ComponentError
from stepflow_sdk.packed import has_no_json

from .kinds import Anything, Kind, bare, reachable
from .problems import ROOT, Report, describe_exception, summary
from .values import to_json

__all__ = ["make_writer"]

_encode = msgspec.json.Encoder().encode
# As a number, a decimal that is none is found like others.
_pack = msgspec.msgpack.Encoder(decimal_format="number").encode
_check_syntax = msgspec.json.Decoder(msgspec.Raw).decode

Write = Callable[[Any], bytes]
_OF_ANYTHING: tuple[Any, ...] = (dict, dict[str, Any], list, list[Any])


def make_writer(kind: Kind, annotation: Any) -> Write:
    """Return the function that checks and encodes the outputs of one component.

    The output is right when its JSON form fits the output schema. The fast ways below say yes only when that
    is sure; everything else is looked at exactly, and a failure names every path that is wrong.

    The function raises `ComponentError` only.
    """
    exactly = _exact_writer(kind)
    if annotation is str:
        return _text_writer(exactly)
    if isinstance(bare(kind), Anything):
        return _any_writer(exactly)
    if annotation in _OF_ANYTHING:
        return _any_writer(exactly, dict if "object" in kind.takes() else list)
    parts = list(reachable(kind))
    if not all(part.exact and part.pure for part in parts):
        return exactly
    try:
        check = msgspec.json.Decoder(annotation).decode
    except Exception:  # a type beyond msgspec
        return exactly
    taken = frozenset(json_type for part in parts for json_type in part.takes())
    return _typed_writer(exactly, check, integers="integer" in taken, nulls="null" in taken)


def _text_writer(exactly: Write) -> Write:
    def write(output: Any) -> bytes:
        if type(output) is str:
            try:
                return _encode(output)
            except UnicodeEncodeError:
                pass
        return exactly(output)

    return write


def _any_writer(exactly: Write, outer: type | None = None) -> Write:
    # Where there is an outer type nothing but that can be wrong.
    def write(output: Any) -> bytes:
        if outer is not None and type(output) is not outer:
            return exactly(output)
        try:
            encoded = _encode(output)
            # A Raw is copied as it is, and integers beyond 64 bits, which MessagePack has not, are written.
            _check_syntax(encoded)
            if not encoded.isascii():
                encoded.decode()
            packed = _pack(output)
        except Exception:
            return exactly(output)
        # msgspec writes NaN and infinity as null, and those of decimals as text.
        return exactly(output) if 0xCB in packed and has_no_json(packed) else encoded

    return write


def _typed_writer(exactly: Write, check: Callable[[bytes], Any], *, integers: bool, nulls: bool) -> Write:
    def write(output: Any) -> bytes:
        try:
            encoded = _encode(output)
            # Reading it back checks, in C, every value as it is now: a struct that was built right may have
            # been changed since.
            check(encoded)
            packed = _pack(output) if integers or nulls else b""
        except Exception:
            return exactly(output)
        return exactly(output) if nulls and 0xCB in packed and has_no_json(packed) else encoded

    return write


def _exact_writer(kind: Kind) -> Write:
    def write(output: Any) -> bytes:
        report = Report(build=False)
        try:
            value = to_json(output, report)
            if not report.count:
                kind.load(value, ROOT, report)
            if not report.count:
                return _encode(value)
        except RecursionError:
            report.add(ROOT, "is nested too deeply")
        except Exception as error:  # properties, iterators and conversions of the output are user code
            report.add(ROOT, f"could not be read: {describe_exception(error)}")
        raise ComponentError(summary("invalid output", report), data=report.data())

    return write
