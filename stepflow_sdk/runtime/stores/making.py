"""Makes state files: new ones, and copies of those that are changed."""

import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from stepflow_sdk.errors import StateError
from stepflow_sdk.runtime.stores.connecting import connect_to_write, flush_folder, use_log
from stepflow_sdk.runtime.stores.schema import create_tables

__all__ = ["back_up", "make_file"]


def make_file(path: Path, fill: Callable[[sqlite3.Connection], None] | None = None) -> None:
    """Make a state file, which only its owner can read.

    Args:
        path: The file.
        fill: Writes what is to be in it from the start; by default it is empty.

    Raises:
        StateError: It cannot be made.
    """

    def write(connection: sqlite3.Connection) -> None:
        create_tables(connection)
        if fill is not None:
            fill(connection)
        # Only now: with a log, all that was filled in would be written twice.
        use_log(connection, path)

    try:
        _write_aside(path, write)
    except (OSError, sqlite3.Error) as error:
        raise StateError(f"{path}: cannot be made: {getattr(error, 'strerror', None) or error}") from None


def back_up(source: sqlite3.Connection, path: Path) -> None:
    """Copy a whole database; a copy that is there already is replaced when the new one is whole.

    Raises:
        OSError: The copy cannot be made.
        sqlite3.Error: The same.
    """
    _write_aside(path, source.backup)


def _write_aside(path: Path, write: Callable[[sqlite3.Connection], None]) -> None:
    """Make a database under another name and move it when it is on the disk: nobody ever sees half a file."""
    draft = path.with_name(f"{path.name}.new")
    try:
        _remove(draft)
        os.close(os.open(draft, os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o600))
        with contextlib.closing(connect_to_write(draft)) as connection:
            write(connection)
        draft.replace(path)
        flush_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            _remove(draft)
        raise


def _remove(path: Path) -> None:
    for end in ("", "-journal", "-wal", "-shm"):
        path.with_name(f"{path.name}{end}").unlink(missing_ok=True)
