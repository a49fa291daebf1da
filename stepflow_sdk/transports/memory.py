"""The twin of the other transports without any I/O: two connections in one process, frame by frame.

Every message is encoded and decoded as on a real wire, so what works here works there. Requests to execute a component
and their outputs, nearly all there is, leave out the envelope: input and output are encoded and decoded as ever, and
what says whose they are is handed over as it is.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import msgspec
from msgspec import Raw

from stepflow_sdk.errors import InvalidParams, WireError
from stepflow_sdk.packed import Packed
from stepflow_sdk.protocol import Call, Method, Request
from stepflow_sdk.protocol.codec import encode
from stepflow_sdk.protocol.messages import ComponentExecuteParams, ComponentExecuteResult
from stepflow_sdk.protocol.methods import EXECUTE
from stepflow_sdk.transports.connection import Connection, Handler

__all__ = ["connect"]


def connect(first: Handler, second: Handler, *, max_in_flight: int = 10_000) -> tuple[Connection, Connection]:
    """Return two connections that talk to each other, the first served by ``first``.

    Closing either closes both. Frames are delivered in order and at once: what the other end can answer at once is
    answered when the call that sent it returns. What goes without an envelope waits for no frame before it.
    """
    one_way, other_way = _Pipe(), _Pipe()
    left, right = _End(first, one_way, max_in_flight), _End(second, other_way, max_in_flight)
    left.other = one_way.sink = right
    right.other = other_way.sink = left
    return left, right


class _End(Connection):
    other: "_End"

    def __init__(self, handler: Handler, pipe: "_Pipe", max_in_flight: int) -> None:
        super().__init__(handler, pipe.send, max_in_flight=max_in_flight, on_close=pipe.end, sends_at_once=True)

    def begin(
        self,
        method: Method,
        params: msgspec.Struct,
        on_answer: Callable[[Any, WireError | None], None],
        *,
        timeout: float | None = None,
    ) -> Call:
        """See `Connection.begin`."""
        if method is not EXECUTE or not isinstance(params, ComponentExecuteParams) or not self.other.peer.admits:
            return super().begin(method, params, on_answer, timeout=timeout)
        try:
            input = Raw(encode(params.input))
        except Exception as error:
            raise InvalidParams(f"{method.name}: the params cannot be encoded: {error}") from error
        call = self.peer.await_answer(method)
        call.waiter = on_answer
        if timeout is not None:
            self.limit(call, params.component, timeout)
        received = ComponentExecuteParams(params.component, input, params.attempt, params.observability)
        self.other.serve(self.other.peer.admit(call.id, received))
        return call

    def reply_output(self, request: Request, output: bytes | Packed) -> None:
        """See `Connection.reply_output`."""
        if not self.peer.mark_answered(request):
            super().reply_output(request, output)
            return
        other = self.other
        call = other.peer.take_answer(request.id)
        if call is not None:
            value = output if isinstance(output, Packed) else Raw(output)
            other.tell(call, ComponentExecuteResult(value), None)


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
