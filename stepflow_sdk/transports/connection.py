"""A `Peer` joined to a way out: what servers and runtimes hold of each other.

A transport makes one, feeds it the frames that arrive and is handed the frames that must leave. Everything here
runs on one asyncio event loop.
"""

import asyncio
import logging
from collections.abc import Callable, MutableMapping, Sequence
from contextvars import copy_context
from functools import partial
from typing import Any, Protocol

import msgspec

from stepflow_sdk.errors import InternalError, RequestTimeout, ResourceUnavailable, WireError
from stepflow_sdk.packed import ENCODING, Packed
from stepflow_sdk.protocol import Answer, Call, Complaint, Method, Notification, Peer, Request
from stepflow_sdk.protocol.codec import Envelope
from stepflow_sdk.protocol.ids import unguessable_id
from stepflow_sdk.transports.deadlines import Deadlines

__all__ = ["HIGH_WATER", "Connection", "Handler", "call_deadlines", "settle"]

HIGH_WATER = 1024 * 1024
"""How many bytes may be ready to leave before a connection counts as congested."""

_log = logging.getLogger("stepflow_sdk.transports")


class Handler(Protocol):
    """What a connection does with what arrives; nothing in it may block the event loop."""

    def request(self, connection: "Connection", request: Request) -> None:
        """Take a request and see to it that it is answered, now or later."""

    def notification(self, connection: "Connection", notification: Notification) -> None:
        """Take a notification."""

    def closed(self, connection: "Connection") -> None:
        """Learn that the connection is over: no request on it can be answered any more."""

    # A handler may have a method `refused`, too: see `Peer.on_refusal`.


class Connection:
    """One conversation with the other end.

    Args:
        handler: What takes the requests and notifications that arrive.
        send: What takes the frames that must leave, in order, many at a time. It must not raise.
        max_in_flight: See `Peer`.
        on_close: Called when the conversation is over, for the transport to end too.
        calls: Where the connection enters itself under the ids of its calls in flight, for transports on which an
            answer does not come the way the call went.
        remote: The network address of the other end; None where there is no network between.
        sends_at_once: Whether frames are handed to ``send`` one by one, without waiting for others to go with them.
        expect_packed: Called when packed frames may arrive, on transports that can carry them.
        deadlines: From `call_deadlines`, where connections are too short for a timer of their own.
    """

    def __init__(
        self,
        handler: Handler,
        send: Callable[[list[bytes]], None],
        *,
        max_in_flight: int = 10_000,
        on_close: Callable[[], None] | None = None,
        calls: MutableMapping[str, "Connection"] | None = None,
        remote: str | None = None,
        sends_at_once: bool = False,
        expect_packed: Callable[[], None] | None = None,
        deadlines: Deadlines[Call] | None = None,
    ) -> None:
        # Where answers come another way than the call went, strangers could send one.
        self.peer = Peer(max_in_flight=max_in_flight, new_id=None if calls is None else unguessable_id)
        # Most handlers do not want to know.
        refused = getattr(handler, "refused", None)
        if refused is not None:
            self.peer.on_refusal = refused
        self._handler = handler
        self._send = send
        self._on_close = on_close
        self._calls = calls
        self.remote = remote
        self._expect_packed = expect_packed
        self._loop = asyncio.get_running_loop()
        # What leaves is written here and not among the variables of the component that was answered for: where writing
        # has to wait, reading goes on from there, and with it all that is read from then on.
        self._variables = None if sends_at_once else copy_context()
        self._deadlines = call_deadlines() if deadlines is None else deadlines
        self._shares_deadlines = deadlines is not None
        self._sends_at_once = sends_at_once
        self._reading = False
        self._flush_is_due = False
        self._writer_is_full = False
        self._congested = False
        self.on_congestion: Callable[[bool], None] | None = None
        """Called with True when more is ready to leave than can, and with False when that is over."""

    @property
    def closed(self) -> bool:
        """Whether the conversation is over."""
        return self.peer.closed

    # ---- for the transport ------------------------------------------------------------------------------------

    def receive(self, frames: list[bytes | bytearray]) -> None:
        """Take the frames of one read; what is answered at once leaves in one write."""
        self._reading = True
        peer = self.peer
        serve = self._handler.request
        try:
            for frame in frames:
                request = peer.receive_execute(frame)
                if request is None:
                    for event in peer.receive(frame):
                        self._handle(event)
                else:
                    try:
                        serve(self, request)
                    except Exception as error:
                        self._failed(request, error)
                if peer.out_bytes > HIGH_WATER:
                    self._look_for_congestion()
        finally:
            self._reading = False
            if peer.out_bytes:
                self.flush()

    def receive_execute(self, frame: bytes | bytearray) -> bool:
        """Take a frame that asks to execute a component, and is perfect; False for others, which `receive` takes."""
        request = self.peer.receive_execute(frame)
        if request is None:
            return False
        self._reading = True
        try:
            self._handler.request(self, request)
        except Exception as error:
            self._failed(request, error)
        finally:
            self._reading = False
            if self.peer.out_bytes:
                self.flush()
        return True

    def receive_envelope(self, envelope: Envelope) -> None:
        """Take a message whose envelope has been read."""
        event = self.peer.receive_envelope(envelope)
        if event is not None:
            self._handle(event)
        if self.peer.out_bytes:
            self.flush()

    def refuse(self, start: bytes | bytearray, error: WireError) -> None:
        """Answer a message that is too long to be read, of which ``start`` is the beginning."""
        for event in self.peer.refuse(start, error):
            self._handle(event)
        self.flush()

    def flush(self) -> None:
        """Hand what must leave to the transport, now."""
        self._flush_is_due = False
        frames = self.peer.take()
        if frames:
            self._send(frames)
        if self._congested:
            self._look_for_congestion()

    def writer_full(self, full: bool) -> None:
        """Know whether the transport has as much to write as it should hold."""
        self._writer_is_full = full
        self._look_for_congestion()

    def end_input(self, reason: str = "the other end closed the connection") -> None:
        """Know that nothing more arrives: calls in flight fail, replies may still leave."""
        for call in self.peer.end_input():
            self.tell(call, None, ResourceUnavailable(reason))

    def close(self, reason: str = "the connection is closed") -> None:
        """End the conversation: calls in flight fail with `ResourceUnavailable`, the handler is told."""
        if self.peer.closed:
            return
        for call in self.peer.close():
            self.tell(call, None, ResourceUnavailable(reason))
        if not self._shares_deadlines:
            self._deadlines.close()
        self._handler.closed(self)
        if self._on_close is not None:
            self._on_close()

    def release(self) -> None:
        """Let go of the transport, after the end: what holds each other must wait for the garbage collector."""
        self._send = _nowhere
        self._on_close = None

    def _handle(self, event: Request | Notification | Answer | Complaint) -> None:
        if isinstance(event, Answer):
            self.tell(event.call, event.result, event.error)
        elif isinstance(event, Request):
            self.serve(event)
        elif isinstance(event, Notification):
            self._handler.notification(self, event)
        else:
            _log.warning("the other end could not read a message: %s", event.error)

    def serve(self, request: Request) -> None:
        """Have the handler take a request."""
        try:
            self._handler.request(self, request)
        except Exception as error:
            self._failed(request, error)

    def _failed(self, request: Request, error: Exception) -> None:
        # A bug of ours must not cost the request its answer.
        _log.error("the handler of %s failed", request.method, exc_info=error)
        self.fail(request, InternalError(f"{request.method}: {type(error).__name__}"))

    # ---- for the handler and for callers ----------------------------------------------------------------------

    def reply(self, request: Request, result: Any) -> None:
        """Answer a request with its result; ignored when it is answered already."""
        if self.peer.reply(request, result):
            self._flush_soon()

    def reply_output(self, request: Request, output: bytes | Packed) -> None:
        """Answer a request to execute a component with its encoded output; ignored when it is answered already."""
        self.peer.reply_output(request, output)
        if not self._reading and (not self._flush_is_due or self.peer.out_bytes > HIGH_WATER):
            self._flush_soon()

    def fail(self, request: Request, error: BaseException) -> None:
        """Answer a request with an error; ignored when it is answered already."""
        if self.peer.fail(request, error):
            self._flush_soon()

    def notify(self, method: str, params: msgspec.Struct) -> None:
        """Tell the other end something."""
        self.peer.notify(method, params)
        self._flush_soon()

    @property
    def encodings(self) -> Sequence[str]:
        """The encodings of messages beside JSON that the transport can carry."""
        return () if self._expect_packed is None else (ENCODING,)

    def expect(self) -> None:
        """Know that both ends have agreed on the encoding: soon messages arrive in it."""
        if self._expect_packed is not None:
            self.peer.takes_batches = False
            self._expect_packed()

    def switch(self) -> None:
        """Use the encoding, both ways, from the next message on."""
        from stepflow_sdk.protocol.packing import PACKED

        self.flush()
        self.peer.use(PACKED)

    async def call(self, method: Method, params: msgspec.Struct, *, timeout: float | None = None) -> Any:
        """Ask the other end and wait for its answer; a wait that is cancelled or times out is given up.

        Args:
            method: One of `stepflow_sdk.protocol.METHODS`.
            params: Its params.
            timeout: Seconds, or None to wait as long as the connection lives.

        Returns:
            The result, decoded into the method's type.

        Raises:
            WireError: What the other end answered, as the class of its code.
            InternalError: The answer has not the promised form.
            ResourceUnavailable: The connection is closed, or closes meanwhile.
            RequestTimeout: There was no answer in time.
        """
        waiter: asyncio.Future[Any] = self._loop.create_future()
        call = self.begin(method, params, partial(settle, waiter), timeout=timeout)
        try:
            return await waiter
        except BaseException:
            self.abandon(call)
            raise
        finally:
            del waiter  # an exception in it has a traceback that leads here

    def begin(
        self,
        method: Method,
        params: msgspec.Struct,
        on_answer: Callable[[Any, WireError | None], None],
        *,
        timeout: float | None = None,
    ) -> Call:
        """Ask the other end, as `call` does, and be told of the answer instead of waiting for it in a task.

        Args:
            method: One of `stepflow_sdk.protocol.METHODS`.
            params: Its params.
            on_answer: Takes the result, or the error, once, and perhaps before this returns; it must not raise.
            timeout: Seconds, or None.

        Raises:
            InvalidParams: The params cannot be encoded.
            ResourceUnavailable: The connection is closed.
        """
        call = self.peer.call(method, params)
        call.waiter = on_answer
        if self._calls is not None:
            self._calls[call.id] = self
        if timeout is not None:
            self.limit(call, getattr(params, "component", method.name), timeout)
        if not self._flush_is_due or self.peer.out_bytes > HIGH_WATER:
            self._flush_soon()
        return call

    def limit(self, call: Call, subject: str, timeout: float) -> None:
        """Give up a call after so many seconds, with `RequestTimeout`; ``subject`` is who was asked."""
        call.timeout = timeout
        call.subject = subject
        call.owner = self
        self._deadlines.add(call, timeout)

    def abandon(self, call: Call) -> None:
        """Want no answer to a call any more; nothing happens when there was one."""
        self.peer.abandon(call)
        self._forget(call)
        call.waiter = None

    def _forget(self, call: Call) -> None:
        self._deadlines.drop(call)
        if self._calls is not None:
            self._calls.pop(call.id, None)

    def tell(self, call: Call, result: Any, error: WireError | None) -> None:
        """Give the answer to a call to whoever waits for it."""
        self._forget(call)
        # Whoever waits may hold the call: what holds each other must wait for the garbage collector.
        waiter, call.waiter = call.waiter, None
        if waiter is not None:
            waiter(result, error)

    def expire(self, call: Call) -> None:
        """Give up a call whose time is over."""
        self.peer.abandon(call)
        message = f"{call.subject} was not answered within {call.timeout:g} s"
        self.tell(call, None, RequestTimeout(message, data={"timeout": call.timeout}))

    def _look_for_congestion(self) -> None:
        congested = self._writer_is_full or self.peer.out_bytes > HIGH_WATER
        if congested != self._congested:
            self._congested = congested
            if self.on_congestion is not None:
                self.on_congestion(congested)

    def _flush_soon(self) -> None:
        if self.peer.out_bytes > HIGH_WATER and not self._congested:
            self._look_for_congestion()
        # Replies that become ready in one turn of the loop leave in one write, as do those of one read.
        if self._sends_at_once and not self._reading:
            self.flush()
        elif not self._reading and not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self.flush, context=self._variables)


def call_deadlines() -> Deadlines[Call]:
    """What ends the calls of connections that are not answered in time."""
    return Deadlines(_expire)


def _expire(call: Call) -> None:
    owner: Connection = call.owner
    owner.expire(call)


def _nowhere(_: list[bytes]) -> None:
    pass


def settle(waiter: asyncio.Future[Any], result: Any, error: WireError | None) -> None:
    """Give a future the answer to a call, unless nobody waits for it any more."""
    if waiter.done():
        return
    if error is None:
        waiter.set_result(result)
    else:
        waiter.set_exception(error)
