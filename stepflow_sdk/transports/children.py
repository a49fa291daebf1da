"""Component servers as child processes: how they are started, watched and ended, whatever they speak on."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import anyio

from stepflow_sdk.errors import ResourceUnavailable
from stepflow_sdk.transports import guard
from stepflow_sdk.transports.stderr import StderrLog

__all__ = ["Child", "spawn"]

_KILL = signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL

_log = logging.getLogger("stepflow_sdk.transports")


async def spawn(
    child: "Child",
    command: Sequence[str],
    *,
    stdin: int,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> None:
    """Start the program of a child, in a session and process group of its own, without inherited descriptors.

    Args:
        child: What watches it.
        command: The program and its arguments; never a shell.
        stdin: ``subprocess.PIPE`` or ``DEVNULL``; stdout and stderr are pipes.
        env: Its whole environment; by default that of this process.
        cwd: Its working directory.

    Raises:
        ResourceUnavailable: The program cannot be started.
    """
    loop = asyncio.get_running_loop()
    try:
        # To be cancelled between the start of the program and the end of this wait would leave it to nobody.
        with anyio.CancelScope(shield=True):
            await loop.subprocess_exec(
                lambda: child,
                *command,
                stdin=stdin,
                env=None if env is None else dict(env),
                cwd=cwd,
                close_fds=True,
                start_new_session=True,
            )
    except (OSError, ValueError) as error:
        raise ResourceUnavailable(_spawn_problem(command, cwd, error), data={"command": list(command)}) from None


def _spawn_problem(command: Sequence[str], cwd: str | os.PathLike[str] | None, error: Exception) -> str:
    if cwd is not None and not Path(cwd).is_dir():
        return f"cannot start {command[0]!r}: its working directory {os.fspath(cwd)!r} does not exist"
    if isinstance(error, FileNotFoundError):
        return f"cannot start {command[0]!r}: there is no such program on the PATH of the server"
    said = error.strerror if isinstance(error, OSError) else None
    return f"cannot start {command[0]!r}: {said or error}"


class Child(asyncio.SubprocessProtocol):
    """A component server that runs as a child process; started by `spawn`.

    Its stderr is read all the time and goes, line by line, to the logger ``stepflow_sdk.server.<name>``. It does not
    outlive this process, not even when this process is killed.

    Attributes:
        name: Its name in messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._stderr = StderrLog(name)
        self._transport: asyncio.SubprocessTransport | None = None
        self._exited = asyncio.Event()
        self._gone = asyncio.Event()
        self._killed_because = ""

    @property
    def pid(self) -> int:
        """The process id."""
        return self._transport.get_pid() if self._transport is not None else 0

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while the server runs."""
        return self._transport.get_returncode() if self._transport is not None else None

    def stderr_tail(self) -> str:
        """The last 8 KiB that the server wrote to stderr."""
        return self._stderr.tail()

    async def wait(self) -> int:
        """Wait for the end of the process and return its exit code."""
        await self._exited.wait()
        return self.returncode or 0

    def describe_exit(self) -> str:
        """How the process ended, in words, or that it still runs."""
        code = self.returncode
        if self._killed_because:
            return f"the server {self.name!r} was killed by the runtime: {self._killed_because}"
        if code is None:
            return f"the server {self.name!r} still runs"
        if code >= 0:
            return f"the server {self.name!r} ended with exit code {code}"
        try:
            return f"the server {self.name!r} was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"the server {self.name!r} was ended by signal {-code}"

    # ---- called by the event loop -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop: the process runs."""
        self._transport = cast("asyncio.SubprocessTransport", transport)
        guard.watch(self.pid)

    def process_exited(self) -> None:
        """Called by the event loop: the process has ended and is reaped."""
        self._exited.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio's signature)
        """Called by the event loop: the process and all of its streams have ended."""
        self._gone.set()

    # ---- the end ----------------------------------------------------------------------------------------------

    @property
    def killed(self) -> bool:
        """Whether `kill` ended it."""
        return bool(self._killed_because)

    def kill(self, why: str) -> None:
        """End the process and its group at once; `describe_exit` tells why."""
        if self._transport is not None and not self._exited.is_set():
            self._killed_because = why
            self._signal(_KILL)

    async def end(self, terminate_grace: float, grace: float = 0) -> None:
        """See to it that nothing of the process is left.

        Args:
            terminate_grace: Seconds between SIGTERM and SIGKILL for its group.
            grace: Seconds that it has to end by itself before that.
        """
        if self._transport is None:
            return
        group = self.pid
        if not await self._exits_within(grace):
            self._signal(signal.SIGTERM)
            if not await self._exits_within(terminate_grace):
                _log.warning("the server %r did not end when told to and is killed", self.name)
                self._signal(_KILL)
                await self._exited.wait()
        # Children of the server that outlive it would be nobody's.
        self._signal(_KILL)
        self._transport.close()
        await self._gone.wait()
        await guard.release(group)

    async def _exits_within(self, seconds: float) -> bool:
        with anyio.move_on_after(seconds):
            await self._exited.wait()
        return self._exited.is_set()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if sys.platform == "win32":
                if self._transport is not None and not self._exited.is_set():
                    self._transport.send_signal(number)
            else:
                os.killpg(self.pid, number)
