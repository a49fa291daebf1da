"""The client end of stdio: a component server as a subprocess, spoken to on its stdin and stdout."""

import asyncio
import logging
import os
import subprocess
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import anyio

from stepflow_sdk.errors import InvalidRequest
from stepflow_sdk.transports.children import Child, spawn
from stepflow_sdk.transports.connection import Connection, Handler
from stepflow_sdk.transports.framing import DEFAULT_MAX_MESSAGE_BYTES, LineSplitter, TooLong, join_lines

__all__ = ["ServerProcess", "open_process"]

STOP_GRACE = 5.0
"""Seconds that a server has to end by itself when its stdin has been closed."""

TERMINATE_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL."""

_LAST_WORDS = 0.5
"""Seconds in which the rest of stderr and the exit code may still arrive after one stream has ended."""

_HIGH_WATER = 1024 * 1024
_MAX_NOISE = 20

_log = logging.getLogger("stepflow_sdk.transports")


@asynccontextmanager
async def open_process(
    command: Sequence[str],
    *,
    handler: Handler,
    name: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
    stop_grace: float = STOP_GRACE,
) -> AsyncGenerator["ServerProcess", None]:
    """Start a component server and stop it at the end, whatever happens.

    The server runs in a session and process group of its own and inherits no descriptors. Its stderr is read
    all the time and goes, line by line, to the logger ``stepflow_sdk.server.<name>``. At the end its stdin is
    closed; if it has not ended after ``stop_grace`` seconds its group gets SIGTERM, and 2 seconds later SIGKILL.
    What is left of its group then goes too.

    Args:
        command: The program and its arguments; never a shell.
        handler: What takes the server's calls back.
        name: Its name in messages and in the log; by default the program's.
        env: Its whole environment; by default that of this process.
        cwd: Its working directory.
        max_message_bytes: The longest line that is read; a longer answer fails its call alone.
        stop_grace: See above.

    Raises:
        ResourceUnavailable: The program cannot be started.
    """
    process = ServerProcess(handler, name or Path(command[0]).name, max_message_bytes)
    await spawn(process, command, stdin=subprocess.PIPE, env=env, cwd=cwd)
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            await process.stop(stop_grace)


class ServerProcess(Child):
    """A component server that runs as a subprocess; made by `open_process`.

    Attributes:
        connection: The conversation with it. It closes when the server ends, with a reason that names the exit code
            or the signal and shows the end of stderr.
    """

    def __init__(self, handler: Handler, name: str, max_message_bytes: int) -> None:
        super().__init__(name)
        self.connection = Connection(handler, self._send)
        self._max_message_bytes = max_message_bytes
        self._lines = LineSplitter(max_message_bytes)
        self._stdin: asyncio.WriteTransport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._ended_streams: set[int] = set()
        self._noise = 0

    async def drain(self) -> None:
        """Wait while more than 1 MiB waits to be read by the server; call it before a new request is made."""
        while not self._writable.is_set() and not self.connection.closed:
            await self._writable.wait()

    def describe_end(self) -> str:
        """How the server ended, in words, with the end of its stderr."""
        tail = self.stderr_tail().strip()
        return f"{self._how_it_ended()}{f'; the end of its stderr:{chr(10)}{tail}' if tail else ''}"

    def _how_it_ended(self) -> str:
        ended = [word for fd, word in ((0, "stdin"), (1, "stdout")) if fd in self._ended_streams]
        if self.returncode is None and ended:
            return f"the server {self.name!r} closed its {ended[-1]} but still runs"
        return self.describe_exit()

    # ---- the way out ------------------------------------------------------------------------------------------

    def _send(self, frames: list[bytes]) -> None:
        stdin = self._stdin
        if stdin is None or stdin.is_closing():
            return
        stdin.write(join_lines(frames))
        # Reading never pauses, or two full pipes would wait for each other for ever. A server that asks without
        # reading the answers is therefore given up before the answers fill the memory.
        if stdin.get_write_buffer_size() > 4 * self._max_message_bytes:
            self.connection.close(f"the server {self.name!r} does not read what it is sent")

    def pause_writing(self) -> None:
        """Called by the event loop: the server is behind with reading."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Called by the event loop: the server has caught up."""
        self._writable.set()

    # ---- the way in -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop: the server runs."""
        super().connection_made(transport)
        process = cast("asyncio.SubprocessTransport", transport)
        self._stdin = cast("asyncio.WriteTransport", process.get_pipe_transport(0))
        self._stdin.set_write_buffer_limits(high=_HIGH_WATER)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Called by the event loop: the server wrote something."""
        if fd == 2:
            self._stderr.feed(data)
        elif not self.connection.closed:
            self._take(self._lines.feed(data))

    def _take(self, lines: list[bytes | bytearray | TooLong]) -> None:
        frames: list[bytes | bytearray] = []
        for line in lines:
            if isinstance(line, TooLong):
                limit = {"limit": self._max_message_bytes}
                problem = f"the message is longer than {self._max_message_bytes} bytes"
                self.connection.refuse(line.start, InvalidRequest(problem, data=limit))
            elif line[:1] in (b"{", b"[") or line.lstrip()[:1] in (b"{", b"["):
                frames.append(line)
            elif line.strip():
                self._note_noise(line)
        if frames:
            self.connection.receive(frames)

    def _note_noise(self, line: bytes | bytearray) -> None:
        # Something printed to stdout. It is no message, and nobody is told but the log, which is not flooded.
        self._noise += 1
        if self._noise <= _MAX_NOISE:
            text = bytes(line[:200]).decode("utf-8", "replace")
            _log.warning("the server %r wrote a line to stdout that is no message: %s", self.name, text)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio's signature)
        """Called by the event loop: a stream has ended."""
        self._ended_streams.add(fd)
        if fd == 1 and not self.connection.closed:
            self._take(self._lines.finish())
        if fd == 2:
            self._stderr.finish()
        if fd == 0:
            self._writable.set()
        self._something_ended()

    def process_exited(self) -> None:
        """Called by the event loop: the process has ended and is reaped."""
        super().process_exited()
        self._something_ended()

    def _something_ended(self) -> None:
        # The exit code, the last answers and the last words on stderr arrive in any order.
        if self._exited.is_set() and {1, 2} <= self._ended_streams:
            self._over()
        elif self._exited.is_set() or self._ended_streams & {0, 1}:
            asyncio.get_running_loop().call_later(_LAST_WORDS, self._over)

    def _over(self) -> None:
        self.connection.close(self.describe_end())
        self._writable.set()

    # ---- the end ----------------------------------------------------------------------------------------------

    async def stop(self, grace: float = STOP_GRACE) -> None:
        """End the conversation and the server; see `open_process`."""
        if self._transport is None:
            return
        self.connection.flush()
        self.connection.close("the runtime closed the connection")
        if self._stdin is not None:
            self._stdin.close()
        await self.end(TERMINATE_GRACE, grace)
