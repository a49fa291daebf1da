"""What errors of SQLite mean for whoever uses a state file."""

import sqlite3
from typing import Final

from stepflow_sdk.errors import CorruptState, ResourceUnavailable

__all__ = ["SqliteError", "failure_of", "is_corrupt", "is_full"]


SqliteError: Final = (sqlite3.Error, UnicodeDecodeError)
"""What comes out of SQLite. In a damaged file text is not UTF-8, and neither is what SQLite says of it."""


def is_corrupt(error: Exception) -> bool:
    """Whether the file is damaged.

    What Python finds instead of SQLite has no code; and a statement of ours is wrong only where the tables are.
    """
    name: str | None = getattr(error, "sqlite_errorname", None)
    return name in (None, "SQLITE_NOTADB", "SQLITE_ERROR") or name.startswith("SQLITE_CORRUPT")


def is_full(error: Exception) -> bool:
    """Whether the same may work later: there is no space on the disk, or somebody else writes to the file."""
    name: str = getattr(error, "sqlite_errorname", "")
    return name in ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE", "SQLITE_BUSY")


def failure_of(error: Exception, what: str) -> ResourceUnavailable:
    """The error to raise; ``what`` says what could not be done with the file."""
    if is_corrupt(error):
        return CorruptState(f"the state file is damaged: {error}")
    return ResourceUnavailable(f"the state file cannot be {what}: {error}")
