"""What a person at a terminal gets where rich is installed (extra ``cli``): the same words, in colour or in a table."""

import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Final, TextIO

from stepflow_sdk.cli.output import printable, say

__all__ = ["as_table", "step_writer"]

_STYLES: Final = {
    "start": "cyan",
    "done": "green",
    "completed": "bold green",
    "default": "yellow",
    "retry": "yellow",
    "skipped": "yellow",
    "failed": "bold red",
    "cancelled": "bold red",
}


def step_writer() -> Callable[[str], None]:
    """Return what writes the lines that tell of steps to stderr: with their status in colour, or as `say` does."""
    if not _is_capable(sys.stderr):
        return say
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)

    def write(line: str) -> None:
        shown = printable(line, sys.stderr)
        text = Text(shown)
        word = next(iter(shown.split(maxsplit=1)), "")
        if word in _STYLES:
            begin = len(shown) - len(shown.lstrip())
            text.stylize(_STYLES[word], begin, begin + len(word))
        console.print(text, soft_wrap=True)

    return write


def as_table(rows: Sequence[tuple[str, str]], width: int | None) -> str | None:
    """Lay out components and their descriptions, or return None where plain lines do better.

    Args:
        rows: Names and descriptions.
        width: That of the terminal, in columns; None when there is none.
    """
    if width is None or not _is_rich_there():
        return None
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("component", "description", box=box.SIMPLE_HEAD, pad_edge=False)
    table.columns[0].overflow = table.columns[1].overflow = "fold"
    for name, description in rows:
        table.add_row(Text(printable(name), style="cyan"), Text(printable(description)))
    written = io.StringIO()
    Console(file=written, force_terminal=True, width=width).print(table)
    return written.getvalue()


def _is_capable(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty() and _is_rich_there()


def _is_rich_there() -> bool:
    if os.environ.get("TERM") in {None, "dumb", "unknown"}:
        return False
    try:
        import_module("rich")
    except ImportError:
        return False
    return True
