"""Paths into JSON values: ``$.items[0]["full name"]``."""

import re
from typing import Final, cast

from stepflow_sdk.flows.values import MISSING, Json, Missing, PathParts

# The longest index of the format is a 64-bit one.
_INDEX: Final = re.compile(r"\[([0-9]{1,19})\]")
_QUOTED: Final = re.compile(r"""\["(.*?)"\]|\['(.*?)'\]""", re.DOTALL)
_NAME: Final = re.compile(r"\.([^.\[]*)")
# A name may hold blanks, but the orchestrator drops those at the end of a path.
_NEEDS_QUOTES: Final = re.compile(r"[.\[]|\s\Z")


def parse_path(text: str | None) -> PathParts:
    r"""Read a path as flow documents write it.

    ``None``, the empty text and ``$`` are the whole value. A text that does not start with ``$`` is a field
    name; where it has ``.`` or ``[`` in it, it is read as if ``$.`` stood before it, which is what the
    orchestrator makes of it. In brackets stands an index or a quoted name; a quoted name ends at the first
    quote that ``]`` follows, and there are no escapes. Empty names are passed over.

    Returns:
        The field names (``str``) and array indexes (``int``).

    Raises:
        ValueError: It is not a path; the message says where it stops being one.
    """
    if not text:
        return ()
    stripped = text.lstrip()
    source = stripped if stripped.startswith("$") else f"$.{text}"
    parts: list[str | int] = []
    at = 1
    while at < len(source):
        if match := _NAME.match(source, at):
            parts.append(match[1])
        elif match := _INDEX.match(source, at):
            parts.append(int(match[1]))
        elif match := _QUOTED.match(source, at):
            parts.append(match[1] if match[1] is not None else match[2])
        else:
            raise ValueError(_complaint(text, source, at))
        at = match.end()
    return tuple(part for part in parts if part != "")


def _complaint(text: str, source: str, at: int) -> str:
    rest = source[at : at + 30]
    if source[at] != "[":
        expected = f"expected '.' or '[' at {rest!r}"
        if at == 1:
            expected += f"; for a field of this name write $[{source!r}]"
    elif "]" not in source[at:]:
        expected = f"the bracket at {rest!r} is never closed"
    else:
        expected = f'{rest!r} is neither an index such as [0] nor a quoted name such as ["name"]'
    return f"{text[:80]!r} is not a path: {expected}"


def format_path(parts: PathParts) -> str:
    """Write a path in its normal form (``$.a[0]["x y"]``), which `parse_path` reads back to the same parts.

    Raises:
        ValueError: A name cannot be written: it is empty, or holds a dot or a bracket and both kinds of
            quotes before ``]``.
    """
    return "$" + "".join([_format_part(part) for part in parts])


def _format_part(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    if part == "":
        raise ValueError("a path cannot name a field whose name is empty")
    if not _NEEDS_QUOTES.search(part):
        return f".{part}"
    if '"]' not in part:
        return f'["{part}"]'
    if "']" not in part:
        return f"['{part}']"
    raise ValueError(f"a path cannot name the field {part!r}"[:200])


def show_path(parts: PathParts) -> str:
    """Write any path for a message; unlike `format_path` it never fails and need not read back."""
    return "$" + "".join([_show_part(part) for part in parts])


def _show_part(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    shown = part if len(part) <= 60 else f"{part[:60]}…"
    return f'["{shown}"]' if not part or _NEEDS_QUOTES.search(part) else f".{shown}"


def follow(value: Json, parts: PathParts) -> Json | Missing:
    """Walk a path into a value: fields of objects, indexes of arrays; `MISSING` where there is nothing."""
    for part in parts:
        if isinstance(part, str):
            if not isinstance(value, dict) or part not in value:
                return MISSING
        elif not isinstance(value, list) or part >= len(value):  # pyright: ignore[reportUnknownArgumentType]
            return MISSING
        value = cast("Json", value[part])
    return value
