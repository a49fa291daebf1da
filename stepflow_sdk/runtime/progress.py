"""How far the items of one run are: what of them can be called, what has ended, and who is told."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any, NamedTuple

from stepflow_sdk.flows import Failure
from stepflow_sdk.protocol import BlobId, FlowResult, FlowResultFailed
from stepflow_sdk.runtime.events import ItemEnded, Observer, RunEvent, StepEnded
from stepflow_sdk.runtime.failures import Skipped, flow_result
from stepflow_sdk.runtime.inputs import InputSource
from stepflow_sdk.runtime.items import Item, Plan
from stepflow_sdk.runtime.journal import replay
from stepflow_sdk.runtime.runs import ItemRecord, RunStore, StepRecord

__all__ = ["Job", "Progress", "status_of"]

_WINDOW = 1000
"""Of inputs that come one by one, so many are under way at once: an item that takes long holds up the outcomes of those
behind it, and these wait in memory."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a scheduler has to do.

    Attributes:
        run_id: The run.
        flow_id: What components are told of the flow.
        plan: The flow.
        inputs: Taken one by one, when there is room for another item.
        in_memory: Whether the inputs are all there already. When they come one by one, their number is bounded that
            is under way.
        variables: The variables given with the run.
        max_concurrency: How many steps may be called at once, over all items.
        on_result: Told the index of an item and its outcome.
    """

    run_id: str
    flow_id: BlobId
    plan: Plan
    inputs: InputSource
    in_memory: bool
    variables: Mapping[str, Any]
    max_concurrency: int
    on_result: Callable[[int, FlowResult], None]


class _Result(NamedTuple):
    """The outcome of an item, for whoever started the run."""

    item: int
    result: FlowResult


class Progress:
    """Knows how far the items of a job are.

    Of the steps that can be called it gives always the one of the earliest item, and of that item the one that stands
    first in the flow (section c.2 of the flow format). What has ended is written before anybody is told of it.

    Attributes:
        failed: How many items have failed.
    """

    def __init__(self, job: Job, store: RunStore, observer: Observer | None) -> None:
        self.failed = 0
        self._job = job
        self._store = store
        self._observe = observer
        self._untold: list[RunEvent | _Result] = []
        self._ready: list[tuple[int, int, Item]] = []
        self._active: dict[int, Item] = {}
        self._stored: dict[int, Mapping[str, StepRecord]] = {}
        self._begun = 0

    # ---- what can be done -------------------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        """Whether a step can be called."""
        return bool(self._ready)

    @property
    def waiting(self) -> int:
        """How many steps could be called, and wait for a turn."""
        return len(self._ready)

    @property
    def has_room(self) -> bool:
        """Whether another item can begin; when none can, a worker ends, and that of an earlier item goes on."""
        if self._job.inputs.exhausted:
            return False
        if self._job.in_memory or not self._active:
            return True
        # Items begin in their order, so the first one is the earliest that has not ended.
        return self._begun - next(iter(self._active)) < _WINDOW

    @property
    def untold(self) -> int:
        """How many events wait until what they tell of is safe."""
        return len(self._untold)

    def begin_item(self) -> bool:
        """Begin the next item; False when there is none, or none yet."""
        pending = self._job.inputs.take_now()
        if pending is None:
            return False
        index = pending.item
        self._begun = index + 1
        item = self._job.plan.item(index, pending.input, self._job.variables)
        self._active[index] = item
        if pending.steps:
            self._stored[index] = {step.step_id: step for step in pending.steps}
        self._after(item, item.start())
        return True

    def take(self) -> tuple[Item, int] | None:
        """The next step that can be called, as its item and its index; None when that is not wanted any more."""
        _, index, item = heappop(self._ready)
        return None if item.is_over else (item, index)

    def stored(self, item: Item, step_id: str) -> StepRecord | None:
        """What was kept of a step before the process began."""
        stored = self._stored.get(item.index) if self._stored else None
        return None if stored is None else stored.get(step_id)

    # ---- what has ended ---------------------------------------------------------------------------------------

    def settle(self, item: Item, index: int, outcome: Any) -> None:
        """Know what a step came to, which was written and told by the caller."""
        self._after(item, item.settle(index, outcome))

    def give_up(self) -> None:
        """End the items of which nothing can be called: their steps wait for each other."""
        for item in list(self._active.values()):
            item.give_up()
            self._end_item(item)

    def _after(self, item: Item, ready: list[int]) -> None:
        if self._stored and item.index in self._stored:
            ready = replay(item, ready, self._stored[item.index], self._job.plan)
        for index in ready:
            heappush(self._ready, (item.index, index, item))
        if item.ended_early:
            self._write_ended_early(item)
        if item.done:
            self._end_item(item)

    def _write_ended_early(self, item: Item) -> None:
        ended, item.ended_early = item.ended_early, []
        run_id = self._job.run_id
        now = time.time() if self._store.keeps_steps else None
        for index, end in ended:
            step = self._job.plan.steps[index]
            failure, reason = (None, end.reason) if isinstance(end, Skipped) else (end, None)
            status = "skipped" if failure is None else "failed"
            if now is not None:
                record = StepRecord(item.index, step.id, status, failure, 0, reason, step.component, now, now)
                self._store.write_step(run_id, record)
            if self._observe is not None:
                self.tell(StepEnded(run_id, item.index, step.id, step.component, status, 0.0, failure, reason, 0))

    def _end_item(self, item: Item) -> None:
        if self._active.pop(item.index, None) is None:
            return  # another worker has ended its last step at the same time
        self._stored.pop(item.index, None)
        result = flow_result(item.outcome)
        failed = isinstance(result, FlowResultFailed)
        self.failed += failed
        record = ItemRecord(item.index, "failed" if failed else "completed", result, time.time())
        self._store.end_item(self._job.run_id, record)
        if self._observe is not None:
            self.tell(ItemEnded(self._job.run_id, item.index, result))
        self.tell(_Result(item.index, result))

    # ---- who is told ------------------------------------------------------------------------------------------

    def tell(self, told: "RunEvent | _Result") -> None:
        """Tell of what was written: at once where it is safe already, else behind the next `sync`."""
        if self._store.durable:
            self._untold.append(told)
        else:
            self._tell_now(told)

    def _tell_now(self, told: "RunEvent | _Result") -> None:
        if isinstance(told, _Result):
            self._job.on_result(told.item, told.result)
        elif self._observe is not None:
            self._observe(told)

    async def sync(self) -> None:
        """Wait until what was written is safe, then tell of it."""
        untold, self._untold = self._untold, []
        waiting = self._store.sync()
        if waiting is not None:
            await waiting
        for told in untold:
            self._tell_now(told)


def status_of(outcome: Any) -> str:
    """How a step has ended that came to this."""
    return "skipped" if isinstance(outcome, Skipped) else "failed" if isinstance(outcome, Failure) else "completed"
