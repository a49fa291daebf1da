"""What is told on stderr while a flow runs on many inputs: how far it is, and what failed."""

import time
from collections.abc import Callable
from typing import Final

from stepflow_sdk.protocol import FlowResultFailed
from stepflow_sdk.runtime import ItemEnded, RunEnded, RunEvent, RunStarted

__all__ = ["BatchProgress"]

_MOST_FAILURES: Final = 100
_LONGEST_MESSAGE: Final = 160


class BatchProgress:
    """Items instead of steps: the first failures as lines, and every few seconds how many items have ended.

    Args:
        write: Writes a line.
        total: How many items there are.
        seconds: Between two lines about how far it is.
        clock: Tells seconds.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        total: int,
        *,
        seconds: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._total = total
        self._seconds = seconds
        self._clock = clock
        self._told = clock()
        self._run_id: str | None = None
        self._ended = 0
        self._failed = 0

    def __call__(self, event: RunEvent) -> None:
        """Tell one event; those of nested runs are passed over."""
        if isinstance(event, RunStarted) and self._run_id is None:
            self._run_id = event.run_id
            self._line(f"flow     {event.flow_name or 'a flow without a name'} on {self._total} inputs")
            self._line(f"run      {event.run_id}")
        elif event.run_id != self._run_id:
            return
        elif isinstance(event, ItemEnded):
            self._item_ended(event)
        elif isinstance(event, RunEnded):
            self._line(f"{event.status} in {event.seconds:.3f} s: {self._count()}")

    def _item_ended(self, event: ItemEnded) -> None:
        self._ended += 1
        if isinstance(event.result, FlowResultFailed):
            self._failed += 1
            error = event.result.error
            if self._failed <= _MOST_FAILURES:
                self._line(f"  failed   [{event.item}]  [{error.code}] {error.message[:_LONGEST_MESSAGE]}")
            elif self._failed == _MOST_FAILURES + 1:
                self._line("  … further failures are counted")
        now = self._clock()
        if now - self._told >= self._seconds:
            self._told = now
            self._line(f"  {self._count()}")

    def _count(self) -> str:
        return f"{self._ended} of {self._total} items, {self._failed} failed"

    def _line(self, text: str) -> None:
        # Names and messages are somebody else's: none of them begins a line of its own.
        self._write(" ".join(text.splitlines()))
