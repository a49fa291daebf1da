"""The thread that writes a state file: everything that has gathered while it wrote is one transaction."""

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

from stepflow_sdk.errors import ResourceUnavailable, StateError, StepflowError
from stepflow_sdk.runtime.stores.failures import SqliteError, failure_of, is_full
from stepflow_sdk.runtime.stores.places import Place
from stepflow_sdk.runtime.stores.rows import ItemRow, StepRow

__all__ = ["Batch", "Bookkeeping", "StateWriter"]

T = TypeVar("T")

_log = logging.getLogger("stepflow_sdk.runtime")

_RETRY_SECONDS: Final = 0.25
# So many rows are one statement: each statement gives the other threads of the process a turn, which costs more.
_ROWS_AT_ONCE: Final = 50


class _Job:
    """Work that somebody waits for: it is done in a transaction, or refused."""

    __slots__ = ("ended", "error", "result", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], Any]) -> None:
        self.work = work
        self.ended = asyncio.Event()
        self.result: Any = None
        self.error: Exception | None = None


class Batch:
    """What is written in one transaction.

    Attributes:
        steps: Starts and ends of steps by run, item and step; of two the later one, but nothing after an end.
        items: The ends of items.
        runs: The ends of runs by their keys: the status, and when.
        jobs: Work that somebody waits for, in its order.
        pages: How many free pages are given back.
        ended: Set when it is written, or never will be.
        error: Why it was not.
    """

    __slots__ = ("ended", "error", "items", "jobs", "pages", "runs", "steps")

    def __init__(self) -> None:
        self.steps: dict[tuple[int, int, str], StepRow] = {}
        self.items: list[ItemRow] = []
        self.runs: dict[int, tuple[str, float]] = {}
        self.jobs: list[_Job] = []
        self.pages = 0
        self.ended = asyncio.Event()
        self.error: Exception | None = None

    def __len__(self) -> int:
        return len(self.steps) + len(self.items) + len(self.runs) + len(self.jobs)

    def __bool__(self) -> bool:
        return bool(self.steps or self.items or self.runs or self.jobs or self.pages)


class Bookkeeping(Protocol):
    """Writes what follows from a batch. Its methods are called in the writer's thread."""

    def write(self, connection: sqlite3.Connection, batch: Batch) -> None:
        """Write what follows from the items and the runs that have ended."""
        ...

    def settle(self, *, kept: bool) -> None:
        """The transaction is over, and what it wrote is kept or not."""
        ...


class StateWriter:
    """Writes a state file from a thread of its own.

    One batch is written at a time; what comes meanwhile is the next one. A batch is handed over when the tasks that
    are ready now have had their turn, so that the steps which a commit has released share the next commit.

    When the disk is full, what came of steps waits for space, and new work is refused at once. When it could not be
    written for ``patience`` seconds, or for any other reason, it fails for all who wait.

    Attributes:
        commits: How many transactions were written.

    Args:
        connection: The file; used in the writer's thread alone from now on.
        epoch: Of our lease: when another process has taken it over, nothing is written any more.
        books: Writes what follows from each batch.
        place: Where the file is: what is written counts only when it is still there.
        patience: How many seconds a full disk is waited for.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        epoch: int,
        books: Bookkeeping,
        place: Place,
        *,
        patience: float = 30.0,
    ) -> None:
        self.open = Batch()
        self.commits = 0
        self.broken: StepflowError | None = None
        self._connection = connection
        self._epoch = epoch
        self._books = books
        self._place = place
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._writing: Batch | None = None
        self._due = False
        # Why nothing can be written for now.
        self._full: str | None = None
        self._closing = threading.Event()
        self._handed: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="stepflow-state", daemon=True)
        self._thread.start()

    # ---- on the event loop ------------------------------------------------------------------------------------

    def sync(self) -> Awaitable[None] | None:
        """See `RunStore.sync`."""
        if self.open:
            self._hand_over_soon()
            return _ended(self.open)
        return None if self._writing is None else _ended(self._writing)

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something in a transaction, after all that was written before, and return what comes of it.

        Raises:
            ResourceUnavailable: It cannot be written now.
        """
        if self.broken is not None:
            raise _again(self.broken)
        if self._full is not None and self._writing is not None:
            raise ResourceUnavailable(self._full)
        job = _Job(work)
        batch = self.open
        batch.jobs.append(job)
        self._hand_over_soon()
        await job.ended.wait()
        error = job.error or batch.error
        if error is not None:
            raise _again(error)
        result: T = job.result
        return result

    @property
    def waiting(self) -> int:
        """How many records are not yet written."""
        return len(self.open) + (0 if self._writing is None else len(self._writing))

    @property
    def is_writable(self) -> bool:
        """Whether what comes now is likely to be written."""
        return self.broken is None and self._full is None

    async def vacuum(self, pages: int) -> None:
        """Give the room of so many free pages back to the file system."""
        self.open.pages += pages
        waiting = self.sync()
        if waiting is not None:
            await waiting

    async def close(self) -> None:
        """Write what is left, and end the thread."""
        self._closing.set()
        while self.open or self._writing is not None:
            self._hand_over()
            if self._writing is not None:
                await self._writing.ended.wait()
        self._handed.put(None)
        await asyncio.to_thread(self._thread.join)

    def _hand_over_soon(self) -> None:
        if not self._due and self._writing is None:
            self._due = True
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        self._due = False
        if self._writing is None and self.open:
            self._writing, self.open = self.open, Batch()
            self._handed.put(self._writing)

    def _written(self, batch: Batch) -> None:
        self._writing = None
        batch.ended.set()
        for job in batch.jobs:
            job.ended.set()
        if self.open:
            self._hand_over_soon()

    # ---- in the thread ----------------------------------------------------------------------------------------

    def _write_all(self) -> None:
        while (batch := self._handed.get()) is not None:
            try:
                self._write(batch)
            except Exception as error:  # whatever it is, somebody waits for the end of this batch
                self._roll_back()
                if self.broken is None:
                    _log.error("the state file is not written any more: %s", error)
                batch.error = self.broken = _told(error)
            try:
                self._loop.call_soon_threadsafe(self._written, batch)
            except RuntimeError:
                return  # the event loop was closed, and nobody waits
        self._connection.close()

    def _write(self, batch: Batch) -> None:
        if self.broken is not None:
            raise self.broken
        since = None
        while True:
            try:
                self._transact(batch)
            except SqliteError as error:
                if not is_full(error):
                    raise
                self._roll_back()
                self._refuse_jobs(batch, error)
                if not batch:
                    return  # nothing is left that could wait
                self._full = failure_of(error, "written").message
                since = time.monotonic() if since is None else since
                if time.monotonic() - since >= self._patience or self._closing.is_set():
                    batch.error = _told(error)
                    return
                _log.warning("the state file cannot be written: %s; what has ended waits", error)
                self._closing.wait(_RETRY_SECONDS)
            else:
                self._full = None
                return

    def _transact(self, batch: Batch) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        (epoch,) = connection.execute("SELECT epoch FROM lease").fetchone()
        if epoch != self._epoch:
            raise StateError("another process has taken the state file over; nothing more is written by this one")
        if batch.steps:
            _insert(connection, _STEPS, _AGAIN, list(batch.steps.values()))
        if batch.items:
            _insert(connection, _RESULTS, "", batch.items)
        if batch.items or batch.runs:
            self._books.write(connection, batch)
        for job in batch.jobs:
            _do(connection, job)
        if batch.pages:
            connection.execute(f"PRAGMA incremental_vacuum({batch.pages:d})").fetchall()
        connection.execute("COMMIT")
        self._place.check()
        self.commits += 1
        self._books.settle(kept=True)

    def _roll_back(self) -> None:
        self._books.settle(kept=False)
        if self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # where SQLite has done it itself, or cannot any more
                self._connection.execute("ROLLBACK")

    def _refuse_jobs(self, batch: Batch, error: Exception) -> None:
        for job in batch.jobs:
            job.error = _told(error)
            self._loop.call_soon_threadsafe(job.ended.set)
        batch.jobs = []


_STEPS: Final = "INSERT INTO steps (run, item, step, status, body, sum) VALUES "
# What was kept first stays: a step ends once.
_AGAIN: Final = (
    " ON CONFLICT (run, item, step) DO UPDATE SET status = excluded.status, body = excluded.body, sum = excluded.sum"
    " WHERE steps.status = 'running'"
)
_RESULTS: Final = "INSERT OR IGNORE INTO results (run, item, status, body, sum) VALUES "


def _insert(connection: sqlite3.Connection, start: str, end: str, rows: Sequence[tuple[Any, ...]]) -> None:
    row = f"({', '.join('?' * len(rows[0]))})"
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        some = rows[first : first + _ROWS_AT_ONCE]
        connection.execute(start + ", ".join([row] * len(some)) + end, [value for values in some for value in values])


def _do(connection: sqlite3.Connection, job: _Job) -> None:
    connection.execute("SAVEPOINT job")
    try:
        job.result = job.work(connection)
    except SqliteError:
        raise
    except Exception as error:
        # It is refused alone: nothing of it is kept, and what others wrote is.
        job.error = error
        connection.execute("ROLLBACK TO job")
    connection.execute("RELEASE job")


async def _ended(batch: Batch) -> None:
    await batch.ended.wait()
    if batch.error is not None:
        raise _again(batch.error)


def _told(error: Exception) -> StepflowError:
    if isinstance(error, StepflowError):
        return error
    if isinstance(error, SqliteError):
        return failure_of(error, "written")
    return ResourceUnavailable(f"the state file cannot be written: {error}")


def _again(error: Exception) -> Exception:
    """The same error for one more who waits: one instance would gather the traces of all."""
    return type(error)(*error.args) if isinstance(error, StepflowError) else error
