"""What many connections have to do, done together in the next turn of the event loop."""

import asyncio
from collections.abc import Callable
from contextvars import copy_context

__all__ = ["NextTurn"]

Callback = Callable[[], None]


class NextTurn:
    """Calls in the next turn of the event loop what is added in this one, in order.

    For asyncio that is one callback, for however many connections. It runs in the context in which this was made: what
    a component has added must not go on among its variables.
    """

    def __init__(self) -> None:
        self._due: list[tuple[Callback, Callback]] = []
        self._variables = copy_context()

    def add(self, callback: Callback, failed: Callback) -> None:
        """Have something called once, and ``failed`` if that raises, which the event loop then reports."""
        if not self._due:
            asyncio.get_running_loop().call_soon(self._call_all, context=self._variables)
        self._due.append((callback, failed))

    def _call_all(self) -> None:
        due, self._due = self._due, []
        for callback, failed in due:
            try:
                callback()
            except Exception as error:
                report = {"message": "a connection could not be served", "exception": error}
                asyncio.get_running_loop().call_exception_handler(report)
                failed()
