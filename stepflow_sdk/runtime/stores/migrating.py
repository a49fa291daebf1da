"""Brings state files of older versions up to date."""

import contextlib
import sqlite3
from pathlib import Path

from stepflow_sdk.errors import StateError
from stepflow_sdk.runtime.stores.connecting import connect_to_write
from stepflow_sdk.runtime.stores.making import back_up
from stepflow_sdk.runtime.stores.schema import MIGRATIONS, VERSION

__all__ = ["migrate_file"]


def migrate_file(path: Path, version: int) -> None:
    """Bring a file to the version of this library, in one transaction, after a copy of it was made.

    Args:
        path: The file.
        version: The version that it has.

    Raises:
        StateError: That is not possible; the file has the version that it had.
    """
    try:
        with contextlib.closing(connect_to_write(path)) as connection:
            back_up(connection, path.with_name(f"{path.name}.v{version}.bak"))
            connection.execute("BEGIN IMMEDIATE")
            for step in range(version, VERSION):
                for statement in MIGRATIONS[step]:
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("COMMIT")
    except (KeyError, OSError, sqlite3.Error) as error:
        why = getattr(error, "strerror", None) or error
        raise StateError(
            f"{path}: cannot be brought from version {version} to {VERSION}: {why}; it is as it was"
        ) from None
