"""Connections to state files, and what is done for the disk to have what they write."""

import errno
import os
import sqlite3
import sys
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from stepflow_sdk.errors import CorruptState, StateError
from stepflow_sdk.runtime.stores.failures import is_corrupt

__all__ = ["Synchronous", "connect", "connect_to_write", "flush_folder", "unusable_file", "use_log"]

Synchronous = Literal["full", "normal"]


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open a database that is there, for any thread; ``mode`` is ``ro`` or ``rw``. Transactions are the caller's."""
    name = quote(str(path.absolute()))
    return sqlite3.connect(
        f"file:{name}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False, timeout=5.0
    )


def connect_to_write(path: Path, synchronous: Synchronous = "full") -> sqlite3.Connection:
    """Open a database that is there; what is committed is on the disk, with ``normal`` only a little later."""
    connection = connect(path, "rw")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    # Where a flush to the disk has to be asked for twice.
    connection.execute("PRAGMA fullfsync = ON")
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
    # Whoever only reads needs the shared memory of the log, too.
    name: str = getattr(error, "sqlite_errorname", "")
    hint = "; SQLite needs a directory that it can write to" if name.startswith("SQLITE_CANTOPEN") else ""
    return StateError(f"{path}: cannot be used: {error}{hint}")
