"""Rows of a state file: records as JSON text, each with a checksum that is verified when it is read."""

import zlib
from typing import Any, TypeAlias

import msgspec

from stepflow_sdk.errors import CorruptState
from stepflow_sdk.flows import Failure
from stepflow_sdk.protocol import FlowResult
from stepflow_sdk.runtime.runs import ItemRecord, PendingItem, RunRecord, StepRecord

__all__ = [
    "ItemRow",
    "StepRow",
    "Tail",
    "input_row",
    "item_of",
    "item_row",
    "read_input",
    "run_of",
    "run_row",
    "secrets_of",
    "step_of",
    "step_row",
    "tail_row",
]

StepRow: TypeAlias = tuple[int, int, str, str, bytes, int]
ItemRow: TypeAlias = tuple[int, int, str, bytes, int]

_encode = msgspec.json.Encoder().encode
_decode_step = msgspec.json.Decoder(tuple[int, str, float | None, float | None, str | None, Any]).decode
_decode_item = msgspec.json.Decoder(tuple[float, FlowResult]).decode


class Tail(msgspec.Struct, array_like=True):
    """What has become of a run."""

    status: str
    items: int | None = None
    completed: int = 0
    failed: int = 0
    completed_at: float | None = None


_decode_tail = msgspec.json.Decoder(Tail).decode
_decode_head = msgspec.json.Decoder(RunRecord).decode


# ---- runs -------------------------------------------------------------------------------------------------------


def run_row(run: RunRecord) -> tuple[Any, ...]:
    """The columns of a run that do not change, from ``run_id`` to ``secrets_sum``."""
    head = _encode(run.shown())
    values = {name: (run.variables or {})[name] for name in run.secrets}
    secrets = _encode(values) if values else None
    return (
        run.run_id,
        run.flow_name,
        run.root_run_id,
        run.parent_run_id,
        run.depth,
        head,
        zlib.crc32(head),
        secrets,
        None if secrets is None else zlib.crc32(secrets),
    )


def tail_row(run_id: str, tail: Tail) -> tuple[bytes, int]:
    """The columns ``tail`` and ``tail_sum``."""
    body = _encode(tail)
    return body, _sum(body, run_id)


def run_of(row: tuple[Any, ...]) -> tuple[int, RunRecord]:
    """The key of a run and its record, without secrets, from ``key, run_id, status, head, head_sum, tail, tail_sum``.

    Raises:
        CorruptState: The row is not what was written.
    """
    key, run_id, status, head, head_sum, tail, tail_sum = row
    where = f"the run {run_id!r}"
    _check(isinstance(head, bytes) and zlib.crc32(head) == head_sum, where)
    _check(isinstance(tail, bytes) and _sum(tail, run_id) == tail_sum, where)
    record, end = _decode_head(head), _decode_tail(tail)
    _check(record.run_id == run_id and end.status == status, where)
    return key, msgspec.structs.replace(
        record,
        status=end.status,
        items=end.items,
        completed=end.completed,
        failed=end.failed,
        completed_at=end.completed_at,
    )


def secrets_of(run_id: str, secrets: bytes | None, checksum: int | None) -> dict[str, Any]:
    """The values of the secret variables of a run.

    Raises:
        CorruptState: They are not what was written.
    """
    if secrets is None:
        return {}
    _check(zlib.crc32(secrets) == checksum, f"the secrets of the run {run_id!r}")
    values: dict[str, Any] = msgspec.json.decode(secrets)
    return values


# ---- inputs, steps and items ------------------------------------------------------------------------------------


def input_row(item: int, value: Any) -> tuple[int, bytes, int]:
    """An input: ``item``, ``body`` and ``sum``; the key of its run stands before them."""
    body = _encode(value)
    return item, body, _sum(body, item)


def read_input(row: tuple[Any, ...]) -> PendingItem:
    """The input of the columns ``item``, ``body``, ``sum``.

    Raises:
        CorruptState: The row is not what was written.
    """
    item, body, checksum = row
    _check(isinstance(body, bytes) and _sum(body, item) == checksum, f"the input {item!r} of a run")
    return PendingItem(item, msgspec.json.decode(body))


def step_row(key: int, step: StepRecord) -> StepRow:
    """A step: all columns of the table."""
    body = _encode((step.attempt, step.component, step.started_at, step.ended_at, step.reason, step.outcome))
    return key, step.item, step.step_id, step.status, body, _sum(body, key, step.item, step.step_id, step.status)


def step_of(row: tuple[Any, ...]) -> StepRecord:
    """The record of a step, from all columns.

    Raises:
        CorruptState: The row is not what was written.
    """
    key, item, step_id, status, body, checksum = row
    good = isinstance(body, bytes) and _sum(body, key, item, step_id, status) == checksum
    _check(good, f"the step {step_id!r} of item {item!r}")
    attempt, component, started_at, ended_at, reason, outcome = _decode_step(body)
    if status == "failed":
        outcome = msgspec.convert(outcome, Failure)
    return StepRecord(item, step_id, status, outcome, attempt, reason, component, started_at, ended_at)


def item_row(key: int, item: ItemRecord) -> ItemRow:
    """The end of an item: all columns but its key."""
    body = _encode((item.completed_at, item.result))
    return key, item.item, item.status, body, _sum(body, key, item.item, item.status)


def item_of(row: tuple[Any, ...]) -> ItemRecord:
    """The record of the end of an item, from the columns of `item_row`.

    Raises:
        CorruptState: The row is not what was written.
    """
    key, item, status, body, checksum = row
    good = isinstance(body, bytes) and _sum(body, key, item, status) == checksum
    _check(good, f"the result of item {item!r}")
    completed_at, result = _decode_item(body)
    return ItemRecord(item, status, result, completed_at)


def _sum(body: bytes, *names: object) -> int:
    # The names too: a row that says it is another one is as wrong as one that says something else.
    return zlib.crc32(body, zlib.crc32("|".join(map(str, names)).encode("utf-8", "surrogatepass")))


def _check(good: bool, what: str) -> None:
    if not good:
        raise CorruptState(f"{what} is not what was written: the state file is damaged")
