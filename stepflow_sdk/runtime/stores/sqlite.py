"""State files: blobs and runs in one SQLite database."""

import logging
import os
import sqlite3
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from stepflow_sdk.errors import StepflowError
from stepflow_sdk.runtime.stores.locks import FileLock
from stepflow_sdk.runtime.stores.opening import open_for_reading, open_for_writing, prepare_file
from stepflow_sdk.runtime.stores.options import Retention, StateOptions
from stepflow_sdk.runtime.stores.places import Place
from stepflow_sdk.runtime.stores.reader import StateReader
from stepflow_sdk.runtime.stores.retention import prune
from stepflow_sdk.runtime.stores.sqlite_blobs import SqliteBlobStore
from stepflow_sdk.runtime.stores.sqlite_runs import RunBooks, SqliteRunStore
from stepflow_sdk.runtime.stores.writer import StateWriter

__all__ = ["SqliteState"]

_log = logging.getLogger("stepflow_sdk.runtime")

_PRUNE_SECONDS: Final = 3600.0


class SqliteState:
    """An open state file; make one with `open`.

    Attributes:
        path: The file.
        blobs: The blobs in it.
        runs: The runs in it.
        retention: What is forgotten of it.
    """

    def __init__(
        self, options: StateOptions, lock: FileLock, writer: StateWriter, reader: StateReader, books: RunBooks
    ) -> None:
        self.path = options.path
        self.retention = options.retention
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
        place = Place(settings.path)
        writer = StateWriter(connection, epoch, books, place, patience=settings.patience)
        return cls(settings, lock, writer, StateReader(reading, place), books)

    @property
    def commits(self) -> int:
        """How many transactions were written."""
        return self._writer.commits

    @property
    def waiting(self) -> int:
        """How many records wait to be written."""
        return self._writer.waiting

    @property
    def is_writable(self) -> bool:
        """Whether the file can be written: not while its disk is full, nor any more once it failed otherwise."""
        return self._writer.is_writable

    @property
    def has_failed(self) -> bool:
        """Whether nothing is written any more, until another process opens the file."""
        return self._writer.broken is not None

    async def prune(self, retention: Retention) -> int:
        """Forget runs that have ended, and blobs that nothing names any more; returns how many runs it were.

        Raises:
            ResourceUnavailable: The file cannot be written now.
        """
        return await prune(self._writer, self._reader, retention)

    async def keep_pruning(self) -> None:
        """Forget what `StateOptions.retention` says, now and every hour, until it is cancelled."""
        while self.retention is not None:
            try:
                await self.prune(self.retention)
            except StepflowError as error:
                _log.warning("the state file cannot be pruned: %s", error)
            await anyio.sleep(_PRUNE_SECONDS)

    async def close(self) -> None:
        """Write what is left, and let go of the file."""
        with anyio.CancelScope(shield=True):
            await self._reader.close()
            await self._writer.close()
            self._lock.release()


def _open(settings: StateOptions, lock: FileLock) -> tuple[sqlite3.Connection, int, sqlite3.Connection]:
    prepare_file(settings.path, create=settings.create, migrate=settings.auto_migrate)
    connection, epoch = open_for_writing(settings.path, lock.holder, synchronous=settings.synchronous)
    try:
        return connection, epoch, open_for_reading(settings.path)
    except BaseException:
        connection.close()
        raise
