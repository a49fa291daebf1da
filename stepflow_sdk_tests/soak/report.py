"""What a soak says at its end."""

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Report(NamedTuple):
    """The end of a soak.

    Attributes:
        counts: What was counted, a line each.
        finds: What was wrong, each as long as it has to be; none is what one hopes for.
    """

    counts: Sequence[str]
    finds: Sequence[str]


Soak = Callable[[float], Report]
"""Runs for so many seconds."""
