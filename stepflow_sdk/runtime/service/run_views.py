"""Records of runs in the words of the REST API."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import UNSET

from stepflow_sdk.protocol import FlowResult, FlowResultSkipped
from stepflow_sdk.protocol.runs import ItemStatistics
from stepflow_sdk.runtime.failures import flow_result
from stepflow_sdk.runtime.runs import ItemRecord, RunRecord, StepRecord
from stepflow_sdk.runtime.service.messages import ItemDetails, ItemResult, RunState, StepRun, StepState, StepStatusInfo

__all__ = ["item_details", "item_results", "step_runs", "summary_fields", "time_text"]

_WORST: Final = ("failed", "running", "skipped", "completed")
"""What is told of a step of many items: the first of these that one of them has."""

_RUN_STATES: Final[dict[str, RunState]] = {
    "running": "running",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
}
_STEP_STATES: Final[dict[str, StepState]] = {
    "running": "running",
    "completed": "completed",
    "failed": "failed",
    "skipped": "skipped",
}


def time_text(seconds: float) -> str:
    """A time in seconds since 1970 as RFC 3339 has it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def summary_fields(run: RunRecord) -> dict[str, Any]:
    """The fields of a `RunSummary`."""
    ended = run.completed + run.failed
    total = ended if run.items is None else run.items
    left = max(total - ended, 0)
    is_over = run.status != "running"
    return {
        "run_id": run.run_id,
        "flow_id": run.flow_id,
        "flow_name": run.flow_name,
        "status": _RUN_STATES.get(run.status, "failed"),
        "items": ItemStatistics(
            total=total,
            completed=run.completed,
            running=0 if is_over else left,
            failed=run.failed,
            cancelled=left if is_over else 0,
        ),
        "created_at": time_text(run.created_at),
        "completed_at": None if run.completed_at is None else time_text(run.completed_at),
        "root_run_id": run.root_run_id or run.run_id,
        "parent_run_id": run.parent_run_id or UNSET,
    }


def item_results(run: RunRecord, ended: Sequence[ItemRecord]) -> list[ItemResult]:
    """Every item by its index, those that run still, or were cancelled, without an outcome."""
    by_index = {record.item: record for record in ended}
    count = max(run.items or 0, max(by_index, default=-1) + 1)
    return [_item_result(run, index, by_index.get(index)) for index in range(count)]


def _item_result(run: RunRecord, index: int, record: ItemRecord | None) -> ItemResult:
    if record is None:
        return ItemResult(index, "running" if run.status == "running" else "cancelled")
    return ItemResult(index, _RUN_STATES.get(record.status, "failed"), record.result, time_text(record.completed_at))


def item_details(
    run: RunRecord, inputs: Sequence[Any], ended: Sequence[ItemRecord], steps: Sequence[StepRecord]
) -> list[ItemDetails]:
    """Every item whose input is kept, with the states of its steps."""
    by_item: dict[int, dict[str, StepState]] = {}
    for step in steps:
        by_item.setdefault(step.item, {})[step.step_id] = _step_state(run, step)
    by_index = {record.item: record for record in ended}
    details: list[ItemDetails] = []
    for index, value in enumerate(inputs):
        item = _item_result(run, index, by_index.get(index))
        told = [StepStatusInfo(step_id, status) for step_id, status in by_item.get(index, {}).items()]
        details.append(ItemDetails(index, value, item.status, told, item.completed_at))
    return details


def step_runs(run: RunRecord, steps: Sequence[StepRecord], *, with_results: bool) -> dict[str, StepRun]:
    """The steps that have begun by their ids; of many items the worst state."""
    found: dict[str, StepRun] = {}
    for step in steps:
        state = _step_state(run, step)
        known = found.get(step.step_id)
        if with_results:
            result = None if state == "running" else _result(step)
            found[step.step_id] = StepRun(step.step_id, step.component, state, step.attempt, result)
        elif known is None or _WORST.index(state) < _WORST.index(known.status):
            found[step.step_id] = StepRun(step.step_id, step.component, state)
    return found


def _step_state(run: RunRecord, step: StepRecord) -> StepState:
    state = _STEP_STATES.get(step.status, "failed")
    # A step that was under way when its run was cancelled never ends.
    return "failed" if state == "running" and run.status != "running" else state


def _result(step: StepRecord) -> FlowResult:
    return FlowResultSkipped(step.reason) if step.status == "skipped" else flow_result(step.outcome)
