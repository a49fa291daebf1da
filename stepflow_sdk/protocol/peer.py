"""One end of a conversation, without any I/O.

A `Peer` takes the frames that arrive and says what they mean; it takes calls, replies and failures and keeps the
frames that must leave. It owns the ids, the requests in flight in both directions and the promise that every
request is answered exactly once. It has no ``await`` and starts nothing, so the transports at both ends, the
memory twin and the fuzzers all drive the same object.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from stepflow_sdk.errors import (
    InternalError,
    InvalidParams,
    InvalidRequest,
    ResourceUnavailable,
    WireError,
)
from stepflow_sdk.packed import ENCODING, Packed
from stepflow_sdk.protocol import codec
from stepflow_sdk.protocol.error_codes import ErrorCodes, protocol_codes
from stepflow_sdk.protocol.events import Answer, Batch, Call, Event, Notification, Request
from stepflow_sdk.protocol.failures import error_of
from stepflow_sdk.protocol.ids import ids_in_sequence
from stepflow_sdk.protocol.messages import ComponentExecuteParams
from stepflow_sdk.protocol.methods import EXECUTE, Method
from stepflow_sdk.protocol.parts import read_answer, read_complaint

__all__ = ["Peer"]

_NO_PARAMS = Raw(b"{}")
_START = 80
"""Where the method of a request stands, if both ends are ours; not to look further costs no more than time."""


class Peer:
    """One end of a conversation.

    Args:
        max_in_flight: How many requests of the other end may wait for their answer; those above it are answered
            with `ResourceUnavailable` at once.
        new_id: Makes the id of a request of ours; None for `ids_in_sequence`.

    Attributes:
        error_codes: The codes of the dialect that the other end turned out to speak.
        out_bytes: How many bytes must leave and have not been taken.
        takes_batches: Whether JSON-RPC batches are; not where both ends have agreed on MessagePack, which has none.
        on_refusal: Told the method, where it is known, and the error of each message that is answered here.
    """

    on_refusal: Callable[[str, WireError], None] | None = None

    def __init__(self, *, max_in_flight: int = 10_000, new_id: Callable[[], str] | None = None) -> None:
        self.error_codes: ErrorCodes = protocol_codes
        self.use(codec.JSON)
        self._max_in_flight = max_in_flight
        self._in_flight = 0
        self._calls: dict[str, Call] = {}
        self._out: list[bytes] = []
        self.out_bytes = 0
        self.takes_batches = True
        self._new_id = new_id
        self._closed = False
        self._deaf = False
        self._executes = False

    def use(self, encoding: codec.Codec) -> None:
        """Encode messages so, both ways, from the next one on."""
        self._codec = encoding
        # These are asked for with every message.
        self._is_text = encoding.is_text
        self._read_execute = encoding.read_execute
        self._read_executed = encoding.read_executed
        self._encode = encoding.encode
        self._success = encoding.success
        self._executed = encoding.executed

    @property
    def in_flight(self) -> int:
        """How many requests of the other end wait for their answer."""
        return self._in_flight

    @property
    def closed(self) -> bool:
        """Whether the conversation is over."""
        return self._closed

    # ---- what arrives -----------------------------------------------------------------------------------------

    def receive(self, frame: bytes | bytearray) -> Sequence[Event]:
        """Take one frame and return what it means, in order; what is not a message is answered here.

        Never raises, whatever the bytes are.
        """
        if self._executes and self._calls and frame.find(b"method", 0, _START) < 0:
            answer = self._receive_executed(frame)
            if answer is not None:
                return (answer,)
        try:
            envelope = self._codec.read_envelope(frame)
        except codec.Unreadable as unreadable:
            return _some(self._reject(unreadable, None))
        if isinstance(envelope, codec.Envelope):
            return _some(self._sort(envelope, None))
        if envelope is None:
            return ()
        if not self.takes_batches:
            return _some(self._refuse(None, InvalidRequest(f"with {ENCODING} there are no batches"), None))
        return self._receive_batch(envelope)

    def receive_execute(self, frame: bytes | bytearray) -> Request | None:
        """Take a frame that asks to execute a component, and is perfect, in one go; `receive` takes all others.

        Returns:
            None where ``receive`` has to look.
        """
        # An end that asks nothing is asked, and nearly always for this; to one that asks, answers come as well.
        if (self._calls and frame.find(b"method", 0, _START) < 0) or self._in_flight >= self._max_in_flight:
            return None
        try:
            if self._is_text and not frame.isascii():
                frame.decode("utf-8")
            execute = self._read_execute(frame)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        self._in_flight += 1
        return Request(execute.id, execute.params)

    def receive_envelope(self, envelope: codec.Envelope) -> Event | None:
        """Take a frame whose envelope has been read and say what it means, as `receive` does."""
        return self._sort(envelope, None)

    def refuse(self, start: bytes | bytearray, error: WireError) -> Sequence[Event]:
        """Answer a message of which the transport read only the start, because it is too long."""
        return _some(self._reject(codec.Unreadable(error, self._codec.recover_id(start)), None))

    def _receive_executed(self, frame: bytes | bytearray) -> Answer | None:
        """The good answer to a call that executes a component; None for whatever else the frame may be."""
        try:
            if self._is_text and not frame.isascii():
                frame.decode("utf-8")
            executed = self._read_executed(frame)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        call = self._calls.get(executed.id)
        if call is None or call.method is not EXECUTE:
            return None
        del self._calls[call.id]
        return Answer(call, executed.result, None)

    def _receive_batch(self, elements: list[Raw]) -> list[Event]:
        batch = Batch()
        # One missing reply stands for the batch itself until all of it is read.
        batch.missing = 1
        events: list[Event] = []
        for element in elements:
            try:
                envelope = self._codec.read_envelope(bytes(element))
                if not isinstance(envelope, codec.Envelope):
                    raise codec.Unreadable(InvalidRequest("an element of a batch must be an object"), None)
                event = self._sort(envelope, batch)
            except codec.Unreadable as unreadable:
                event = self._reject(unreadable, batch)
            events += _some(event)
        self._complete(batch)
        return events

    def _reject(self, unreadable: codec.Unreadable, batch: Batch | None) -> Event | None:
        call = self._calls.pop(unreadable.id, None) if isinstance(unreadable.id, str) else None
        if call is not None:
            # A broken answer to a call of ours still ends the wait for it.
            return Answer(call, None, InternalError(f"the answer to {call.method.name}: {unreadable.error}"))
        return self._refuse(unreadable.id, unreadable.error, batch)

    def _sort(self, envelope: codec.Envelope, batch: Batch | None) -> Event | None:
        method, id = envelope.method, envelope.id
        if method is UNSET:
            return self._sort_answer(envelope, batch)
        if envelope.jsonrpc != "2.0":
            known_id = None if id is UNSET else id
            return self._refuse(known_id, InvalidRequest('"jsonrpc" must be "2.0"'), batch)
        params = envelope.params or _NO_PARAMS
        if id is UNSET:
            return Notification(method, params)
        if id is None:
            return self._refuse(None, InvalidRequest('"id" must be a string or an integer'), batch)
        if self._in_flight >= self._max_in_flight:
            limit = {"limit": self._max_in_flight}
            return self._refuse(id, ResourceUnavailable("too many requests in flight", data=limit), batch, method)
        self._in_flight += 1
        if batch is not None:
            batch.missing += 1
        return Request(id, None, method, params, batch)

    def _sort_answer(self, envelope: codec.Envelope, batch: Batch | None) -> Event | None:
        id = envelope.id
        call = self._calls.pop(id, None) if isinstance(id, str) else None
        if call is not None:
            return read_answer(call, envelope)
        if envelope.error:
            return read_complaint(envelope.error) if id is None else None
        if envelope.result:
            return None  # nobody waits for it, or not any more
        known_id = None if id is UNSET else id
        missing = InvalidRequest('the message has neither "method" nor "result" nor "error"')
        return self._refuse(known_id, missing, batch)

    # ---- what leaves ------------------------------------------------------------------------------------------

    def take(self) -> list[bytes]:
        """Return the frames that must leave now, in order, and forget them."""
        out, self._out, self.out_bytes = self._out, [], 0
        return out

    def reply(self, request: Request, result: Any) -> bool:
        """Answer a request with its result, anything that msgspec encodes.

        Returns:
            False, and nothing is sent, when the request is answered already or the conversation is over.
        """
        if request.answered:
            return False
        try:
            frame = self._encode(self._success(request.id, result))
        except Exception as error:
            return self.fail(request, InternalError(f"the result could not be encoded: {type(error).__name__}"))
        return self._answer(request, frame)

    def reply_output(self, request: Request, output: bytes | Packed) -> None:
        """Answer a request to execute a component with its output, JSON or `Packed`; see `reply`."""
        if request.answered:
            return
        frame = self._executed(request.id, output)
        if request.batch is not None or self._closed:
            self._answer(request, frame)
            return
        # The way of nearly all replies, and the same as that of `_answer`.
        request.answered = True
        self._in_flight -= 1
        self._out.append(frame)
        self.out_bytes += len(frame)

    def fail(self, request: Request, error: BaseException) -> bool:
        """Answer a request with an error; see `reply`."""
        if request.answered:
            return False
        return self._answer(request, self._encode(self._codec.failure(request.id, error_of(error, self.error_codes))))

    def call(self, method: Method, params: msgspec.Struct) -> Call:
        """Ask something of the other end; the `Answer` comes out of `receive`.

        Raises:
            ResourceUnavailable: The conversation is over.
            InvalidParams: The params cannot be encoded.
        """
        call = self.await_answer(method)
        try:
            frame = self._encode(self._codec.call(call.id, method.name, params))
        except Exception as error:
            del self._calls[call.id]
            raise InvalidParams(f"{method.name}: the params cannot be encoded: {error}") from error
        self._out.append(frame)
        self.out_bytes += len(frame)
        self._executes = self._executes or method is EXECUTE
        return call

    def await_answer(self, method: Method) -> Call:
        """Know of a request of ours that nothing is sent for here; its answer comes out of `receive` or `take_answer`.

        Raises:
            ResourceUnavailable: The conversation is over.
        """
        if self._deaf:
            raise ResourceUnavailable("the connection is closed")
        if self._new_id is None:
            self._new_id = ids_in_sequence().__next__
        call = Call(self._new_id(), method)
        self._calls[call.id] = call
        return call

    def notify(self, method: str, params: msgspec.Struct) -> None:
        """Tell the other end something."""
        if not self._closed:
            self._push(self._encode(self._codec.notification(method, params)))

    def abandon(self, call: Call) -> None:
        """Wait no longer for the answer to a call; one that still comes is ignored."""
        self._calls.pop(call.id, None)

    def close(self) -> list[Call]:
        """End the conversation and return the calls that will never be answered."""
        self._closed = True
        return self.end_input()

    def end_input(self) -> list[Call]:
        """Know that nothing more arrives, though replies may still leave; return the calls that get no answer."""
        self._deaf = True
        calls = list(self._calls.values())
        self._calls.clear()
        return calls

    # ---- what goes by another way, between two ends in one process --------------------------------------------

    @property
    def admits(self) -> bool:
        """Whether there is room for another request of the other end."""
        return not self._closed and self._in_flight < self._max_in_flight

    def admit(self, id: str, params: ComponentExecuteParams) -> Request:
        """Take a request to execute a component that came in no frame, where there is room for it."""
        self._in_flight += 1
        return Request(id, params)

    def mark_answered(self, request: Request) -> bool:
        """Know that a request is answered by another way; False when it is answered already, or cannot be any more."""
        if request.answered or self._closed:
            return False
        request.answered = True
        self._in_flight -= 1
        return True

    def take_answer(self, id: int | str) -> Call | None:
        """The call whose answer has come by another way; None when nobody waits for it, or not any more."""
        return self._calls.pop(id, None) if isinstance(id, str) else None

    # ---- inside ------------------------------------------------------------------------------------------------

    def _answer(self, request: Request, frame: bytes) -> bool:
        request.answered = True
        self._in_flight -= 1
        if self._closed:
            return False
        batch = request.batch
        if batch is None:
            self._out.append(frame)
            self.out_bytes += len(frame)
        else:
            batch.replies.append(frame)
            self._complete(batch)
        return True

    def _refuse(self, id: int | str | None, error: WireError, batch: Batch | None, method: str = "") -> Event | None:
        if not self._closed:
            if self.on_refusal is not None:
                self.on_refusal(method, error)
            frame = self._encode(self._codec.failure(id, error_of(error, self.error_codes)))
            if batch is None:
                self._push(frame)
            else:
                batch.replies.append(frame)
        return None

    def _complete(self, batch: Batch) -> None:
        batch.missing -= 1
        if batch.missing == 0 and batch.replies:
            self._push(b"[" + b",".join(batch.replies) + b"]")

    def _push(self, frame: bytes) -> None:
        self._out.append(frame)
        self.out_bytes += len(frame)


def _some(event: Event | None) -> Sequence[Event]:
    return (event,) if event is not None else ()
