"""The tables of a state file, and how those of older versions are brought up to date."""

import sqlite3
from collections.abc import Mapping
from typing import Final

__all__ = ["APPLICATION_ID", "MIGRATIONS", "VERSION", "create_tables"]

APPLICATION_ID: Final = 0x53464C57
"""Stands in the header of the file: "SFLW"."""

VERSION: Final = 1
"""Of the tables; stands in the header of the file (``user_version``)."""

MIGRATIONS: Final[Mapping[int, tuple[str, ...]]] = {}
"""The statements that lead from a version to the next one."""

_TABLES: Final = (
    # Who writes: every transaction looks whether the epoch is still its own.
    """CREATE TABLE lease (
        one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL, pid INTEGER, host TEXT, since REAL
    )""",
    # ``head`` is what was accepted and never changes, ``tail`` what became of it; the other columns are for finding.
    """CREATE TABLE runs (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id TEXT NOT NULL UNIQUE,
        status TEXT NOT NULL,
        flow_name TEXT,
        root_run_id TEXT NOT NULL,
        parent_run_id TEXT,
        depth INTEGER NOT NULL,
        head BLOB NOT NULL,
        head_sum INTEGER NOT NULL,
        secrets BLOB,
        secrets_sum INTEGER,
        tail BLOB NOT NULL,
        tail_sum INTEGER NOT NULL
    )""",
    "CREATE INDEX runs_by_status ON runs (status, key)",
    "CREATE INDEX runs_by_root ON runs (root_run_id, key)",
    "CREATE INDEX runs_by_parent ON runs (parent_run_id, key) WHERE parent_run_id IS NOT NULL",
    """CREATE TABLE inputs (
        run INTEGER NOT NULL, item INTEGER NOT NULL, body BLOB NOT NULL, sum INTEGER NOT NULL, PRIMARY KEY (run, item)
    ) WITHOUT ROWID""",
    """CREATE TABLE steps (
        run INTEGER NOT NULL, item INTEGER NOT NULL, step TEXT NOT NULL, status TEXT NOT NULL,
        body BLOB NOT NULL, sum INTEGER NOT NULL, PRIMARY KEY (run, item, step)
    ) WITHOUT ROWID""",
    # The order of the keys is that in which items ended.
    """CREATE TABLE results (
        key INTEGER PRIMARY KEY,
        run INTEGER NOT NULL, item INTEGER NOT NULL, status TEXT NOT NULL,
        body BLOB NOT NULL, sum INTEGER NOT NULL, UNIQUE (run, item)
    )""",
    """CREATE TABLE blobs (
        key INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, is_json INTEGER NOT NULL, filename TEXT,
        size INTEGER NOT NULL, sum INTEGER NOT NULL, used_at REAL NOT NULL, content BLOB
    )""",
    # The content of blobs that are too large to be held in one piece.
    """CREATE TABLE pieces (
        blob INTEGER NOT NULL, place INTEGER NOT NULL, content BLOB NOT NULL, PRIMARY KEY (blob, place)
    ) WITHOUT ROWID""",
)


def create_tables(connection: sqlite3.Connection) -> None:
    """Make an empty database a state file of this version, in one transaction."""
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("BEGIN IMMEDIATE")
    for statement in _TABLES:
        connection.execute(statement)
    connection.execute("INSERT INTO lease (one, epoch) VALUES (1, 0)")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")
