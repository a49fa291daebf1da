"""What a long test says of itself."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

__all__ = ["Form", "Report"]


class Report(NamedTuple):
    """What a long test has come to.

    Attributes:
        total: How many there were of what it counts.
        unit: What it counts, in the plural.
        figures: What else was counted or measured, a line each.
        finds: What was wrong, each as long as it has to be; none is what one hopes for.
        left_out: Why nothing was done, where that is so.
    """

    total: int
    unit: str
    figures: Sequence[str] = ()
    finds: Sequence[str] = ()
    left_out: str = ""


Form = Callable[[float], Iterator[Report]]
"""Runs for so many seconds; yields what it has come to up to then, again and again, and the whole of it at the end."""
