"""Copies what is sound of a state file into a new one."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from msgspec import DecodeError, Struct, ValidationError

from stepflow_sdk.errors import CorruptState, StateError
from stepflow_sdk.runtime.stores.connecting import connect, unusable_file
from stepflow_sdk.runtime.stores.failures import SqliteError, is_corrupt, is_full
from stepflow_sdk.runtime.stores.making import make_file
from stepflow_sdk.runtime.stores.rows import Tail, item_of, read_input, run_of, secrets_of, step_of, tail_row
from stepflow_sdk.runtime.stores.sqlite_blobs import copy_blob

__all__ = ["Recovered", "recover_file"]

Row = tuple[Any, ...]


class Recovered(Struct):
    """What was copied, and what was not.

    Attributes:
        runs: Runs that were copied, whole or in part.
        inputs: Their inputs.
        steps: Their steps.
        results: The outcomes of their items.
        blobs: Blobs that were copied.
        lost: Rows that are damaged, or belong to runs that are; by table. What could not even be found is not counted.
        given_up: Runs that had not ended, and whose inputs are not all there: they are failed in the copy, since they
            cannot be resumed.
    """

    runs: int = 0
    inputs: int = 0
    steps: int = 0
    results: int = 0
    blobs: int = 0
    lost: dict[str, int] = {}
    given_up: int = 0


def recover_file(source: Path, target: Path) -> Recovered:
    """Copy what is sound; the source is read only.

    Args:
        source: The damaged file.
        target: The new one, which must not be there.

    Raises:
        CorruptState: Nothing of the source can be found.
        StateError: It is another kind of database or cannot be opened, or the target is there or cannot be written.
    """
    if target.exists():
        raise StateError(f"{target}: is there already; name a new file")
    _check_source(source)
    recovered = Recovered(lost={})
    with contextlib.closing(connect(source, "ro")) as old:

        def copy(new: sqlite3.Connection) -> None:
            new.execute("BEGIN IMMEDIATE")
            _Copier(old, new, recovered).copy()
            new.execute("COMMIT")

        make_file(target, copy)
    return recovered


def _check_source(source: Path) -> None:
    try:
        with contextlib.closing(connect(source, "ro")) as old:
            tables = {name for (name,) in old.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    except SqliteError as error:
        if not is_corrupt(error):
            raise unusable_file(source, error) from None
        raise CorruptState(f"{source}: nothing can be copied, not even its tables can be found: {error}") from None
    if not tables & {"runs", "blobs"}:
        raise StateError(f"{source}: is not a state file: it has neither runs nor blobs")


class _Copier:
    def __init__(self, old: sqlite3.Connection, new: sqlite3.Connection, done: Recovered) -> None:
        self._old = old
        self._new = new
        self._done = done

    def copy(self) -> None:
        old_runs = dict(self._sound("runs", _RUNS, _sound_run))
        for key, row in old_runs.items():
            self._copy_run(key, row)
        keys = [row[0] for row in self._rows("blobs", "SELECT key FROM blobs")]
        for key in keys:
            try:
                self._done.blobs += copy_blob(self._old, self._new, key)
            except (CorruptState, *SqliteError) as error:
                if is_full(error):  # nothing is wrong with the blob
                    raise
                self._lose("blobs")

    def _copy_run(self, key: int, row: Row) -> None:
        _, record = run_of(row[-7:])
        inputs = list(self._sound("inputs", _INPUTS, _sound_input, key))
        results = list(self._sound("results", _RESULTS, _sound_item, key))
        steps = list(self._sound("steps", _STEPS, _sound_step, key))
        failed = sum(row[2] == "failed" for _, row in results)
        tail = Tail(record.status, record.items, len(results) - failed, failed, record.completed_at)
        if record.status == "accepting":
            return
        if record.status == "running" and len(inputs) != record.items:
            tail = Tail("failed", record.items, tail.completed, tail.failed, record.created_at)
            self._done.given_up += 1
        columns = row[:-7]
        self._new.execute(_INSERT_RUN, (key, record.run_id, *columns, tail.status, *tail_row(record.run_id, tail)))
        self._new.executemany("INSERT INTO inputs VALUES (?, ?, ?, ?)", ((key, *row) for _, row in inputs))
        self._new.executemany(
            "INSERT INTO results (run, item, status, body, sum) VALUES (?, ?, ?, ?, ?)", (row for _, row in results)
        )
        self._new.executemany("INSERT INTO steps VALUES (?, ?, ?, ?, ?, ?)", (row for _, row in steps))
        self._done.runs += 1
        self._done.inputs += len(inputs)
        self._done.results += len(results)
        self._done.steps += len(steps)

    def _sound(
        self, table: str, query: str, key_of: Callable[[Row], int], *arguments: int
    ) -> Iterator[tuple[int, Row]]:
        """The rows that are what was written."""
        for row in self._rows(table, query, *arguments):
            try:
                yield key_of(row), row
            except (CorruptState, DecodeError, ValidationError, TypeError, ValueError):
                self._lose(table)

    def _rows(self, table: str, query: str, *arguments: int) -> Iterator[Row]:
        """Rows, as far as SQLite can find them."""
        try:
            cursor = self._old.execute(query, arguments)
            while (row := cursor.fetchone()) is not None:
                yield row
        except SqliteError:
            self._lose(table)

    def _lose(self, table: str) -> None:
        self._done.lost[table] = self._done.lost.get(table, 0) + 1


_RUNS = (
    "SELECT flow_name, root_run_id, parent_run_id, depth, head, head_sum, secrets, secrets_sum, "
    "key, run_id, status, head, head_sum, tail, tail_sum FROM runs"
)
_INSERT_RUN = (
    "INSERT INTO runs (key, run_id, flow_name, root_run_id, parent_run_id, depth, head, head_sum, secrets, secrets_sum,"
    " status, tail, tail_sum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INPUTS = "SELECT item, body, sum FROM inputs WHERE run = ?"
_RESULTS = "SELECT run, item, status, body, sum FROM results WHERE run = ? ORDER BY key"
_STEPS = "SELECT run, item, step, status, body, sum FROM steps WHERE run = ?"


def _sound_run(row: Row) -> int:
    key, record = run_of(row[-7:])
    secrets_of(record.run_id, row[6], row[7])
    return key


def _sound_input(row: Row) -> int:
    return read_input(row).item


def _sound_item(row: Row) -> int:
    return item_of(row).item


def _sound_step(row: Row) -> int:
    return step_of(row).item
