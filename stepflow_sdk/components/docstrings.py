"""Reading docstrings: what a thing does, and what is said of each parameter or attribute.

Google, NumPy and Sphinx styles are understood, each as far as parameters go.
"""

import inspect
import re

from msgspec import Struct

__all__ = ["Docstring", "parse_docstring"]

_PARAMETERS = {"args", "arguments", "parameters", "params", "keyword args", "keyword arguments", "other parameters"}
_ATTRIBUTES = {"attributes", "fields"}
_OTHERS = {
    *("returns", "return", "yields", "yield", "raises", "raise", "example", "examples", "note", "notes"),
    *("warning", "warnings", "warns", "see also", "references", "todo", "receives", "methods"),
}
# Compiled on first use: most servers have no docstring that needs them all.
_GOOGLE_ITEM = r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)"
_NUMPY_ITEM = r"\*{0,2}(\w+(?:\s*,\s*\w+)*)\s*(?::.*)?"
_SPHINX_ITEM = r":(param|parameter|arg|argument|key|keyword|ivar|var|cvar)\s+(?:[^:]*\s)?\*{0,2}(\w+)\s*:\s*(.*)"
_SPHINX_FIELD = r":\w+(?:\s[^:]*)?:(?:\s|$)"


class Docstring(Struct):
    """A docstring, taken apart.

    Attributes:
        description: Summary and body without the sections, None when there is none.
        names: What is said of each parameter or attribute.
    """

    description: str | None = None
    names: dict[str, str] = {}


def parse_docstring(text: str | None) -> Docstring:
    """Take a docstring apart; whatever has no known form stays in the description."""
    if not text:
        return Docstring()
    lines = inspect.cleandoc(text).splitlines()
    names: dict[str, str] = {}
    body: list[str] = []
    index = 0
    while index < len(lines):
        section, content = _heading(lines, index)
        if section is not None:
            end = _section_end(lines, content, numpy=content == index + 2)
            if section in _PARAMETERS | _ATTRIBUTES:
                names.update(_read_section(lines[content:end], numpy=content == index + 2))
            index = end
        elif re.match(_SPHINX_FIELD, lines[index]):
            index = _read_sphinx(lines, index, names)
        else:
            body.append(lines[index])
            index += 1
    description = re.sub(r"\n{3,}", "\n\n", "\n".join(body)).strip()
    return Docstring(description or None, names)


def _heading(lines: list[str], index: int) -> tuple[str | None, int]:
    """Return the section that starts at a line, if one does, and the line where its content starts."""
    line = lines[index]
    word = line.rstrip(":").strip().lower()
    if line[:1].isspace() or word not in _PARAMETERS | _ATTRIBUTES | _OTHERS:
        return None, index
    following = lines[index + 1] if index + 1 < len(lines) else ""
    if re.fullmatch(r"-{3,}\s*", following):
        return word, index + 2
    if line.rstrip().endswith(":") and (following[:1].isspace() or not following):
        return word, index + 1
    return None, index


def _section_end(lines: list[str], start: int, *, numpy: bool) -> int:
    index = start
    while index < len(lines):
        line = lines[index]
        if numpy:
            # A heading is told by the line of dashes below it.
            if _heading(lines, index)[0] is not None:
                break
            if not line.strip() and index + 1 < len(lines) and not lines[index + 1].strip():
                break
        # In Google style a section is what is indented below its heading.
        elif line.strip() and not line[0].isspace():
            break
        index += 1
    return index


def _read_section(lines: list[str], *, numpy: bool) -> dict[str, str]:
    indents = [len(line) - len(line.lstrip()) for line in lines if line.strip()]
    outer = min(indents, default=0)
    names: dict[str, str] = {}
    current: list[str] = []
    for line in lines:
        stripped = line.strip()
        # Deeper lines continue the last item.
        if len(line) - len(line.lstrip()) == outer and stripped:
            match = re.fullmatch(_NUMPY_ITEM if numpy else _GOOGLE_ITEM, stripped)
            current = [] if match is None else [name.strip() for name in match[1].split(",")]
            first = match[2] if match is not None and not numpy else ""
            names.update(dict.fromkeys(current, first))
        else:
            for name in current:
                names[name] = f"{names[name]} {stripped}".strip()
    return {name: text for name, text in names.items() if text}


def _read_sphinx(lines: list[str], index: int, names: dict[str, str]) -> int:
    match = re.match(_SPHINX_ITEM, lines[index])
    parts = [match[3]] if match else []
    index += 1
    while index < len(lines) and lines[index][:1].isspace():
        parts.append(lines[index].strip())
        index += 1
    if match:
        names[match[2]] = " ".join(parts).strip()
    return index
