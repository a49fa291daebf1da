"""Lanes: what holds the calls of one connection back while nobody takes their outputs."""

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .execution import Execution

__all__ = ["Lane"]

_MAX_MADE = 1024 * 1024


class Lane:
    """The calls of one connection: while it is held none of them begins.

    Attributes:
        is_full: Whether no call should begin now, because its output would only pile up; worker threads may ask too.
        parked: The calls that wait to begin.
        unanswered: The calls that have begun, or wait, and have not told their outcome.
    """

    __slots__ = ("_held", "_lock", "_made", "is_full", "parked", "unanswered")

    def __init__(self) -> None:
        self.is_full = False
        self.parked: deque[Execution] = deque()
        self.unanswered: set[Execution] = set()
        self._held = False
        self._made = 0
        self._lock = threading.Lock()

    def hold(self, held: bool) -> None:
        """Let no call begin while nobody takes outputs."""
        with self._lock:
            self._held = held
            self.is_full = held or self._made > _MAX_MADE

    def count(self, size: int) -> None:
        """Count the bytes that worker threads have made and the loop has not seen, less with a negative size."""
        with self._lock:
            self._made += size
            self.is_full = self._held or self._made > _MAX_MADE
