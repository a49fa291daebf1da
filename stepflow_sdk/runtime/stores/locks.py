"""The lock of a state file: one process writes it, and the next one is told which."""

import contextlib
import os
import socket
import sys
import time
from pathlib import Path
from typing import Final

import anyio
import msgspec

from stepflow_sdk.errors import StateError

__all__ = ["FileLock", "Holder", "network_file_system"]

_NETWORK: Final = ("nfs", "cifs", "smb", "9p", "afs", "ncp", "fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone")
_RETRY_SECONDS: Final = 0.05
# Where one is locked on Windows nobody can read: far behind what is written there.
_LOCKED_BYTE: Final = 1 << 30


class Holder(msgspec.Struct, frozen=True):
    """Who has a state file: its process, the machine that it runs on, and since when, in seconds since 1970."""

    pid: int
    host: str
    since: float

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} on {self.host}, since {since}"


class FileLock:
    """A lock of the operating system: it ends with the process, however that ends.

    Args:
        path: The state file; the lock is one beside it, ``FILE.lock``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.with_name(f"{path.name}.lock")
        self._descriptor: int | None = None
        self.holder = Holder(os.getpid(), socket.gethostname(), time.time())

    async def acquire(self, wait: float = 0.0) -> None:
        """Take the lock.

        Args:
            wait: How many seconds it is waited for when another process has it.

        Raises:
            StateError: Another process has it, or the file is where locks do not work.
        """
        until = anyio.current_time() + wait
        kind = network_file_system(self._path)
        if kind is not None:
            raise StateError(
                f"{self._path}: lies on a network file system ({kind}), whose locks cannot be trusted; use a local disk"
            )
        while not self._try():
            left = until - anyio.current_time()
            if left <= 0:
                waited = f" (waited {wait:g} s)" if wait else "; wait for it, or use another file"
                raise StateError(f"{self._path}: is in use by {self._known_holder()}{waited}")
            await anyio.sleep(min(_RETRY_SECONDS, left))

    def release(self) -> None:
        """Give the lock back."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _try(self) -> bool:
        try:
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StateError(f"{self._file}: cannot be opened: {error.strerror}") from None
        try:
            _lock(descriptor)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        # Who has it is a courtesy to others: it is locked, also where the disk has no room for a name.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, msgspec.json.encode(self.holder))
        return True

    def _known_holder(self) -> str:
        try:
            return str(msgspec.json.decode(self._file.read_bytes(), type=Holder))
        except (OSError, msgspec.DecodeError):
            return "another process"


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def network_file_system(path: Path) -> str | None:
    """The kind of the network file system that a path is on, or None where it is local or nobody can tell."""
    if str(path).startswith(("\\\\", "//")):
        return "a network share"
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    inside = path.resolve()
    best, found = -1, ""
    for line in mounts:
        left, _, right = line.partition(" - ")
        place = left.split(" ")[4].encode("utf-8", "surrogateescape").decode("unicode_escape")
        # A later mount of the same place hides the earlier one.
        if len(place) >= best and inside.is_relative_to(place):
            best, found = len(place), right.split(" ")[0]
    return found if found.startswith(_NETWORK) else None
