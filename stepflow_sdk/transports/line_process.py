"""Servers that are started as subprocesses and speak in lines on their stdin and stdout."""

import asyncio
import logging
from typing import cast

import anyio

from stepflow_sdk.transports.children import Child
from stepflow_sdk.transports.framing import FrameSplitter, TooLong, is_message

__all__ = ["STOP_GRACE", "LineProcess"]

STOP_GRACE = 5.0
"""Seconds that a server has to end by itself when its stdin has been closed."""

TERMINATE_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL."""

_LAST_WORDS = 0.5
"""Seconds in which the rest of stderr and the exit code may still arrive after one stream has ended."""

_HIGH_WATER = 1024 * 1024
_PIPE_BYTES = 64 * 1024
_MAX_READ = "max_size"
"""Where asyncio's own transports have the size of a read; those of other event loops have nothing like it."""

_MAX_NOISE = 20
_SHOWN = 200

_log = logging.getLogger("stepflow_sdk.transports")


class LineProcess(Child):
    """A child whose messages are JSON objects or arrays, one a line; what else it prints is logged.

    Args:
        name: Its name in messages and in the log.
        max_message_bytes: The longest line that is read.
    """

    def __init__(self, name: str, max_message_bytes: int) -> None:
        super().__init__(name)
        self.max_message_bytes = max_message_bytes
        self._frames = FrameSplitter(max_message_bytes)
        self._stdin: asyncio.WriteTransport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._ended_streams: set[int] = set()
        self._noise = 0
        self._last_noise = ""

    # ---- what a subclass makes of it --------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether what the server says is of no interest any more."""
        raise NotImplementedError

    def received(self, lines: list[bytes | bytearray]) -> None:
        """Take messages that the server sent, as many as came at once."""
        raise NotImplementedError

    def refuse(self, line: TooLong) -> None:
        """Take the beginning of a line that is too long."""
        raise NotImplementedError

    def over(self, reason: str) -> None:
        """Know that the server has ended, or closed one of its ends; may be called more than once."""
        raise NotImplementedError

    # ---- for the outside --------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Wait while more than 1 MiB waits to be read by the server; call it before a new request is made."""
        while not self._writable.is_set() and not self.closed:
            await self._writable.wait()

    def write(self, data: bytes) -> None:
        """Send lines; lost when the server has closed its stdin."""
        stdin = self._stdin
        if stdin is None or stdin.is_closing():
            return
        stdin.write(data)
        # Reading never pauses, or two full pipes would wait for each other for ever. A server that asks without
        # reading the answers is therefore given up before the answers fill the memory.
        if stdin.get_write_buffer_size() > 4 * self.max_message_bytes:
            self.over(f"the server {self.name!r} does not read what it is sent")

    def describe_end(self) -> str:
        """How the server ended, in words, with what it printed besides messages and the end of its stderr."""
        said = self._how_it_ended()
        if self._noise:
            said = f"{said}; it wrote lines to its stdout that are no messages ({self._noise}), the last: "
            said += repr(self._last_noise)
        tail = self.stderr_tail().strip()
        return f"{said}{f'; the end of its stderr:{chr(10)}{tail}' if tail else ''}"

    def _how_it_ended(self) -> str:
        ended = [word for fd, word in ((0, "stdin"), (1, "stdout")) if fd in self._ended_streams]
        if self.returncode is None and ended:
            return f"the server {self.name!r} closed its {ended[-1]} but still runs"
        return self.describe_exit()

    # ---- called by the event loop -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop: the server runs."""
        super().connection_made(transport)
        process = cast("asyncio.SubprocessTransport", transport)
        self._stdin = cast("asyncio.WriteTransport", process.get_pipe_transport(0))
        if not self._stdin.is_closing():  # uvloop refuses what has ended already
            self._stdin.set_write_buffer_limits(high=_HIGH_WATER)
        stdout = cast("asyncio.Transport", process.get_pipe_transport(1))
        stdout.set_protocol(_Straight(self, cast("asyncio.Protocol", stdout.get_protocol())))
        # A pipe holds no more than this. For every read asyncio asks for four times as much, which memory allocators
        # fetch from the system and give back each time: that cost more than all that is done with a small message.
        if hasattr(stdout, _MAX_READ):
            setattr(stdout, _MAX_READ, _PIPE_BYTES)

    def pause_writing(self) -> None:
        """Called by the event loop: the server is behind with reading."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Called by the event loop: the server has caught up."""
        self._writable.set()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Called by the event loop: the server wrote something."""
        if fd == 2:
            self._stderr.feed(data)
        elif not self.closed:
            self._take(self._frames.feed(data))

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio's signature)
        """Called by the event loop: a stream has ended."""
        self._ended_streams.add(fd)
        if fd == 1 and not self.closed:
            self._take(self._frames.finish())
        if fd == 2:
            self._stderr.finish()
        if fd == 0:
            self._writable.set()
        self._something_ended()

    def process_exited(self) -> None:
        """Called by the event loop: the process has ended and is reaped."""
        super().process_exited()
        self._something_ended()

    def _take(self, lines: list[bytes | bytearray | TooLong]) -> None:
        messages: list[bytes | bytearray] = []
        for line in lines:
            if isinstance(line, TooLong):
                self.refuse(line)
            elif line and is_message(line):
                messages.append(line)
            elif line.strip():
                self.note_noise(line)
        if messages:
            self.received(messages)

    def note_noise(self, line: bytes | bytearray) -> None:
        """Take something printed to stdout that is no message: only the log is told, which is not flooded."""
        self._noise += 1
        self._last_noise = bytes(line[:_SHOWN]).decode("utf-8", "replace")
        if self._noise <= _MAX_NOISE:
            text = self._last_noise
            _log.warning("the server %r wrote a line to stdout that is no message: %s", self.name, text)

    def _something_ended(self) -> None:
        # The exit code, the last answers and the last words on stderr arrive in any order.
        if self._exited.is_set() and {1, 2} <= self._ended_streams:
            self._over()
        elif self._exited.is_set() or self._ended_streams & {0, 1}:
            asyncio.get_running_loop().call_later(_LAST_WORDS, self._over)

    def _over(self) -> None:
        self.over(self.describe_end())
        self._writable.set()

    # ---- the end ----------------------------------------------------------------------------------------------

    async def stop(self, grace: float = STOP_GRACE) -> None:
        """Close the server's stdin, and see to it that it ends; see `Child.end`."""
        if self._stdin is not None:
            self._stdin.close()
        with anyio.CancelScope(shield=True):
            await self.end(TERMINATE_GRACE, grace)


class _Straight(asyncio.Protocol):
    """Takes what a server writes where it is read; of its own accord asyncio has it wait for a turn of the loop."""

    def __init__(self, process: LineProcess, usual: asyncio.Protocol) -> None:
        self._process = process
        self._usual = usual

    def data_received(self, data: bytes) -> None:
        self._process.pipe_data_received(1, data)

    def eof_received(self) -> bool | None:
        return self._usual.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._usual.connection_lost(exc)
