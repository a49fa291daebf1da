"""Forgets runs that have ended, and blobs that nothing names any more."""

import re
import sqlite3
import time
from collections.abc import Iterable
from functools import partial
from typing import Final

from stepflow_sdk.runtime.stores.options import Retention
from stepflow_sdk.runtime.stores.reader import StateReader
from stepflow_sdk.runtime.stores.sqlite_runs import delete_runs
from stepflow_sdk.runtime.stores.writer import StateWriter

__all__ = ["prune"]

_AT_ONCE: Final = 200
_ID: Final = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_PAGES: Final = 1000


async def prune(writer: StateWriter, reader: StateReader, retention: Retention) -> int:
    """Forget what a retention says, a little at a time, and give the room back to the file system.

    A blob is kept as long as the text of a run, or of a blob that is kept, holds its id, or it was stored while this
    was going on. Flows are always kept.

    Returns:
        How many runs were forgotten.
    """
    begun = time.time()
    keys = await reader.read(lambda connection: _outdated(connection, retention, begun))
    for first in range(0, len(keys), _AT_ONCE):
        some = keys[first : first + _AT_ONCE]
        await writer.do(partial(delete_runs, keys=some))
    if keys:
        unused = await reader.read(lambda connection: _unused(connection, begun))
        for first in range(0, len(unused), _AT_ONCE):
            some = unused[first : first + _AT_ONCE]
            await writer.do(partial(_delete_blobs, keys=some, before=begun))
        await writer.vacuum(_PAGES)
    return len(keys)


def _outdated(connection: sqlite3.Connection, retention: Retention, now: float) -> list[int]:
    query = (
        "SELECT key, json_extract(CAST(tail AS TEXT), '$[4]') FROM runs"
        " WHERE status NOT IN ('running', 'accepting') ORDER BY key DESC"
    )
    outdated: list[int] = []
    for place, (key, completed_at) in enumerate(connection.execute(query)):
        old = retention.max_age is not None and (completed_at or now) < now - retention.max_age
        if old or (retention.max_runs is not None and place >= retention.max_runs):
            outdated.append(key)
    return outdated


def _unused(connection: sqlite3.Connection, before: float) -> list[int]:
    """The keys of blobs that nothing names."""
    blobs: dict[str, int] = dict(connection.execute("SELECT id, key FROM blobs"))
    named = [
        body
        for query in (
            "SELECT head FROM runs",
            "SELECT body FROM inputs",
            "SELECT body FROM steps",
            "SELECT body FROM results",
        )
        for body in _names(row[0] for row in connection.execute(query))
    ]
    # Flows stay: whoever stored one may run it at any time.
    recent = connection.execute("SELECT id FROM blobs WHERE used_at >= ? OR kind = 'flow'", (before,))
    left = {*named, *(row[0] for row in recent)}
    kept: set[str] = set()
    while left:
        blob_id = left.pop()
        if blob_id in blobs and blob_id not in kept:
            kept.add(blob_id)
            left |= set(_names(_contents(connection, blobs[blob_id]))) - kept
    return [key for blob_id, key in blobs.items() if blob_id not in kept]


def _contents(connection: sqlite3.Connection, key: int) -> Iterable[bytes]:
    query = (
        "SELECT content FROM blobs WHERE key = ? AND content IS NOT NULL"
        " UNION ALL SELECT content FROM pieces WHERE blob = ?"
    )
    return (row[0] for row in connection.execute(query, (key, key)))


def _names(bodies: Iterable[bytes]) -> Iterable[str]:
    return {found.decode() for body in bodies for found in _ID.findall(body)}


def _delete_blobs(connection: sqlite3.Connection, keys: list[int], before: float) -> None:
    for key in keys:
        # Whoever stored it again meanwhile was told that it is there.
        row = connection.execute("SELECT 1 FROM blobs WHERE key = ? AND used_at < ?", (key, before)).fetchone()
        if row is not None:
            connection.execute("DELETE FROM pieces WHERE blob = ?", (key,))
            connection.execute("DELETE FROM blobs WHERE key = ?", (key,))
