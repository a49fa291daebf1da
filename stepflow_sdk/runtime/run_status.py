"""The state of a run in the words of ``runs/get`` and ``flows/get_batch``."""

from collections.abc import Sequence
from datetime import UTC, datetime

from stepflow_sdk.protocol import BlobId
from stepflow_sdk.protocol.messages import BatchDetails, BatchOutputInfo, GetBatchResult
from stepflow_sdk.protocol.runs import ItemResult, ItemStatistics, RunStatusProtocol
from stepflow_sdk.runtime.runs import ItemRecord, RunRecord

__all__ = ["batch_status", "run_statistics", "run_status"]


def run_status(
    run: RunRecord, items: Sequence[ItemRecord] | None = None, *, by_completion: bool = False
) -> RunStatusProtocol:
    """The answer to ``runs/submit`` and ``runs/get``, with the results of the items where these are given."""
    results = None
    if items is not None:
        ordered = items if by_completion else sorted(items, key=lambda item: item.item)
        results = [ItemResult(item.item, item.status, item.result, _time(item.completed_at)) for item in ordered]
    return RunStatusProtocol(
        run_id=run.run_id,
        flow_id=BlobId(run.flow_id),
        flow_name=run.flow_name,
        status=run.status,
        items=run_statistics(run, items),
        created_at=_time(run.created_at),
        completed_at=None if run.completed_at is None else _time(run.completed_at),
        results=results,
    )


def batch_status(run: RunRecord, items: Sequence[ItemRecord] | None = None) -> GetBatchResult:
    """The answer to ``flows/get_batch``: a batch is a run with many inputs, and its id that of the run."""
    counts = run_statistics(run, items)
    details = BatchDetails(
        batch_id=run.run_id,
        flow_id=BlobId(run.flow_id),
        flow_name=run.flow_name,
        total_runs=counts.total,
        status=run.status,
        created_at=_time(run.created_at),
        completed_at=None if run.completed_at is None else _time(run.completed_at),
        completed_runs=counts.completed,
        running_runs=counts.running,
        failed_runs=counts.failed,
        cancelled_runs=counts.cancelled,
        paused_runs=0,
    )
    if items is None:
        return GetBatchResult(details)
    ordered = sorted(items, key=lambda item: item.item)
    return GetBatchResult(details, [BatchOutputInfo(item.item, item.status, item.result) for item in ordered])


def run_statistics(run: RunRecord, items: Sequence[ItemRecord] | None = None) -> ItemStatistics:
    """How many items of a run are in which state; by the items that have ended where these are at hand."""
    failed = run.failed if items is None else sum(item.status == "failed" for item in items)
    ended = run.completed + run.failed if items is None else len(items)
    total = ended if run.items is None else run.items
    left = total - ended
    cancelled = run.status == "cancelled"
    return ItemStatistics(
        total=total,
        completed=ended - failed,
        running=0 if cancelled else left,
        failed=failed,
        cancelled=left if cancelled else 0,
    )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
