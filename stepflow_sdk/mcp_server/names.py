"""Component paths as names of MCP tools."""

import re

from stepflow_sdk.components.paths import Segment, parse_path

__all__ = ["tool_name"]

_OTHER = re.compile(r"[^A-Za-z0-9_-]")


def tool_name(path: str) -> str:
    """Return the name of the tool for a component: ``/text/shout`` is ``text.shout``.

    Names of tools have letters, digits, ``_``, ``-`` and ``.`` (MCP, "Tool Names"). Slashes become dots; a parameter
    ``{word}`` is ``.word``, ``{*rest}`` is ``.-rest``, and any other character ``..233.`` with its number in Unicode.
    Since no segment of a path is empty, each name stands for one path alone and can be read back.
    """
    return ".".join(_part(segment) for segment in parse_path(path))


def _part(segment: Segment) -> str:
    if segment.form == "one":
        return f".{segment.text}"
    if segment.form == "rest":
        return f".-{segment.text}"
    return _OTHER.sub(lambda found: f"..{ord(found[0])}.", segment.text)
