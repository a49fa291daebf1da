"""Reads JSON text strictly, and finds the places of its values when somebody asks."""

import json
import re
from collections.abc import Iterable
from typing import Any, Final, NoReturn, cast

import msgspec

from stepflow_sdk.errors import InvalidDocument
from stepflow_sdk.flows.source import Document, Place, unreadable
from stepflow_sdk.flows.values import MAX_DEPTH, MAX_NODES, Json, is_object

_MANY_DIGITS: Final = re.compile(r"[0-9]{19}")
_TOKEN: Final = re.compile(r"""["](?:[^"\\]|\\.)*["]|[{}\[\],]|[^\s{}\[\]:,"]+""")
_BEFORE_VALUE: Final = re.compile(r"""["](?:[^"\\]|\\.)*["]|[\[{](?!\s*[\]}])|,""", re.DOTALL)
# Places take some fifty times the room of the text: behind this one, nobody looks for a line by eye.
_LAST_PLACE: Final = 8 * 1024 * 1024
_LEAST: Final = -(2**63)
_MOST: Final = 2**64 - 1


def parse_json(text: str | bytes, *, file: str | None = None, max_nodes: int = MAX_NODES) -> Document:
    """Read JSON text.

    Of a repeated key the last value counts, at the place of the first; integers outside the range of 64 bits
    become floats (section f of the flow format). A byte order mark before the text is passed over.

    Args:
        text: The text.
        file: What messages call it.
        max_nodes: How many values it may hold, by default a million.

    Raises:
        InvalidDocument: It is not JSON (NaN is not), not UTF-8, nested deeper than 128 levels, or holds too many
            values.
    """
    source = _decoded(text, file)
    _require_few(source, file, max_nodes)
    try:
        value: Json = msgspec.json.decode(source)
    except RecursionError:
        raise unreadable(f"nested deeper than {MAX_DEPTH} levels", file=file) from None
    except (msgspec.DecodeError, UnicodeError) as error:
        _explain(source, file, str(error))
    large = _MANY_DIGITS.search(source) is not None
    settled = [value]
    _settle(settled, file, 0, large=large)
    return Document(settled[0], file=file, find_places=lambda: _find_places(source))


def _decoded(text: str | bytes, file: str | None) -> str:
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise unreadable(f"not UTF-8 at byte {error.start}", file=file, line=line) from None


def _require_few(source: str, file: str | None, most: int) -> None:
    """Refuse a text of too many values before any of them takes room: a value of two bytes takes a hundred."""
    if len(source) <= most or source.count(",") + source.count("[") + source.count("{") < most:
        return
    # Each of these signs has one value behind it, in strings they mean nothing, and an empty container has none.
    count = 1
    for match in _BEFORE_VALUE.finditer(source):
        if match[0][0] != '"':
            count += 1
            if count > most:
                line = source.count("\n", 0, match.start()) + 1
                raise unreadable(f"the document holds more than {most:,} values", file=file, line=line)


def _settle(items: Json, file: str | None, depth: int, *, large: bool) -> None:
    """Bound the nesting of a container, and turn its too large integers into floats in place."""
    if depth > MAX_DEPTH:
        raise unreadable(f"nested deeper than {MAX_DEPTH} levels", file=file)
    members: Iterable[tuple[Any, Json]] = items.items() if is_object(items) else enumerate(cast("list[Any]", items))
    container: Any = items
    for key, item in members:
        if isinstance(item, (dict, list)):
            _settle(item, file, depth + 1, large=large)
        elif large and isinstance(item, int) and not _LEAST <= item <= _MOST:
            try:
                container[key] = float(item)
            except OverflowError:
                raise unreadable("a number is out of range", file=file) from None


def _explain(source: str, file: str | None, problem: str) -> NoReturn:
    """Find out what is wrong, and where, in a text that the fast decoder refused."""
    try:
        json.loads(source, parse_constant=_refuse_constant, parse_int=float, parse_float=_finite)
    except json.JSONDecodeError as error:
        message = f"not JSON: {error.msg[0].lower()}{error.msg[1:]}"
        raise unreadable(message, file=file, line=error.lineno, column=error.colno) from None
    except InvalidDocument as error:
        token = str(error)
        line, column = _find_token(source, token)
        what = "is out of range" if token[-1].isdigit() else "is not JSON"
        raise unreadable(f"{token[:40]} {what}", file=file, line=line, column=column) from None
    except RecursionError:
        raise unreadable(f"nested deeper than {MAX_DEPTH} levels", file=file) from None
    if "\\u" in source or not source.isascii():
        problem = "a string holds half a surrogate pair, which is not Unicode text"
    raise unreadable(f"not JSON: {problem}", file=file)


def _refuse_constant(token: str) -> NoReturn:
    raise InvalidDocument(token)


def _finite(token: str) -> float:
    value = float(token)
    if value - value != 0:
        raise InvalidDocument(token)
    return value


def _find_token(source: str, token: str) -> tuple[int, int]:
    for match in _TOKEN.finditer(source):
        if match[0] == token:
            start = source.rfind("\n", 0, match.start()) + 1
            return source.count("\n", 0, match.start()) + 1, match.start() - start + 1
    return 1, 1


class _Open:
    """An object or array whose end has not come yet."""

    def __init__(self, place: Place, *, is_object: bool) -> None:
        self.place = place
        self.is_object = is_object
        self.index = 0
        self.member: Place | None = None


def _find_places(source: str) -> Place:
    """Walk the tokens of a text that is known to be JSON."""
    root = Place(1, 1)
    outer = _Open(root, is_object=False)
    stack = [outer]
    line, line_start, seen = 1, 0, 0
    for match in _TOKEN.finditer(source):
        lexeme, at = match[0], match.start()
        if at > _LAST_PLACE:
            break
        newlines = source.count("\n", seen, at)
        if newlines:
            line += newlines
            line_start = source.rfind("\n", seen, at) + 1
        seen = at
        top = stack[-1]
        if lexeme in ("}", "]"):
            stack.pop()
        elif lexeme == ",":
            top.index += 1
            top.member = None
        elif top.is_object and top.member is None:
            top.member = top.place.children[str(json.loads(lexeme))] = Place(line, at - line_start + 1)
        else:
            place = top.member or Place(line, at - line_start + 1)
            if not top.is_object:
                top.place.children[top.index] = place
            if lexeme in ("{", "["):
                stack.append(_Open(place, is_object=lexeme == "{"))
    return root.children.get(0, root)
