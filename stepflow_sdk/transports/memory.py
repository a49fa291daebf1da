"""The twin of the other transports without any I/O: two connections in one process, frame by frame.

Every message is encoded and decoded as on a real wire, so what works here works there.
"""

import asyncio
from collections import deque

from stepflow_sdk.transports.connection import Connection, Handler

__all__ = ["connect"]


def connect(first: Handler, second: Handler) -> tuple[Connection, Connection]:
    """Return two connections that talk to each other, the first served by ``first``.

    Closing either closes both. Frames are delivered on the running event loop, in order, never from inside the
    call that sent them.
    """
    one_way, other_way = _Pipe(), _Pipe()
    left, right = Connection(first, one_way.send), Connection(second, other_way.send)
    one_way.sink, other_way.sink = right, left
    return left, right


class _Pipe:
    """Carries frames one way; None in the queue is the end."""

    def __init__(self) -> None:
        self.sink: Connection | None = None
        self._queue: deque[list[bytes]] = deque()
        self._loop = asyncio.get_running_loop()

    def send(self, frames: list[bytes]) -> None:
        if not self._queue:
            self._loop.call_soon(self._deliver)
        self._queue.append(frames)

    def _deliver(self) -> None:
        frames: list[bytes | bytearray] = [frame for batch in self._queue for frame in batch]
        self._queue.clear()
        if self.sink is not None and not self.sink.closed:
            self.sink.receive(frames)
