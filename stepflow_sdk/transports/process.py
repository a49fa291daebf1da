"""The client end of stdio: a component server as a subprocess, spoken to on its stdin and stdout."""

import os
import subprocess
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from stepflow_sdk.errors import InvalidRequest
from stepflow_sdk.transports.children import Child, spawn
from stepflow_sdk.transports.connection import Connection, Handler
from stepflow_sdk.transports.framing import DEFAULT_MAX_MESSAGE_BYTES, TooLong, join_frames
from stepflow_sdk.transports.line_process import STOP_GRACE, LineProcess

__all__ = ["ServerProcess", "open_process"]


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


class ServerProcess(LineProcess):
    """A component server that runs as a subprocess; made by `open_process`.

    Attributes:
        connection: The conversation with it. It closes when the server ends, with a reason that names the exit code
            or the signal and shows the end of stderr.
    """

    def __init__(self, handler: Handler, name: str, max_message_bytes: int) -> None:
        super().__init__(name, max_message_bytes)
        self.connection = Connection(handler, self._send, expect_packed=self._frames.expect_packed)

    @property
    def closed(self) -> bool:
        """Whether the conversation is over."""
        return self.connection.closed

    @property
    def direct(self) -> Connection | None:
        """The conversation, unless it is over or the server is behind with reading."""
        return self.connection if self._writable.is_set() and not self.connection.closed else None

    @property
    def child(self) -> Child:
        """The process: this itself."""
        return self

    def received(self, lines: list[bytes | bytearray]) -> None:
        """See `LineProcess.received`."""
        self.connection.receive(lines)

    def refuse(self, line: TooLong) -> None:
        """See `LineProcess.refuse`: the call that it answers fails alone."""
        problem = f"the message is longer than {self.max_message_bytes} bytes"
        self.connection.refuse(line.start, InvalidRequest(problem, data={"limit": self.max_message_bytes}))

    def over(self, reason: str) -> None:
        """See `LineProcess.over`."""
        self.connection.close(reason)

    def _send(self, frames: list[bytes]) -> None:
        self.write(join_frames(frames))

    async def stop(self, grace: float = STOP_GRACE) -> None:
        """End the conversation and the server; see `open_process`."""
        self.connection.flush()
        self.connection.close("the runtime closed the connection")
        await super().stop(grace)
