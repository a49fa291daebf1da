"""Versions of state files that do not exist yet, and a program that opens a file as the last of them: ``STATE``.

There has been one version so far, so that the migrations are those of a future that does what real ones do: columns,
tables that are copied and take the place of others, indexes, rows that are rewritten.
"""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from stepflow_sdk.runtime.stores import migrating, opening
from stepflow_sdk.runtime.stores.schema import VERSION
from stepflow_sdk.runtime.stores.sqlite import SqliteState

LATER: Final = VERSION + 2

MIGRATIONS: Final = {
    VERSION: (
        "ALTER TABLE runs ADD COLUMN label TEXT",
        "UPDATE runs SET label = 'migrated-' || run_id",
        "CREATE INDEX runs_by_label ON runs (label)",
        "CREATE TABLE notes (run INTEGER PRIMARY KEY, text TEXT NOT NULL)",
        "INSERT INTO notes SELECT key, hex(head) FROM runs",
    ),
    VERSION + 1: (
        "CREATE TABLE inputs_2 (run INTEGER, item INTEGER, body BLOB, sum INTEGER, size INTEGER)",
        "INSERT INTO inputs_2 SELECT run, item, body, sum, length(body) FROM inputs",
        "DROP TABLE inputs",
        "ALTER TABLE inputs_2 RENAME TO inputs",
        "CREATE UNIQUE INDEX inputs_by_place ON inputs (run, item)",
        "DROP INDEX runs_by_label",
    ),
}
"""By the version from which they lead to the next one."""


def use_later_versions(change: Callable[[object, str, object], None] = setattr) -> None:
    """Make this process one of the future."""
    change(migrating, "MIGRATIONS", MIGRATIONS)
    change(migrating, "VERSION", LATER)
    change(opening, "VERSION", LATER)


async def open_and_close(path: str) -> None:
    await (await SqliteState.open(Path(path))).close()


if __name__ == "__main__":
    use_later_versions()
    asyncio.run(open_and_close(sys.argv[1]))
