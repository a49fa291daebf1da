"""Connections to state files, and what is done for the disk to have what they write."""

import contextlib
import errno
import os
import sqlite3
import sys
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from stepflow_sdk.errors import CorruptState, StateError
from stepflow_sdk.runtime.stores.failures import is_corrupt

__all__ = ["Synchronous", "connect", "connect_to_write", "flush_folder", "unusable_file", "use_log"]

Synchronous = Literal["full", "normal"]

# For so long somebody else may have the file locked before that is an error.
_BUSY_SECONDS: Final = 5.0


def connect(path: Path, mode: Literal["ro", "rw"]) -> sqlite3.Connection:
    """Open a database that is there, for any thread. Transactions are the caller's."""
    name = quote(str(path.absolute()))
    # Where nobody can write, not even the index of a log, none is needed.
    fixed = "&immutable=1" if mode == "ro" and _cannot_change(path) else ""
    return sqlite3.connect(
        f"file:{name}?mode={mode}{fixed}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=_BUSY_SECONDS,
    )


def _cannot_change(path: Path) -> bool:
    """Whether a file is on a file system that is mounted for reading, and all of it is in the file itself."""
    if sys.platform == "win32":
        return False
    try:
        read_only = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False
    return read_only and not path.with_name(f"{path.name}-wal").exists()


def connect_to_write(path: Path, synchronous: Synchronous = "full") -> sqlite3.Connection:
    """Open a database that is there; what is committed is on the disk, with ``normal`` only a little later."""
    with contextlib.ExitStack() as undo:
        connection = undo.enter_context(contextlib.closing(connect(path, "rw")))
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        # Where a flush to the disk has to be asked for twice.
        connection.execute("PRAGMA fullfsync = ON")
        undo.pop_all()
        return connection


def use_log(connection: sqlite3.Connection, path: Path) -> None:
    """Switch to a write-ahead log, if that has not been done before.

    Raises:
        StateError: That is not possible here.
    """
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StateError(f"{path}: cannot be switched to a write-ahead log, which its file system does not allow")


def flush_folder(folder: Path) -> None:
    """Names are on the disk when their folder is."""
    if sys.platform == "win32":
        return  # a folder cannot be opened there, and its changes are in a journal
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # where folders cannot be flushed
            raise
    finally:
        os.close(descriptor)


def unusable_file(path: Path, error: Exception) -> StateError:
    """The error to raise for what SQLite says when a file is opened."""
    if is_corrupt(error):
        return CorruptState(f"{path}: is damaged ({error}); nothing is written to it, see `stepflow-sdk recover`")
    name: str = getattr(error, "sqlite_errorname", "")
    hint = next((hint for start, hint in _HINTS.items() if name.startswith(start)), "")
    return StateError(f"{path}: cannot be used: {error}{hint}")


_HINTS: Final = {
    # Whoever only reads needs the index of the log, too.
    "SQLITE_CANTOPEN": "; SQLite needs a directory that it can write to",
    "SQLITE_READONLY_ROLLBACK": "; a crash left work to be undone, which `stepflow-sdk resume` does",
    "SQLITE_BUSY": ": by another program than a runtime; end it, or wait for it",
    "SQLITE_IOERR_SHM": "; is the disk full?",
    "SQLITE_IOERR_WRITE": "; is the disk full?",
}
