"""Component paths: literal ones, and patterns with parameters."""

import re
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from stepflow_sdk.errors import DefinitionError

__all__ = ["Segment", "join_paths", "normalize_path", "parse_path"]

_PARAMETER = r"\{(\*?)([A-Za-z_][A-Za-z0-9_]*)\}"


class Segment(Struct, frozen=True):
    """One part of a path between slashes.

    Attributes:
        form: "literal" text, "one" parameter that takes a segment, or the "rest" of the path.
        text: The literal text, or the parameter's name.
    """

    form: Literal["literal", "one", "rest"]
    text: str


def normalize_path(path: str) -> str:
    """Return a path with its leading slash."""
    return path if path.startswith("/") else f"/{path}"


def join_paths(prefix: str, path: str) -> str:
    """Return a component's path below a prefix.

    Raises:
        DefinitionError: The prefix is no literal path.
    """
    if prefix in {"", "/"}:
        return path
    segments = parse_path(prefix.removesuffix("/"))
    if any(segment.form != "literal" for segment in segments):
        raise DefinitionError(f"the prefix {prefix!r} has parameters; put them into the paths of the components")
    return normalize_path(prefix.removesuffix("/")) + path


def parse_path(path: str) -> Sequence[Segment]:
    """Take a component's path apart.

    Raises:
        DefinitionError: The path is empty, has an empty segment or a malformed parameter.
    """
    texts = normalize_path(path)[1:].split("/")
    if "" in texts:
        raise DefinitionError(f"the path {path!r} has an empty segment; write it like '/text/summarize'")
    segments = [_segment(text, path) for text in texts]
    if any(segment.form == "rest" for segment in segments[:-1]):
        raise DefinitionError(f"in the path {path!r} only the last segment can take the rest of the path")
    names = [segment.text for segment in segments if segment.form != "literal"]
    if len(set(names)) != len(names):
        raise DefinitionError(f"the path {path!r} has two parameters of one name")
    return segments


def _segment(text: str, path: str) -> Segment:
    if "{" in text or "}" in text:
        match = re.fullmatch(_PARAMETER, text)
        if match is not None:
            return Segment("rest" if match[1] else "one", match[2])
        # Half a segment as a parameter would make it ambiguous which pattern wins.
        raise DefinitionError(
            f"the segment {text!r} of the path {path!r} is malformed; "
            "a parameter is a whole segment, '{name}', or '{*name}' for the rest of the path"
        )
    if not text.isprintable() or text != text.strip():
        raise DefinitionError(f"the segment {text!r} of the path {path!r} has blanks at its ends or control characters")
    return Segment("literal", text)
