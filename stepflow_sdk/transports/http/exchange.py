"""One POST of a runtime and its answer."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, MutableMapping

from stepflow_sdk.errors import ResourceUnavailable
from stepflow_sdk.protocol import Call
from stepflow_sdk.transports.connection import Connection, Handler
from stepflow_sdk.transports.deadlines import Deadlines
from stepflow_sdk.transports.http.direct import Wire
from stepflow_sdk.transports.http.messages import Receive, Send, event, send_answer, send_refusal
from stepflow_sdk.transports.http.policy import Refusal

__all__ = ["Exchange"]

_WATCH_AFTER = 0.25
"""Seconds after which an exchange looks whether its client is still there: to look takes a task, and most are over."""


class Exchange:
    """One POST and its answer: plain JSON, or an event stream from the first call back on.

    Args:
        handler: What serves the request.
        calls: Where calls back are entered, so that their answers, which are POSTs of their own, find here.
        instance_id: The value of ``Stepflow-Instance-Id`` of event streams.
        remote: The client's network address.
        send_call: Takes calls back where they have a way of their own; then the answer is always plain JSON.
        deadlines: See `Connection`.
        on_end: Called when the answer is complete, or nobody waits for it any more, where it goes out on a `Wire`.
    """

    def __init__(
        self,
        handler: Handler,
        calls: MutableMapping[str, Connection],
        instance_id: str,
        *,
        remote: str | None = None,
        send_call: Callable[[bytes], None] | None = None,
        deadlines: Deadlines[Call] | None = None,
        on_end: "Callable[[Exchange], None] | None" = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._something: asyncio.Future[None] | None = None
        self._frames: list[bytes] = []
        self._instance_id = instance_id
        self._send_call = send_call
        self._on_end = on_end
        self._wire: Wire | None = None
        self._writes_soon = False
        # What becomes ready in one turn of the loop leaves together because it is written in the next one.
        self.connection = Connection(
            handler,
            self._take,
            calls=calls,
            on_close=self._wake,
            remote=remote,
            sends_at_once=True,
            deadlines=deadlines,
        )
        self._watcher: asyncio.Task[None] | None = None
        self._client_is_gone = False
        self.took = False
        """Whether `answer_at_once` has taken a request."""
        self.is_clean = False
        """Whether an answer has left nothing here, so that the exchange can serve another request."""

    def is_answered_with_nothing(self) -> bool:
        """Whether what was received wants no answer: a notification."""
        return not self._frames and self.connection.peer.in_flight == 0

    def answer_at_once(self, body: bytes, remote: str) -> bytes | None:
        """Give a request to execute a component to the connection, for its answer, where that is there at once.

        Nothing of such a request is left here, so that the exchange can serve the next one.

        Args:
            body: The request.
            remote: The client's network address.

        Returns:
            The answer; None when there will be one later, or when the body is no such request, see `took`.
        """
        connection = self.connection
        connection.remote = remote
        self.is_clean = False
        self.took = connection.receive_execute(body)
        return self._frames.pop() if len(self._frames) == 1 and connection.peer.in_flight == 0 else None

    async def answer(self, receive: Receive, send: Send) -> None:
        """Send what the handler answers to the request that was given to the connection.

        Returns when the answer is complete, or when the client has gone away, which closes the connection.
        """
        if self._is_over():
            # The component has ended at once: nobody has to wait or to watch.
            self.end()
            await send_answer(send, 200, self._frames[-1])
            return
        watch = self._loop.call_later(_WATCH_AFTER, self._watch, receive)
        try:
            await self._wait()
            if self._is_over():
                answer = self._frames.pop()
                await send_answer(send, 200, answer)
                self.is_clean = self._watcher is None and not self._frames and not self.connection.closed
            elif self._frames:
                await self._stream(send)
            elif not self._client_is_gone:
                error = ResourceUnavailable("the session has ended")
                await send_refusal(send, Refusal(503, error))
        finally:
            watch.cancel()
            if not self.is_clean:
                self.end()
            if self._watcher is not None:
                self._watcher.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._watcher

    def answer_on(self, wire: Wire) -> None:
        """Send what the handler answers to the request that was given to the connection."""
        self._wire = wire
        if self._frames:
            self._wake()

    def client_is_gone(self) -> None:
        """Close the connection, as nobody waits for the answer."""
        self._wire = None
        self.connection.close("the client went away")
        self._leave()

    def end(self) -> None:
        """Serve no further request, and leave nothing to the garbage collector."""
        self.connection.close()
        self.connection.release()

    async def _stream(self, send: Send) -> None:
        headers = [
            (b"content-type", b"text/event-stream"),
            (b"cache-control", b"no-store"),
            (b"stepflow-instance-id", self._instance_id.encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while self._frames:
            over = self._is_over()
            frames, self._frames = self._frames, []
            await send({"type": "http.response.body", "body": _events(frames), "more_body": not over})
            if over:
                return
            await self._wait()

    def _is_over(self) -> bool:
        return bool(self._frames) and self.connection.peer.in_flight == 0

    async def _wait(self) -> None:
        while not self._frames and not self.connection.closed:
            self._something = self._loop.create_future()
            await self._something

    def _take(self, frames: list[bytes]) -> None:
        if self._send_call is None:
            self._frames += frames
        else:
            # The answer is the last frame, once there is one: a component that has ended makes no calls.
            answers = 1 if self.connection.peer.in_flight == 0 else 0
            for frame in frames[: len(frames) - answers]:
                self._send_call(frame)
            self._frames += frames[len(frames) - answers :]
        self._wake()

    def _wake(self) -> None:
        if self._wire is not None:
            # What becomes ready in one turn of the loop leaves together, and not among the variables of a component.
            if not self._writes_soon:
                self._writes_soon = True
                self._wire.soon(self._write)
        elif self._something is not None and not self._something.done():
            self._something.set_result(None)

    def _write(self) -> None:
        self._writes_soon = False
        wire = self._wire
        if wire is None or not self._frames:
            return
        over = self._is_over()
        if over:
            self._wire = None
        if over and not wire.is_stream:
            answer = self._frames.pop()
            self.is_clean = not self._frames and not self.connection.closed
            wire.answer(answer)
        else:
            frames, self._frames = self._frames, []
            wire.stream(_events(frames), self._instance_id, is_last=over)
        if over:
            self._leave()

    def _leave(self) -> None:
        if self._on_end is not None:
            self._on_end(self)

    def _watch(self, receive: Receive) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._await_disconnect(receive))

    async def _await_disconnect(self, receive: Receive) -> None:
        with contextlib.suppress(ResourceUnavailable):
            while (await receive())["type"] != "http.disconnect":
                pass
            self._client_is_gone = True
            self.connection.close("the client went away")
            self._wake()


def _events(frames: Iterable[bytes]) -> bytes:
    return b"".join(map(event, frames))
