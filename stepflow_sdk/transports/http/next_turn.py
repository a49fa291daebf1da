"""What many connections have to do, done together in the next turn of the event loop."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import copy_context

__all__ = ["NextTurn"]

Callback = Callable[[], None]

_LOST_AFTER = 1.0
"""Seconds; no turn of the loop is meant to take as long."""


class NextTurn:
    """Calls in the next turn of the event loop what is added in this one, in order.

    For asyncio that is one callback, for however many connections. It runs in the context in which this was made: what
    a component has added must not go on among its variables.
    """

    def __init__(self) -> None:
        self._due: deque[tuple[Callback, Callback]] = deque()
        self._is_scheduled = False
        self._overdue = 0.0
        self._variables = copy_context()

    def add(self, callback: Callback, failed: Callback) -> None:
        """Have something called once, and ``failed`` if that raises, which the event loop then reports."""
        self._due.append((callback, failed))
        # A handler of a signal that raises between two callbacks of the loop takes the second one with it.
        if not self._is_scheduled or self._loop.time() > self._overdue:
            self._schedule()

    def _schedule(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        self._overdue = loop.time() + _LOST_AFTER
        self._is_scheduled = True
        loop.call_soon(self._call_all, context=self._variables)

    def _call_all(self) -> None:
        self._is_scheduled = False
        due = self._due
        try:
            for _ in range(len(due)):
                callback, failed = due.popleft()
                try:
                    callback()
                except BaseException as error:
                    failed()
                    if not isinstance(error, Exception):
                        raise
                    report = {"message": "a connection could not be served", "exception": error}
                    asyncio.get_running_loop().call_exception_handler(report)
        finally:
            # Handlers of signals raise wherever the program is; the others have their turn all the same.
            if due and not self._is_scheduled:
                self._schedule()
