"""Opens state files: looks at them before anything is written, makes new ones, and brings old ones up to date."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Final

from stepflow_sdk.errors import CorruptState, StateError
from stepflow_sdk.runtime.stores.connecting import Synchronous, connect, connect_to_write, unusable_file, use_log
from stepflow_sdk.runtime.stores.failures import SqliteError
from stepflow_sdk.runtime.stores.locks import Holder
from stepflow_sdk.runtime.stores.making import make_file
from stepflow_sdk.runtime.stores.migrating import migrate_file
from stepflow_sdk.runtime.stores.schema import APPLICATION_ID, VERSION
from stepflow_sdk.runtime.stores.sqlite_blobs import PARTIAL

__all__ = ["check_file", "open_for_reading", "open_for_writing", "prepare_file"]

_MAGIC: Final = b"SQLite format 3\0"
# Up to here the header goes that says whose file it is: the last four bytes are the application's id.
_HEADER_BYTES: Final = 72
# Up to here every page is looked at when the file is opened, which takes half a second; beyond, those of the runs
# alone. The content of rows is verified when it is read, whatever the size.
_CHECKED_BYTES: Final = 64 * 1024 * 1024


def prepare_file(path: Path, *, create: bool = True, migrate: bool = True) -> None:
    """Make the file where there is none, else check it and bring it up to date.

    Raises:
        StateError: It is no state file, of a newer version, or cannot be read or written.
        CorruptState: It is damaged.
    """
    try:
        if _is_new(path):
            if not create:
                raise StateError(f"{path}: there is no such file, and it is not to be made (mode=rw)")
            make_file(path)
            return
        _roll_back(path)
        version = check_file(path)
        if version < VERSION:
            if not migrate:
                raise StateError(f"{path}: is of version {version}, and autoMigrate is off; it has to be {VERSION}")
            migrate_file(path, version)
    except OSError as error:
        raise StateError(f"{path}: cannot be opened: {error.strerror or error}") from None


def check_file(path: Path) -> int:
    """Look at a file without writing to it, and return its version.

    Raises:
        StateError: It is no state file, of a newer version, or cannot be read.
        CorruptState: It is damaged.
    """
    try:
        with path.open("rb") as stream:
            magic = stream.read(len(_MAGIC))
    except OSError as error:
        raise StateError(f"{path}: cannot be read: {error.strerror or error}") from None
    if magic != _MAGIC:
        raise CorruptState(f"{path}: is not a state file, or its beginning is damaged; nothing is written to it")
    try:
        with contextlib.closing(connect(path, "ro")) as connection:
            return _check(connection, path)
    except SqliteError as error:
        raise unusable_file(path, error) from None


def open_for_writing(
    path: Path, holder: Holder, *, synchronous: Synchronous = "full"
) -> tuple[sqlite3.Connection, int]:
    """A connection for the one thread that writes, and the epoch of its lease.

    Raises:
        StateError: The file cannot be written.
    """
    with contextlib.ExitStack() as undo:
        try:
            connection = undo.enter_context(contextlib.closing(connect_to_write(path, synchronous)))
            connection.execute("PRAGMA cell_size_check = ON")
            use_log(connection, path)
            connection.execute("BEGIN IMMEDIATE")
            row = (holder.pid, holder.host, holder.since)
            connection.execute("UPDATE lease SET epoch = epoch + 1, pid = ?, host = ?, since = ?", row)
            (epoch,) = connection.execute("SELECT epoch FROM lease").fetchone()
            _forget_halves(connection)
            connection.execute("COMMIT")
        except SqliteError as error:
            raise unusable_file(path, error) from None
        undo.pop_all()
        return connection, epoch


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that reads, beside the one that writes.

    Raises:
        StateError: The file cannot be read.
    """
    try:
        return connect(path, "ro")
    except SqliteError as error:
        raise unusable_file(path, error) from None


def _roll_back(path: Path) -> None:
    """Undo a transaction that a crash cut off while the file was without a write-ahead log; a reader cannot do that."""
    if not path.with_name(f"{path.name}-journal").exists():
        return
    with path.open("rb") as stream:
        header = stream.read(_HEADER_BYTES)
    if header.startswith(_MAGIC) and header.endswith(APPLICATION_ID.to_bytes(4)):
        try:
            with contextlib.closing(connect(path, "rw")) as connection:
                connection.execute("PRAGMA user_version").fetchone()
        except SqliteError as error:
            raise unusable_file(path, error) from None


def _is_new(path: Path) -> bool:
    log = path.with_name(f"{path.name}-wal")
    if path.exists() and path.stat().st_size:
        return False
    if log.exists() and log.stat().st_size:
        raise CorruptState(f"{path}: is empty or gone, and its log {log.name} is not; nothing is written to it")
    return True


def _check(connection: sqlite3.Connection, path: Path) -> int:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise StateError(f"{path}: is a database of another program, not a state file; nothing is written to it")
    if version > VERSION:
        raise StateError(
            f"{path}: is of version {version}, and this library knows versions up to {VERSION}; use a newer one"
        )
    what = "" if path.stat().st_size <= _CHECKED_BYTES else "('runs')"
    (said,) = connection.execute(f"PRAGMA integrity_check{what}").fetchone()
    if said != "ok":
        first = str(said).splitlines()[-1]
        raise CorruptState(f"{path}: is damaged ({first}); nothing is written to it, see `stepflow-sdk recover`")
    return int(version)


def _forget_halves(connection: sqlite3.Connection) -> None:
    """Delete what was being stored when the last process ended: nobody was told that it is there."""
    connection.execute("DELETE FROM inputs WHERE run IN (SELECT key FROM runs WHERE status = 'accepting')")
    connection.execute("DELETE FROM runs WHERE status = 'accepting'")
    partial = f"{PARTIAL}*"
    connection.execute("DELETE FROM pieces WHERE blob IN (SELECT key FROM blobs WHERE id GLOB ?)", (partial,))
    connection.execute("DELETE FROM blobs WHERE id GLOB ?", (partial,))
