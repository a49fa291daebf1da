"""How runs are read from a state file; every row is verified."""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from stepflow_sdk.errors import CorruptState
from stepflow_sdk.runtime.runs import ItemRecord, PendingItem, RunQuery, RunRecord, StepRecord
from stepflow_sdk.runtime.stores.rows import (
    Tail,
    item_of,
    read_input,
    run_of,
    secrets_of,
    step_of,
)

__all__ = [
    "find_run",
    "find_runs",
    "read_inputs",
    "read_items",
    "read_pending",
    "read_steps",
    "read_tail",
    "read_unfinished",
]

_CHUNK_BYTES: Final = 4 * 1024 * 1024
_RUNS: Final = "SELECT key, run_id, status, head, head_sum, tail, tail_sum FROM runs"
_SECRETS: Final = "SELECT secrets, secrets_sum, key, run_id, status, head, head_sum, tail, tail_sum FROM runs"
_STEPS: Final = "SELECT run, item, step, status, body, sum FROM steps WHERE run = ?"


def find_run(connection: sqlite3.Connection, run_id: str) -> tuple[int, RunRecord] | None:
    """The key and the record of a run, or None."""
    row = connection.execute(_RUNS + " WHERE run_id = ? AND status <> 'accepting'", (run_id,)).fetchone()
    return None if row is None else run_of(row)


def read_tail(connection: sqlite3.Connection, key: int) -> tuple[str, Tail]:
    """What has become of a run, for the writer: its id, and what is counted."""
    row = connection.execute(_RUNS + " WHERE key = ?", (key,)).fetchone()
    if row is None:
        raise CorruptState("a run is missing: the state file is damaged")
    _, run = run_of(row)
    return run.run_id, Tail(run.status, run.items, run.completed, run.failed, run.completed_at)


def find_runs(connection: sqlite3.Connection, query: RunQuery) -> list[RunRecord]:
    """The runs that are asked for, the newest first."""
    wanted: dict[str, Any] = {
        "status = ?": query.status,
        "flow_name = ?": query.flow_name,
        "root_run_id = ?": query.root_run_id,
        "parent_run_id = ?": query.parent_run_id,
        "depth <= ?": 0 if query.roots_only else query.max_depth,
    }
    given = {clause: value for clause, value in wanted.items() if value is not None}
    where = " AND ".join(["status <> 'accepting'", *given])
    statement = f"{_RUNS} WHERE {where} ORDER BY key DESC LIMIT ? OFFSET ?"
    return [run_of(row)[1] for row in connection.execute(statement, (*given.values(), query.limit, query.offset))]


def read_unfinished(connection: sqlite3.Connection, after: str | None, limit: int) -> list[tuple[int, RunRecord]]:
    """Runs that have not ended and their keys, the oldest first, with their secrets."""
    last = 0
    if after is not None:
        row = connection.execute("SELECT key FROM runs WHERE run_id = ?", (after,)).fetchone()
        last = 0 if row is None else row[0]
    query = _SECRETS + " WHERE status = 'running' AND key > ? ORDER BY key LIMIT ?"
    found: list[tuple[int, RunRecord]] = []
    for secrets, checksum, *columns in connection.execute(query, (last, limit)):
        key, run = run_of(tuple(columns))
        hidden = secrets_of(run.run_id, secrets, checksum)
        if hidden:
            run = msgspec.structs.replace(run, variables={**(run.variables or {}), **hidden})
        found.append((key, run))
    return found


def read_items(connection: sqlite3.Connection, run_id: str) -> list[ItemRecord]:
    """The items of a run that have ended, in the order in which they did."""
    found = find_run(connection, run_id)
    if found is None:
        return []
    key, run = found
    query = "SELECT run, item, status, body, sum FROM results WHERE run = ? ORDER BY key"
    items = [item_of(row) for row in connection.execute(query, (key,))]
    _check_count(len(items), run.completed + run.failed, "results", run)
    return items


def read_inputs(connection: sqlite3.Connection, run_id: str, first: int, limit: int | None) -> list[Any]:
    """Inputs of a run in their order."""
    found = find_run(connection, run_id)
    if found is None:
        return []
    key, run = found
    last = run.items or 0
    if limit is not None:
        last = min(last, first + limit)
    query = "SELECT item, body, sum FROM inputs WHERE run = ? AND item >= ? AND item < ? ORDER BY item"
    values = [read_input(row).input for row in connection.execute(query, (key, first, last))]
    _check_count(len(values), max(last - first, 0), "inputs", run)
    return values


def read_steps(connection: sqlite3.Connection, run_id: str, item: int | None) -> list[StepRecord]:
    """The steps of a run that have started, in the order in which they did."""
    found = find_run(connection, run_id)
    if found is None:
        return []
    which = "" if item is None else " AND item = ?"
    arguments = (found[0],) if item is None else (found[0], item)
    rows = connection.execute(_STEPS + which, arguments)
    return sorted((step_of(row) for row in rows), key=lambda step: step.started_at or 0.0)


def read_pending(connection: sqlite3.Connection, run_id: str, after: int, limit: int) -> list[PendingItem]:
    """Items of a run that have not ended, with their steps; fewer than asked for where they are large."""
    found = find_run(connection, run_id)
    if found is None:
        return []
    key, run = found
    if after < 0:
        query = "SELECT count(*) FROM inputs WHERE run = ?"
        (count,) = connection.execute(query, (key,)).fetchone()
        _check_count(count, run.items or 0, "inputs", run)
    query = (
        "SELECT item, body, sum FROM inputs WHERE run = ? AND item > ? AND NOT EXISTS"
        " (SELECT 1 FROM results WHERE results.run = inputs.run AND results.item = inputs.item) ORDER BY item LIMIT ?"
    )
    items: list[PendingItem] = []
    size = 0
    for row in connection.execute(query, (key, after, limit)):
        items.append(read_input(row))
        size += len(row[1])
        if size >= _CHUNK_BYTES:
            break
    steps = _steps_of(connection, key, [item.item for item in items])
    return [PendingItem(item.item, item.input, steps.get(item.item, ())) for item in items]


def _steps_of(connection: sqlite3.Connection, key: int, items: Sequence[int]) -> dict[int, list[StepRecord]]:
    marks = ", ".join("?" * len(items))
    query = f"{_STEPS} AND item IN ({marks})"
    steps: dict[int, list[StepRecord]] = {}
    for row in connection.execute(query, (key, *items)):
        step = step_of(row)
        steps.setdefault(step.item, []).append(step)
    return steps


def _check_count(found: int, expected: int, what: str, run: RunRecord) -> None:
    if found != expected:
        raise CorruptState(
            f"the run {run.run_id!r} has {expected} {what}, and {found} are there: the state file is damaged"
        )
