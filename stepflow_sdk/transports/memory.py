"""The twin of the other transports without any I/O: two connections in one process, frame by frame.

Every message is encoded and decoded as on a real wire, so what works here works there.
"""

import asyncio
from collections import deque
from typing import cast

from stepflow_sdk.transports.connection import Connection, Handler

__all__ = ["connect"]


def connect(first: Handler, second: Handler, *, max_in_flight: int = 10_000) -> tuple[Connection, Connection]:
    """Return two connections that talk to each other, the first served by ``first``.

    Closing either closes both. Frames are delivered in order and at once: what the other end can answer at once is
    answered when the call that sent it returns.
    """
    one_way, other_way = _Pipe(), _Pipe()
    left = Connection(first, one_way.send, max_in_flight=max_in_flight, on_close=one_way.end, sends_at_once=True)
    right = Connection(second, other_way.send, max_in_flight=max_in_flight, on_close=other_way.end, sends_at_once=True)
    one_way.sink, other_way.sink = right, left
    return left, right


class _Pipe:
    """Carries frames one way."""

    def __init__(self) -> None:
        self.sink: Connection | None = None
        self._queue: deque[list[bytes]] = deque()
        self._delivers = False
        self._loop = asyncio.get_running_loop()

    def send(self, frames: list[bytes]) -> None:
        # What is sent while something is delivered waits for its turn: nothing is read inside the reading of another.
        if self._delivers:
            self._queue.append(frames)
            return
        self._delivers = True
        try:
            self._deliver(frames)
            while self._queue:
                self._deliver(self._queue.popleft())
        finally:
            self._delivers = False

    def end(self) -> None:
        self._loop.call_soon(self._close_sink)

    def _close_sink(self) -> None:
        if self.sink is not None:
            self.sink.close("the other end closed the connection")

    def _deliver(self, frames: list[bytes]) -> None:
        if self.sink is not None and not self.sink.closed:
            self.sink.receive(cast("list[bytes | bytearray]", frames))
