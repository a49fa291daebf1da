"""uvicorn's protocol classes, made to bear what strangers send."""

import asyncio
import re
import select
from collections import deque
from typing import Any

from stepflow_sdk.transports.http.policy import MOST_HEAD_BYTES

__all__ = ["guarded"]

_UPGRADE = re.compile(rb"\r\nupgrade[ \t]*:", re.IGNORECASE)
_END_OF_HOST = re.compile(rb"[/?#]")
_LOOK_EVERY = 0.5
"""Seconds between two looks whether a client is still there that nothing is read from."""


def guarded(base: Any) -> Any:
    """Return a subclass of a protocol class of uvicorn: that for h11, or that for httptools with what it lacks."""
    looking = _with_looks(base)
    if not hasattr(base, "on_message_begin"):
        return looking
    return _with_refusals_in_turn(_with_bounds(_with_ends(_with_hosts(_without_upgrades(looking)))))


def _with_looks(base: Any) -> Any:
    """Return uvicorn's protocol class, made to know more of the client.

    It says, for `WholeAnswers`, whether the client may be sending still, and sees it go away while nothing is read, as
    when requests wait behind one.
    """

    class Looking(base):  # type: ignore[misc]  # which class it is depends on what is installed
        _is_refused = False
        _is_stopping = False
        _look_timer: asyncio.TimerHandle | None = None

        def connection_lost(self, exc: Exception | None) -> None:
            if self._look_timer is not None:
                self._look_timer.cancel()
            base.connection_lost(self, exc)
            # After a reset uvicorn keeps its timer, and with that for half a minute the connection.
            self._unset_keepalive_if_required()

        def look_for_end(self) -> None:
            """Look from time to time whether the client is still there, until reading goes on."""
            if self._look_timer is None:
                self._look_timer = asyncio.get_running_loop().call_later(_LOOK_EVERY, self._look)

        def _look(self) -> None:
            self._look_timer = None
            if not self.flow.read_paused or self.transport.is_closing():
                return
            if _has_hung_up(self.transport.get_extra_info("socket")):
                self.transport.abort()
            else:
                self.look_for_end()

        @property
        def may_hear_more(self) -> bool:
            """Whether the client may be sending although the last answer is given."""
            cycle = self.cycle
            hears = self._is_refused or (cycle is not None and cycle.response_complete and cycle.more_body)
            return hears and not self._is_stopping

        def shutdown(self) -> None:
            # Who has had an answer, and sends on, does not hold up the end of the server.
            self._is_stopping = True
            base.shutdown(self)

        @property
        def awaits_head(self) -> bool:
            """Whether what comes next is no part of a body."""
            return self.cycle is None or not self.cycle.more_body

        def send_400_response(self, msg: str) -> None:
            self._is_refused = True
            base.send_400_response(self, msg)

    return Looking


def _without_upgrades(base: Any) -> Any:
    """Return uvicorn's protocol class for httptools, made to overlook that a request asks for an upgrade.

    A server may do that (RFC 9110, section 7.8), and clients that would rather speak HTTP/2 rely on it. httptools takes
    what comes after such a head for another protocol, also where that is the body; so the field has another name before
    it gets there. Where that cannot be told to be a head, in a pipeline or cut within the name, nothing is read any
    further: the next bytes would be read as a request, which is how one is smuggled past a proxy.
    """

    class Overlooking(base):  # type: ignore[misc]  # see above
        _is_deaf = False

        def data_received(self, data: bytes) -> None:
            if self._is_deaf:
                return
            cycle = self.cycle
            if cycle is None or (cycle.response_complete and not cycle.more_body):
                head, end, rest = data.partition(b"\r\n\r\n")
                data = _UPGRADE.sub(b"\r\nx-upgrade:", head) + end + rest if _UPGRADE.search(head) else data
            base.data_received(self, data)

        def _unsupported_upgrade_warning(self) -> None:
            self._is_deaf = self._is_refused = True
            self.cycle.keep_alive = False

    return Overlooking


def _with_hosts(base: Any) -> Any:
    """Return uvicorn's protocol class for httptools, made to heed the host of a target that has one.

    It stands in place of ``Host`` (RFC 9112, section 3.2.2), to be checked like it.
    """

    class Heeding(base):  # type: ignore[misc]  # see above
        def on_headers_complete(self) -> None:
            _, named, rest = self.url.partition(b"://")
            if named and not self.url.startswith(b"/"):
                host = _END_OF_HOST.split(rest, maxsplit=1)[0]
                self.headers[:] = [(name, host if name == b"host" else value) for name, value in self.headers]
            base.on_headers_complete(self)

    return Heeding


def _with_ends(base: Any) -> Any:
    """Return uvicorn's protocol class for httptools, made to end all requests of a client that goes away.

    It tells the last of a pipeline alone.
    """

    class Ending(base):  # type: ignore[misc]  # see above
        _ahead: deque[Any] | None = None  # of the last request of a pipeline, as far as they are not answered

        def on_headers_complete(self) -> None:
            cycle = self.cycle
            base.on_headers_complete(self)
            if self.pipeline:
                ahead = self._ahead = self._ahead or deque()
                while ahead and ahead[0].response_complete:
                    ahead.popleft()
                ahead.append(cycle)

        def connection_lost(self, exc: Exception | None) -> None:
            base.connection_lost(self, exc)
            for cycle in self._ahead or ():
                cycle.disconnected = True
                cycle.message_event.set()
            self._ahead = None

    return Ending


def _with_bounds(base: Any) -> Any:
    """Return uvicorn's protocol class for httptools, made to bound what comes between bodies and is kept.

    That are heads behind a request under way, and what follows the last piece of a body, trailers above all.
    """

    class Bounded(base):  # type: ignore[misc]  # see above
        _between = 0  # bytes since the last head or piece of a body

        def data_received(self, data: bytes) -> None:
            self._between += len(data)
            base.data_received(self, data)
            if self._between <= MOST_HEAD_BYTES or self.transport.is_closing():
                return
            cycle = self.cycle
            if cycle is not None and (cycle.more_body or not cycle.response_complete):
                self.send_400_response("Too much between two bodies.")

        def on_headers_complete(self) -> None:
            self._between = 0
            base.on_headers_complete(self)

        def on_body(self, body: bytes) -> None:
            self._between = 0
            base.on_body(self, body)

    return Bounded


def _with_refusals_in_turn(base: Any) -> Any:
    """Return uvicorn's protocol class for httptools, made to answer what is no request after all requests before it.

    It answers at once, which a client takes for the answer to its first request.
    """

    class Patient(base):  # type: ignore[misc]  # see above
        _refusal: str | None = None  # due when all requests are answered

        def data_received(self, data: bytes) -> None:
            if self._refusal is None:
                base.data_received(self, data)
            else:
                # Who reads the body of the request under way has had reading go on.
                self.flow.pause_reading()

        def send_400_response(self, msg: str) -> None:
            cycle = self.cycle
            if cycle is None or cycle.response_complete:
                base.send_400_response(self, msg)
            elif not cycle.more_body:
                self._refuse_later(msg)
            elif self.pipeline:
                # A request that is cut short can never be served.
                self.pipeline.popleft()
                self._refuse_later(msg)
            else:
                base.send_400_response(self, msg)
                # What the application has to say to it comes too late.
                cycle.disconnected = True
                cycle.message_event.set()

        def _refuse_later(self, msg: str) -> None:
            self._refusal = msg
            self.flow.pause_reading()

        def on_response_complete(self) -> None:
            was_last = not self.pipeline
            base.on_response_complete(self)
            if self._refusal is not None and was_last and not self.transport.is_closing():
                base.send_400_response(self, self._refusal)

        def shutdown(self) -> None:
            base.shutdown(self)
            # It would wait for a request that is never whole.
            if self._is_refused:
                self.transport.close()

    return Patient


def _has_hung_up(connection: Any) -> bool:
    """Whether the other end of a socket has closed its side, also with bytes before that which nobody has read."""
    if not hasattr(select, "poll") or connection is None or connection.fileno() < 0:
        return False
    poll = select.poll()
    # Not every system tells of a side that is closed, but each of a connection that is reset.
    poll.register(connection.fileno(), getattr(select, "POLLRDHUP", 0))
    return bool(poll.poll(0))
