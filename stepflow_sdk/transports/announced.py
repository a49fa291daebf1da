"""Component servers that are started as subprocesses and announce on stdout at which port they serve HTTP."""

import asyncio
import os
import subprocess
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import anyio
import msgspec

from stepflow_sdk.errors import RequestTimeout, ResourceUnavailable
from stepflow_sdk.transports.children import Child, spawn
from stepflow_sdk.transports.framing import LineSplitter, TooLong
from stepflow_sdk.transports.stderr import StderrLog

__all__ = ["AnnouncingServer", "open_announcing_server"]

ANNOUNCE_SECONDS = 30.0
"""Seconds that a server has to say its port; see section 4.1 of the dialects."""

STOP_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""

LAST_WORDS = 0.5
"""Seconds in which the rest of the outputs may still arrive after the process has ended."""

_MAX_LINE = 64 * 1024
"""The longest line that may be the announcement, in bytes."""


class _Announcement(msgspec.Struct):
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]


_decode = msgspec.json.Decoder(_Announcement).decode


@asynccontextmanager
async def open_announcing_server(
    command: Sequence[str],
    *,
    name: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    announce_timeout: float = ANNOUNCE_SECONDS,
    stop_grace: float = STOP_GRACE,
    on_end: Callable[[], None] | None = None,
) -> AsyncGenerator["AnnouncingServer", None]:
    """Start a component server, wait until it has said its port, and stop it at the end, whatever happens.

    The server runs in a session and process group of its own, with nothing on its stdin. Its first line of stdout
    that is a JSON object with an integer ``port`` is the announcement; what comes before is skipped. Both of its
    outputs are read all the time and go, line by line, to the logger ``stepflow_sdk.server.<name>``. At the end its
    group gets SIGTERM, and what is left of it after ``stop_grace`` seconds SIGKILL.

    Args:
        command: The program and its arguments; never a shell.
        name: Its name in messages and in the log; by default the program's.
        env: Its whole environment; by default that of this process.
        cwd: Its working directory.
        announce_timeout: Seconds that it has to say its port.
        stop_grace: See above.
        on_end: Called when the process has ended and its last words have been read.

    Raises:
        ResourceUnavailable: The program cannot be started, or ends, or closes its stdout, without an announcement.
        RequestTimeout: It has not said its port in time.
    """
    server = AnnouncingServer(name or Path(command[0]).name, on_end)
    await spawn(server, command, stdin=subprocess.DEVNULL, env=env, cwd=cwd)
    try:
        await server.announced(announce_timeout)
        yield server
    finally:
        with anyio.CancelScope(shield=True):
            await server.end(stop_grace)


class AnnouncingServer(Child):
    """A component server that serves HTTP; made by `open_announcing_server`.

    Attributes:
        port: The port of its announcement, on 127.0.0.1.
        ended: Set when the process has ended and its last words have been read.
    """

    def __init__(self, name: str, on_end: Callable[[], None] | None) -> None:
        super().__init__(name)
        self.port = 0
        self.ended = asyncio.Event()
        self._on_end = on_end
        self._stdout = StderrLog(name)
        self._lines = LineSplitter(_MAX_LINE)
        self._outputs = {1, 2}
        self._news = asyncio.Event()

    async def announced(self, timeout: float) -> None:
        """Wait for the announcement; see `open_announcing_server`."""
        with anyio.move_on_after(timeout) as waited:
            while not self.port and 1 in self._outputs:
                self._news.clear()
                await self._news.wait()
        if self.port:
            return
        if waited.cancelled_caught:
            said = f'the server {self.name!r} did not print {{"port": N}} on a line of stdout within {timeout:g} s'
            raise RequestTimeout(self._with_tails(said), data={"timeout": timeout})
        with anyio.move_on_after(LAST_WORDS):
            await self.ended.wait()
        how = self.describe_exit()
        raise ResourceUnavailable(self._with_tails(f'{how}, and its stdout ended without a line {{"port": N}}'))

    def describe_end(self) -> str:
        """How the server ended, in words, with the end of what it wrote."""
        return self._with_tails(self.describe_exit())

    def _with_tails(self, said: str) -> str:
        for stream, log in (("stdout", self._stdout), ("stderr", self._stderr)):
            tail = log.tail().strip()
            if tail:
                said = f"{said}; the end of its {stream}:\n{tail}"
        return said

    # ---- called by the event loop -----------------------------------------------------------------------------

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Called by the event loop: the server wrote something."""
        if fd == 2:
            self._stderr.feed(data)
            return
        if self.port:
            self._stdout.feed(data)
        else:
            self._look(self._lines.feed(data))

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio's signature)
        """Called by the event loop: one of the outputs has ended."""
        if fd == 1 and not self.port:
            self._look(self._lines.finish())
        (self._stderr if fd == 2 else self._stdout).finish()
        self._outputs.discard(fd)
        self._news.set()
        if self._exited.is_set() and not self._outputs:
            self._over()

    def process_exited(self) -> None:
        """Called by the event loop: the process has ended and is reaped."""
        super().process_exited()
        # A child of the server may hold its outputs open for longer than it lives.
        asyncio.get_running_loop().call_later(LAST_WORDS if self._outputs else 0, self._over)

    def _over(self) -> None:
        if self.ended.is_set():
            return
        self.ended.set()
        if self._on_end is not None:
            self._on_end()

    def _look(self, lines: list[bytes | bytearray | TooLong]) -> None:
        for line in lines:
            if self.port or isinstance(line, TooLong) or not self._announces(line):
                self._stdout.feed(line.start if isinstance(line, TooLong) else bytes(line))
                self._stdout.feed(b"\n")

    def _announces(self, line: bytes | bytearray) -> bool:
        if not line.lstrip().startswith(b"{"):
            return False
        try:
            self.port = _decode(line).port
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        self._news.set()
        # What came after it in the same read is no line yet.
        for rest in self._lines.finish():
            self._stdout.feed(rest.start if isinstance(rest, TooLong) else bytes(rest))
        return True
