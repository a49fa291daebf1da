"""State files: blobs and runs in one SQLite database."""

import os
import sqlite3
from pathlib import Path

import anyio.to_thread

from stepflow_sdk.runtime.stores.locks import FileLock
from stepflow_sdk.runtime.stores.opening import open_for_reading, open_for_writing, prepare_file
from stepflow_sdk.runtime.stores.options import StateOptions
from stepflow_sdk.runtime.stores.reader import StateReader
from stepflow_sdk.runtime.stores.sqlite_blobs import SqliteBlobStore
from stepflow_sdk.runtime.stores.sqlite_runs import RunBooks, SqliteRunStore
from stepflow_sdk.runtime.stores.writer import StateWriter

__all__ = ["SqliteState"]


class SqliteState:
    """An open state file; make one with `open`.

    Attributes:
        path: The file.
        blobs: The blobs in it.
        runs: The runs in it.
    """

    def __init__(self, path: Path, lock: FileLock, writer: StateWriter, reader: StateReader, books: RunBooks) -> None:
        self.path = path
        self.blobs = SqliteBlobStore(writer, reader)
        self.runs = SqliteRunStore(writer, reader, books)
        self._lock = lock
        self._writer = writer
        self._reader = reader

    @classmethod
    async def open(cls, options: StateOptions | str | os.PathLike[str]) -> "SqliteState":
        """Open a state file for this process alone.

        Raises:
            StateError: Another process has it, it is no state file, of a newer version, or cannot be written.
            CorruptState: It is damaged.
        """
        settings = options if isinstance(options, StateOptions) else StateOptions(Path(options))
        lock = FileLock(settings.path)
        await lock.acquire(settings.wait)
        try:
            connection, epoch, reading = await anyio.to_thread.run_sync(_open, settings, lock)
        except BaseException:
            lock.release()
            raise
        books = RunBooks()
        writer = StateWriter(connection, epoch, books, patience=settings.patience)
        return cls(settings.path, lock, writer, StateReader(reading), books)

    async def close(self) -> None:
        """Write what is left, and let go of the file."""
        with anyio.CancelScope(shield=True):
            await self._reader.close()
            await self._writer.close()
            self._lock.release()


def _open(settings: StateOptions, lock: FileLock) -> tuple[sqlite3.Connection, int, sqlite3.Connection]:
    prepare_file(settings.path, migrate=settings.auto_migrate)
    connection, epoch = open_for_writing(settings.path, lock.holder, synchronous=settings.synchronous)
    return connection, epoch, open_for_reading(settings.path)
