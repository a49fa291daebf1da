"""Opens state files: looks at them before anything is written, makes new ones, and brings old ones up to date."""

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from stepflow_sdk.errors import CorruptState, StateError
from stepflow_sdk.runtime.stores.failures import SqliteError, is_corrupt
from stepflow_sdk.runtime.stores.locks import Holder
from stepflow_sdk.runtime.stores.schema import APPLICATION_ID, MIGRATIONS, VERSION, create_tables
from stepflow_sdk.runtime.stores.sqlite_blobs import PARTIAL

__all__ = [
    "Synchronous",
    "check_file",
    "connect",
    "make_file",
    "open_for_reading",
    "open_for_writing",
    "prepare_file",
    "unusable_file",
]

Synchronous = Literal["full", "normal"]

_MAGIC: Final = b"SQLite format 3\0"
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
        version = check_file(path)
        if version < VERSION:
            if not migrate:
                raise StateError(f"{path}: is of version {version}, and autoMigrate is off; it has to be {VERSION}")
            _migrate(path, version)
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
    try:
        connection = connect(path, "rw")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        # Where a flush to the disk has to be asked for twice.
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA cell_size_check = ON")
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StateError(f"{path}: cannot be switched to a write-ahead log, which its file system does not allow")
        connection.execute("BEGIN IMMEDIATE")
        row = (holder.pid, holder.host, holder.since)
        connection.execute("UPDATE lease SET epoch = epoch + 1, pid = ?, host = ?, since = ?", row)
        (epoch,) = connection.execute("SELECT epoch FROM lease").fetchone()
        _forget_halves(connection)
        connection.execute("COMMIT")
    except SqliteError as error:
        raise unusable_file(path, error) from None
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


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open a database that is there, for any thread; ``mode`` is ``ro`` or ``rw``. Transactions are the caller's."""
    name = quote(str(path.absolute()))
    return sqlite3.connect(
        f"file:{name}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False, timeout=5.0
    )


def _is_new(path: Path) -> bool:
    log = path.with_name(f"{path.name}-wal")
    if path.exists() and path.stat().st_size:
        return False
    if log.exists() and log.stat().st_size:
        raise CorruptState(f"{path}: is empty or gone, and its log {log.name} is not; nothing is written to it")
    return True


def make_file(path: Path) -> None:
    """Make an empty state file, which only its owner can read.

    Raises:
        StateError: It cannot be made.
    """
    # Made aside and moved: nobody ever sees half a file.
    draft = path.with_name(f"{path.name}.new")
    try:
        draft.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o600))
        with contextlib.closing(connect(draft, "rw")) as connection:
            create_tables(connection)
        draft.replace(path)
    except (OSError, sqlite3.Error) as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise StateError(f"{path}: cannot be made: {getattr(error, 'strerror', None) or error}") from None


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


def _migrate(path: Path, version: int) -> None:
    backup = path.with_name(f"{path.name}.v{version}.bak")
    try:
        with contextlib.closing(connect(path, "rw")) as connection:
            os.close(os.open(backup, os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o600))
            with contextlib.closing(sqlite3.connect(backup)) as copy:
                connection.backup(copy)
            connection.execute("BEGIN IMMEDIATE")
            for step in range(version, VERSION):
                for statement in MIGRATIONS[step]:
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("COMMIT")
    except (KeyError, sqlite3.Error) as error:
        raise StateError(
            f"{path}: cannot be brought from version {version} to {VERSION}: {error}; it is as it was"
        ) from None


def _forget_halves(connection: sqlite3.Connection) -> None:
    """Delete what was being stored when the last process ended: nobody was told that it is there."""
    connection.execute("DELETE FROM inputs WHERE run IN (SELECT key FROM runs WHERE status = 'accepting')")
    connection.execute("DELETE FROM runs WHERE status = 'accepting'")
    partial = f"{PARTIAL}*"
    connection.execute("DELETE FROM pieces WHERE blob IN (SELECT key FROM blobs WHERE id GLOB ?)", (partial,))
    connection.execute("DELETE FROM blobs WHERE id GLOB ?", (partial,))


def unusable_file(path: Path, error: Exception) -> StateError:
    """The error to raise for what SQLite says when a file is opened."""
    if is_corrupt(error):
        return CorruptState(f"{path}: is damaged ({error}); nothing is written to it, see `stepflow-sdk recover`")
    # Whoever only reads needs the shared memory of the log, too.
    name: str = getattr(error, "sqlite_errorname", "")
    hint = "; SQLite needs a directory that it can write to" if name.startswith("SQLITE_CANTOPEN") else ""
    return StateError(f"{path}: cannot be used: {error}{hint}")
