"""Waits that must not last for ever, with one timer for all those of a connection."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Deadlines"]

_APART = 0.01
"""Seconds between two looks at all that is waited for, so that thousands of waits that end one after the other cost no
look each."""

T = TypeVar("T")


class Deadlines(Generic[T]):
    """What must be over by when. A timer for each wait would cost more than most waits.

    Args:
        expire: Called with what was not dropped in time.
    """

    def __init__(self, expire: Callable[[T], None]) -> None:
        self._expire = expire
        self._loop = asyncio.get_running_loop()
        self._due: dict[T, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0

    def add(self, what: T, seconds: float) -> None:
        """Have something expire after so many seconds, or a hundredth of a second later."""
        when = self._loop.time() + seconds
        self._due[what] = when
        if self._timer is None:
            self._look_at(when)
        elif when < self._next:
            self._timer.cancel()
            self._look_at(when)

    def drop(self, what: T) -> None:
        """Know that something is over."""
        self._due.pop(what, None)

    def close(self) -> None:
        """Let nothing expire any more, and let go of whoever would be told."""
        self._expire = _tell_nobody
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        for what in [what for what, when in self._due.items() if when <= now]:
            # Whoever is told of one may drop others.
            if self._due.pop(what, None) is not None:
                self._expire(what)
        if self._due and self._timer is None:
            self._look_at(max(min(self._due.values()), now + _APART))

    def _look_at(self, when: float) -> None:
        self._next = when
        self._timer = self._loop.call_at(when, self._look)


def _tell_nobody(_: object) -> None:
    pass
