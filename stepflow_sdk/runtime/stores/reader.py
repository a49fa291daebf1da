"""Reads a state file: in worker threads, beside the one that writes."""

import sqlite3
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

from stepflow_sdk.runtime.stores.failures import SqliteError, failure_of
from stepflow_sdk.runtime.stores.places import Place

__all__ = ["StateReader"]

T = TypeVar("T")


class StateReader:
    """Reads a state file; one reading at a time, each of one state of the file.

    Args:
        connection: The file, for reading, of which any thread may make use.
        place: Where the file is.
    """

    def __init__(self, connection: sqlite3.Connection, place: Place) -> None:
        self._connection = connection
        self._place = place
        self._lock = anyio.Lock()

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Read something and return it.

        Raises:
            CorruptState: The file is damaged.
            StateError: It is gone.
            ResourceUnavailable: It cannot be read.
        """
        async with self._lock:
            return await anyio.to_thread.run_sync(self._read, work)

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            self._connection.execute("BEGIN")
            return work(self._connection)
        except SqliteError as error:
            self._place.check()
            raise failure_of(error, "read") from None
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    async def close(self) -> None:
        """Let go of the file."""
        async with self._lock:
            self._connection.close()
