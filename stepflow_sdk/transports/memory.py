"""The twin of the other transports without any I/O: two connections in one process, frame by frame.

Every message is encoded and decoded as on a real wire, so what works here works there.
"""

import asyncio
from collections import deque

from stepflow_sdk.transports.connection import Connection, Handler

__all__ = ["connect"]


def connect(first: Handler, second: Handler, *, max_in_flight: int = 10_000) -> tuple[Connection, Connection]:
    """Return two connections that talk to each other, the first served by ``first``.

    Closing either closes both. Frames are delivered on the running event loop, in order, never from inside the
    call that sent them.
    """
    one_way, other_way = _Pipe(), _Pipe()
    left = Connection(first, one_way.send, max_in_flight=max_in_flight, on_close=one_way.end)
    right = Connection(second, other_way.send, max_in_flight=max_in_flight, on_close=other_way.end)
    one_way.sink, other_way.sink = right, left
    return left, right


class _Pipe:
    """Carries frames one way."""

    def __init__(self) -> None:
        self.sink: Connection | None = None
        self._queue: deque[list[bytes]] = deque()
        self._loop = asyncio.get_running_loop()

    def send(self, frames: list[bytes]) -> None:
        if not self._queue:
            self._loop.call_soon(self._deliver)
        self._queue.append(frames)

    def end(self) -> None:
        self._loop.call_soon(self._close_sink)

    def _close_sink(self) -> None:
        if self.sink is not None:
            self.sink.close("the other end closed the connection")

    def _deliver(self) -> None:
        frames: list[bytes | bytearray] = [frame for batch in self._queue for frame in batch]
        self._queue.clear()
        if self.sink is not None and not self.sink.closed:
            self.sink.receive(frames)
