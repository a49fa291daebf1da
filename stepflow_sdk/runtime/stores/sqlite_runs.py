"""Runs that are kept in a state file."""

import contextlib
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import anyio
import msgspec

from stepflow_sdk.errors import CorruptState, InvalidValue, StepflowError
from stepflow_sdk.runtime.runs import ItemRecord, PendingItem, RunQuery, RunRecord, StepRecord
from stepflow_sdk.runtime.stores import run_reads
from stepflow_sdk.runtime.stores.reader import StateReader
from stepflow_sdk.runtime.stores.rows import Tail, input_row, item_row, run_row, step_row, tail_row
from stepflow_sdk.runtime.stores.writer import Batch, StateWriter

__all__ = ["RunBooks", "SqliteRunStore", "delete_runs"]

_CHUNK_ROWS: Final = 2000
_CHUNK_BYTES: Final = 4 * 1024 * 1024

ACCEPTING: Final = "accepting"
"""The status of a run whose inputs are being stored: it is not accepted yet, and forgotten when that is interrupted."""

InputRow = tuple[int, bytes, int]

_NO_ROWS: Final[list[InputRow]] = []


class SqliteRunStore:
    """Keeps runs in a state file; see `SqliteState`."""

    durable = True
    keeps_steps = True

    def __init__(self, writer: StateWriter, reader: StateReader, books: "RunBooks") -> None:
        self._writer = writer
        self._reader = reader
        self._books = books
        self._keys: dict[str, int] = {}

    # ---- writing ----------------------------------------------------------------------------------------------

    async def create(self, run: RunRecord, inputs: Iterable[Any]) -> int:
        """See `RunStore.create`; what is not a list is read to its end and stored in pieces before this returns."""
        chunks = _chunks(inputs)
        chunk = next(chunks, _NO_ROWS)
        more = next(chunks, None)
        key = await self._writer.do(self._books.create(run, chunk, complete=more is None))
        count = len(chunk)
        if more is not None:
            try:
                while more is not None:
                    await self._writer.do(_insert_inputs(key, more))
                    count += len(more)
                    more = next(chunks, None)
                await self._writer.do(self._books.accept(key, count))
            except BaseException:
                with anyio.CancelScope(shield=True), contextlib.suppress(StepflowError):
                    await self._writer.do(self._books.forget(key))
                raise
        self._keys[run.run_id] = key
        return count

    def write_step(self, run_id: str, step: StepRecord) -> None:
        """See `RunStore.write_step`."""
        row = step_row(self._keys[run_id], step)
        steps = self._writer.open.steps
        name = row[:3]
        known = steps.get(name)
        if known is None or known[3] == "running":
            steps[name] = row

    def end_item(self, run_id: str, item: ItemRecord) -> None:
        """See `RunStore.end_item`."""
        self._writer.open.items.append(item_row(self._keys[run_id], item))

    def end_run(self, run_id: str, status: str, completed_at: float) -> None:
        """See `RunStore.end_run`."""
        self._writer.open.runs[self._keys.pop(run_id)] = (status, completed_at)

    async def delete(self, run_id: str) -> None:
        """See `RunStore.delete`."""
        await self._writer.do(lambda connection: _delete_ended(connection, run_id))

    def sync(self) -> Awaitable[None] | None:
        """See `RunStore.sync`."""
        return self._writer.sync()

    # ---- reading ----------------------------------------------------------------------------------------------

    async def get(self, run_id: str) -> RunRecord | None:
        """See `RunStore.get`."""
        found = await self._reader.read(lambda connection: run_reads.find_run(connection, run_id))
        return None if found is None else found[1]

    async def find(self, query: RunQuery) -> Sequence[RunRecord]:
        """See `RunStore.find`."""
        return await self._reader.read(lambda connection: run_reads.find_runs(connection, query))

    async def items(self, run_id: str) -> Sequence[ItemRecord]:
        """See `RunStore.items`."""
        return await self._reader.read(lambda connection: run_reads.read_items(connection, run_id))

    async def inputs(self, run_id: str, *, first: int = 0, limit: int | None = None) -> Sequence[Any]:
        """See `RunStore.inputs`."""
        return await self._reader.read(lambda connection: run_reads.read_inputs(connection, run_id, first, limit))

    async def steps(self, run_id: str, *, item: int | None = None) -> Sequence[StepRecord]:
        """See `RunStore.steps`."""
        return await self._reader.read(lambda connection: run_reads.read_steps(connection, run_id, item))

    async def unfinished(self, *, after: str | None = None, limit: int = 100) -> Sequence[RunRecord]:
        """See `RunStore.unfinished`."""
        found = await self._reader.read(lambda connection: run_reads.read_unfinished(connection, after, limit))
        for key, record in found:
            self._keys.setdefault(record.run_id, key)
        return [record for _, record in found]

    async def pending(self, run_id: str, *, after: int = -1, limit: int = 100) -> Sequence[PendingItem]:
        """See `RunStore.pending`."""
        return await self._reader.read(lambda connection: run_reads.read_pending(connection, run_id, after, limit))


class RunBooks:
    """Writes runs, and what has become of them; everything here happens in the writer's thread."""

    def __init__(self) -> None:
        # Of the runs that are under way, as far as it is kept, and what the transaction that is open makes of it.
        self._tails: dict[int, tuple[str, Tail]] = {}
        self._changed: dict[int, tuple[str, Tail]] = {}

    def create(
        self, run: RunRecord, inputs: Sequence[InputRow], *, complete: bool
    ) -> Callable[[sqlite3.Connection], int]:
        """Write a run and its first inputs, and give its key; the run is accepted when these are all."""

        def work(connection: sqlite3.Connection) -> int:
            if connection.execute("SELECT 1 FROM runs WHERE run_id = ?", (run.run_id,)).fetchone() is not None:
                raise InvalidValue(f"there is a run {run.run_id} already", data={"field": "run_id"})
            tail = Tail("running" if complete else ACCEPTING, len(inputs) if complete else None)
            row = (*run_row(run), tail.status, *tail_row(run.run_id, tail))
            key = connection.execute(_INSERT_RUN, row).lastrowid or 0
            _insert_inputs(key, inputs)(connection)
            self._changed[key] = (run.run_id, tail)
            return key

        return work

    def accept(self, key: int, items: int) -> Callable[[sqlite3.Connection], None]:
        """Write that all inputs of a run are there."""
        return lambda connection: self._change(connection, key, status="running", items=items)

    def forget(self, key: int) -> Callable[[sqlite3.Connection], None]:
        """Delete a run that was not accepted."""
        return lambda connection: delete_runs(connection, [key])

    def write(self, connection: sqlite3.Connection, batch: Batch) -> None:
        """See `Bookkeeping.write`."""
        counts: dict[int, list[int]] = {}
        for row in batch.items:
            counts.setdefault(row[0], [0, 0])[row[2] == "failed"] += 1
        for key, (completed, failed) in counts.items():
            _, tail = self._tail(connection, key)
            self._change(connection, key, completed=tail.completed + completed, failed=tail.failed + failed)
        for key, (status, completed_at) in batch.runs.items():
            run_id, tail = self._tail(connection, key)
            if status != "cancelled" and tail.items is not None and tail.items != tail.completed + tail.failed:
                raise CorruptState(f"items of the run {run_id!r} are missing: the state file is damaged")
            self._change(connection, key, status=status, completed_at=completed_at)

    def settle(self, *, kept: bool) -> None:
        """See `Bookkeeping.settle`."""
        if kept:
            for key, known in self._changed.items():
                if known[1].completed_at is None:
                    self._tails[key] = known
                else:
                    self._tails.pop(key, None)
        self._changed.clear()

    def _tail(self, connection: sqlite3.Connection, key: int) -> tuple[str, Tail]:
        known = self._changed.get(key) or self._tails.get(key)
        return known or run_reads.read_tail(connection, key)

    def _change(self, connection: sqlite3.Connection, key: int, **changes: Any) -> None:
        run_id, tail = self._tail(connection, key)
        changed = msgspec.structs.replace(tail, **changes)
        row = (changed.status, *tail_row(run_id, changed), key)
        connection.execute("UPDATE runs SET status = ?, tail = ?, tail_sum = ? WHERE key = ?", row)
        self._changed[key] = (run_id, changed)


def _delete_ended(connection: sqlite3.Connection, run_id: str) -> None:
    found = run_reads.find_run(connection, run_id)
    if found is not None and found[1].completed_at is not None:
        delete_runs(connection, [found[0]])


def delete_runs(connection: sqlite3.Connection, keys: Sequence[int]) -> None:
    """Delete runs with everything that belongs to them."""
    for statement in _DELETIONS:
        connection.executemany(statement, [(key,) for key in keys])


_DELETIONS: Final = (
    "DELETE FROM inputs WHERE run = ?",
    "DELETE FROM steps WHERE run = ?",
    "DELETE FROM results WHERE run = ?",
    "DELETE FROM runs WHERE key = ?",
)

_INSERT_RUN: Final = (
    "INSERT INTO runs (run_id, flow_name, root_run_id, parent_run_id, depth, head, head_sum, secrets, secrets_sum,"
    " status, tail, tail_sum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def _insert_inputs(key: int, rows: Sequence[InputRow]) -> Callable[[sqlite3.Connection], None]:
    def work(connection: sqlite3.Connection) -> None:
        insert = "INSERT INTO inputs (run, item, body, sum) VALUES (?, ?, ?, ?)"
        connection.executemany(insert, ((key, *row) for row in rows))

    return work


def _chunks(inputs: Iterable[Any]) -> Iterator[list[InputRow]]:
    """The rows of inputs, as many at a time as are written at once."""
    chunk: list[InputRow] = []
    size = 0
    for item, value in enumerate(inputs):
        row = input_row(item, value)
        chunk.append(row)
        size += len(row[1])
        if len(chunk) >= _CHUNK_ROWS or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
