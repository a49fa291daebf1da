"""The engine: runs flows, and knows those that are running."""

import logging
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import msgspec
from anyio.abc import TaskGroup

from stepflow_sdk.errors import InvalidFlow, InvalidValue, NotFound, ResourceUnavailable
from stepflow_sdk.flows import Flow, parse_flow, require_runnable
from stepflow_sdk.protocol import BlobId, BlobType, FlowResult
from stepflow_sdk.runtime.blobs import BlobStore
from stepflow_sdk.runtime.events import Observer, RunEnded, RunStarted
from stepflow_sdk.runtime.inputs import GivenInputs, InputSource, StoredInputs
from stepflow_sdk.runtime.items import Plan
from stepflow_sdk.runtime.overrides import apply_overrides
from stepflow_sdk.runtime.plans import make_plan
from stepflow_sdk.runtime.redaction import SECRETS, holding, secrets_of
from stepflow_sdk.runtime.runs import RunRecord, RunStore
from stepflow_sdk.runtime.scheduler import Job, Scheduler
from stepflow_sdk.runtime.steps import StepCaller

__all__ = ["DEFAULT_MAX_CONCURRENCY", "Engine", "RunOptions"]

_log = logging.getLogger("stepflow_sdk.runtime")

DEFAULT_MAX_CONCURRENCY = 10
"""Steps of one run that may be called at once (section c.2 of the flow format)."""

MAX_NESTING = 64
"""How deep runs may start runs: a flow that evaluates itself for ever fails instead of filling the memory."""

_MAX_PLANS = 256


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a flow is run.

    Attributes:
        variables: Values of its variables, for all items.
        overrides: Changes to its steps; see `apply_overrides`.
        max_concurrency: Steps that may be called at once over all items; below 1 counts as 1.
        run_id: The id of the run, a UUID; by default a new one.
        parent_run_id: The run on whose behalf it runs.
        attached: Whether whoever starts it waits for it and would start it again; see `RunRecord`.
    """

    variables: Mapping[str, Any] = field(default_factory=dict[str, Any])
    overrides: Mapping[str, Any] | None = None
    max_concurrency: int | None = None
    run_id: str | None = None
    parent_run_id: str | None = None
    attached: bool = False


class _Active:
    """A run that has not ended."""

    __slots__ = ("children", "depth", "ended", "root", "scheduler", "scope", "secrets")

    def __init__(self, root: str, depth: int) -> None:
        self.root = root
        self.depth = depth
        self.scope = anyio.CancelScope()
        self.ended = anyio.Event()
        self.children: set[str] = set()
        self.secrets: tuple[str, ...] = ()
        self.scheduler: Scheduler | None = None


class Engine:
    """Runs flows.

    Args:
        caller: Calls their components.
        blobs: Where flows and data are kept.
        runs: Where the state of runs is kept.
        observer: Told what happens.
        max_concurrency: For runs that say nothing themselves.
    """

    def __init__(
        self,
        caller: StepCaller,
        blobs: BlobStore,
        runs: RunStore,
        *,
        observer: Observer | None = None,
        max_concurrency: int = DEFAULT_MAX_CONCURRENCY,
    ) -> None:
        self.blobs = blobs
        self.runs = runs
        self._caller = caller
        self._observe = observer
        self._max_concurrency = max_concurrency
        self._active: dict[str, _Active] = {}
        # Of runs that were interrupted and wait for their turn: who waits for their end, and which are not wanted.
        self._resuming = 0
        self._awaited: dict[str, anyio.Event] = {}
        self._unwanted: set[str] = set()
        self._plans: dict[str, Plan] = {}
        self._tasks: TaskGroup | None = None

    def use_stores(self, blobs: BlobStore, runs: RunStore) -> None:
        """Keep blobs and runs elsewhere from now on; before anything runs."""
        self.blobs = blobs
        self.runs = runs
        self._plans.clear()

    def start(self, tasks: TaskGroup) -> None:
        """Have runs that nobody waits for run in these tasks."""
        self._tasks = tasks

    # ---- flows ------------------------------------------------------------------------------------------------

    async def store_flow(self, flow: Flow) -> BlobId:
        """Keep a flow as a blob, so that components can ask for it; returns its id."""
        if flow.id not in self._plans:
            await self.blobs.put(flow.to_json(), BlobType.flow)
            self._remember(flow.id, make_plan(flow))
        return BlobId(flow.id)

    async def flow(self, flow_id: str) -> Flow:
        """The stored flow with this id.

        Raises:
            NotFound: There is no such blob.
            InvalidValue: The blob is no flow, or one that fails its checks.
        """
        plan = self._plans.get(flow_id)
        if plan is not None:
            return plan.flow
        blob = await self.blobs.get(flow_id)
        if blob is None:
            raise NotFound(f"there is no flow with the id {flow_id[:80]!r}", data={"kind": "flow", "id": flow_id})
        try:
            flow = parse_flow(blob.data())
            require_runnable(flow)
        except InvalidFlow as error:
            data = {"field": "flow_id", "diagnostics": error.diagnostics}
            raise InvalidValue(f"the blob {flow_id} is no flow that can be run: {error}", data=data) from None
        # Under the id of the blob: that of the flow itself is another one when the document is not in normal form.
        self._remember(flow_id, make_plan(flow))
        return flow

    def _remember(self, flow_id: str, plan: Plan) -> None:
        self._plans[flow_id] = plan
        while len(self._plans) > _MAX_PLANS:
            del self._plans[next(iter(self._plans))]

    # ---- runs -------------------------------------------------------------------------------------------------

    async def run(
        self, flow: Flow, inputs: Iterable[Any], options: RunOptions, *, flow_id: str | None = None
    ) -> list[FlowResult]:
        """Run a flow on inputs; cancelling this ends the run and the calls of its components.

        Where runs outlive the process, a run that is ended so can be resumed; `cancel` ends it for good.

        Args:
            flow: The flow; only what refers to steps that it has can be run, see `require_runnable`.
            inputs: One item each. An iterator is asked for the next one when there is room for it.
            options: How.
            flow_id: What components are told; by default the flow's own id.

        Returns:
            The outcomes in the order of the inputs.

        Raises:
            InvalidValue: The overrides do not fit the flow, or the run id is taken.
            InvalidFlow: The flow is none any more with its overrides.
            ResourceUnavailable: Runs are nested deeper than 64 levels, or `cancel` was called.
        """
        results: dict[int, FlowResult] = {}
        await self.run_each(flow, inputs, options, results.__setitem__, flow_id=flow_id)
        return [results[index] for index in range(len(results))]

    async def run_each(
        self,
        flow: Flow,
        inputs: Iterable[Any],
        options: RunOptions,
        on_result: Callable[[int, FlowResult], None],
        *,
        flow_id: str | None = None,
    ) -> None:
        """Run a flow on inputs and tell the index of each and its outcome when it ends; see `run`."""
        accepted = await self._accept(flow, inputs, options, flow_id)
        if await self._execute(accepted, on_result) == "cancelled":
            raise ResourceUnavailable(f"the run {accepted.record.run_id} was cancelled")

    async def submit(
        self, flow: Flow, inputs: Sequence[Any], options: RunOptions, *, flow_id: str | None = None
    ) -> str:
        """Start a run and return its id at once; see `run`."""
        if self._tasks is None:
            raise ResourceUnavailable("the runtime is not running")
        accepted = await self._accept(flow, inputs, options, flow_id)
        self._tasks.start_soon(self._execute_alone, accepted)
        return accepted.record.run_id

    async def run_nested(
        self, flow: Flow, inputs: Sequence[Any], *, parent_run_id: str | None, max_concurrency: int | None = None
    ) -> list[FlowResult]:
        """See `FlowRunner.run_nested`; a nested run has a limit of its own, so it never waits for its parent's."""
        await self.store_flow(flow)
        options = RunOptions(max_concurrency=max_concurrency, parent_run_id=parent_run_id, attached=True)
        return await self.run(flow, inputs, options)

    async def resume(self, record: RunRecord) -> str:
        """Finish a run that the end of another process interrupted, and return its status; see `resume_runs`.

        Args:
            record: The run, whole, as `RunStore.unfinished` gives it; one that this process is not at.

        Raises:
            NotFound: Its flow is not kept.
            InvalidValue: Its flow cannot be run.
        """
        if record.attached or record.run_id in self._unwanted:
            await self._end_run(record, "cancelled")
            self._tell_awaiting(record.run_id)
            return "cancelled"
        # Before anything is waited for: a run is resumed once.
        active = self._active[record.run_id] = _Active(record.root_run_id, record.depth)
        try:
            flow = await self.flow(record.flow_id)
            changed = apply_overrides(flow, record.overrides)
        except BaseException:
            self._end(record, active, "running")
            raise
        plan = self._plans[record.flow_id] if changed is flow else make_plan(changed)
        inputs = StoredInputs(self.runs, record.run_id)
        return await self._execute(_Accepted(record, plan, inputs, in_memory=False), _nobody)

    @property
    def active_runs(self) -> int:
        """How many runs this process is at."""
        return len(self._active)

    @property
    def waiting_steps(self) -> int:
        """How many of their steps could be called, and wait for a turn."""
        # Copied, for metrics may be read in another thread.
        active = list(self._active.values())
        return sum(run.scheduler.waiting for run in active if run.scheduler is not None)

    def is_active(self, run_id: str) -> bool:
        """Whether this process is at a run."""
        return run_id in self._active

    @contextmanager
    def resuming(self) -> Generator[None, None, None]:
        """While this lasts, runs that have not ended and are not active can be waited for, and cancelled."""
        self._resuming += 1
        try:
            yield
        finally:
            self._resuming -= 1
            if not self._resuming:
                self._unwanted.clear()
                for run_id in list(self._awaited):
                    self._tell_awaiting(run_id)

    async def wait(self, run_id: str, timeout: float | None = None) -> bool:
        """Wait for the end of a run; False when it still runs after ``timeout`` seconds."""
        active = self._active.get(run_id)
        if active is None and not self._resuming:
            return True
        with anyio.move_on_after(timeout):
            if active is not None:
                await active.ended.wait()
                return True
            record = await self.runs.get(run_id)
            if record is not None and record.status == "running" and self._resuming:
                await self._awaited.setdefault(run_id, anyio.Event()).wait()
            return True
        return False

    def cancel(self, run_id: str) -> bool:
        """Cancel a run and those that it has started; False when it is not running."""
        active = self._active.get(run_id)
        if active is not None:
            active.scope.cancel()
        elif self._resuming:
            self._unwanted.add(run_id)
        return active is not None or self._resuming > 0

    # ---- inside -----------------------------------------------------------------------------------------------

    async def _accept(self, flow: Flow, inputs: Iterable[Any], options: RunOptions, flow_id: str | None) -> "_Accepted":
        changed = apply_overrides(flow, options.overrides)
        parent = self._active.get(options.parent_run_id) if options.parent_run_id is not None else None
        depth = 0 if parent is None else parent.depth + 1
        if depth > MAX_NESTING:
            raise ResourceUnavailable(f"runs are nested deeper than {MAX_NESTING} levels", data={"limit": MAX_NESTING})
        known_id = flow_id or flow.id
        plan = self._plans.get(known_id) if changed is flow else None
        limit = self._max_concurrency if options.max_concurrency is None else max(options.max_concurrency, 1)
        run_id = options.run_id or str(uuid.uuid4())
        record = RunRecord(
            run_id=run_id,
            flow_id=known_id,
            flow_name=flow.name,
            items=None,
            created_at=time.time(),
            variables=dict(options.variables) or None,
            secrets=tuple(
                name for name in options.variables if name in flow.variables and flow.variables[name].is_secret
            ),
            overrides=None if options.overrides is None else dict(options.overrides),
            max_concurrency=limit,
            parent_run_id=options.parent_run_id,
            root_run_id=run_id if parent is None else parent.root,
            depth=depth,
            attached=options.attached,
        )
        if run_id in self._active:
            raise InvalidValue(f"there is a run {run_id} already", data={"field": "run_id"})
        self._active[run_id] = _Active(record.root_run_id, depth)
        try:
            count = await self.runs.create(record, inputs)
        except BaseException:
            del self._active[run_id]
            raise
        if parent is not None:
            parent.children.add(run_id)
        in_memory = isinstance(inputs, Sequence)
        # What a store has read to its end is taken from there.
        source = GivenInputs(inputs) if in_memory or count is None else StoredInputs(self.runs, run_id)
        return _Accepted(msgspec.structs.replace(record, items=count), plan or make_plan(changed), source, in_memory)

    async def _execute_alone(self, accepted: "_Accepted") -> None:
        try:
            await self._execute(accepted, _nobody)
        except ResourceUnavailable as error:  # the store keeps nothing any more, or not now
            _log.error("the run %s was interrupted: %s", accepted.record.run_id, error)
        except Exception:  # nobody waits for it, and its end must not be that of the runtime
            _log.exception("the run %s ended with a bug", accepted.record.run_id)

    async def _execute(self, accepted: "_Accepted", on_result: Callable[[int, FlowResult], None]) -> str:
        record = accepted.record
        active = self._active[record.run_id]
        job = Job(
            run_id=record.run_id,
            flow_id=BlobId(record.flow_id),
            plan=accepted.plan,
            inputs=accepted.inputs,
            in_memory=accepted.in_memory,
            variables=record.variables or {},
            max_concurrency=record.max_concurrency or self._max_concurrency,
            on_result=on_result,
        )
        scheduler = active.scheduler = Scheduler(job, self._caller, self.runs, self._observe)
        began = time.perf_counter()
        # A nested run gets its input from a run that may have put its secrets there.
        parent = self._active.get(record.parent_run_id or "")
        active.secrets = (*secrets_of(record), *(() if parent is None else parent.secrets))
        token = SECRETS.set(active.secrets)
        self._tell_start(record)
        status = None
        broken = False
        try:
            with active.scope, holding(active.secrets):
                await self._run(scheduler, record)
                status = "failed" if scheduler.failed or record.failed else "completed"
        except Exception:
            broken = True
            raise
        finally:
            SECRETS.reset(token)
            status = status or self._status_of_broken(record, cancelled=active.scope.cancel_called, failed=broken)
            try:
                await self._end_run(record, status)
            finally:
                self._end(record, active, status)
            if self._observe is not None:
                self._observe(RunEnded(record.run_id, status, time.perf_counter() - began))
        return status

    async def _run(self, scheduler: Scheduler, record: RunRecord) -> None:
        tracer = self._caller.tracer
        if tracer is None:
            await scheduler.run()
            return
        attributes = {
            "stepflow.run_id": record.run_id,
            "stepflow.flow_id": record.flow_id,
            "stepflow.flow_name": record.flow_name,
            "stepflow.items": record.items,
            "stepflow.parent_run_id": record.parent_run_id,
        }
        # The parent is what is current here: a step, what a component sent with its call, or something of the caller's.
        span = tracer.start(f"flow {record.flow_name or record.flow_id[:12]}", attributes)
        with tracer.current(span):
            await scheduler.run()
            if scheduler.failed:
                tracer.fail(span, f"{scheduler.failed} of the items failed")

    def _status_of_broken(self, record: RunRecord, *, cancelled: bool, failed: bool) -> str:
        """The status of a run that did not come to its end.

        Where runs outlive the process, what ends one from outside leaves it to be resumed; to be over it has to be
        cancelled by its id. Runs that a step waits for are no longer waited for.
        """
        if self.runs.durable and not cancelled and not record.attached:
            return "interrupted"
        return "failed" if failed and not cancelled else "cancelled"

    async def _end_run(self, record: RunRecord, status: str) -> None:
        if status != "interrupted":
            self.runs.end_run(record.run_id, status, time.time())
            waiting = self.runs.sync()
            if waiting is not None:
                with anyio.CancelScope(shield=True):
                    await waiting

    def _tell_start(self, record: RunRecord) -> None:
        if self._observe is not None:
            self._observe(
                RunStarted(record.run_id, record.flow_id, record.flow_name, record.items, record.parent_run_id)
            )

    def _end(self, record: RunRecord, active: _Active, status: str) -> None:
        del self._active[record.run_id]
        parent = self._active.get(record.parent_run_id or "")
        if parent is not None:
            parent.children.discard(record.run_id)
        if status == "cancelled":
            for child in list(active.children):
                self.cancel(child)
        active.ended.set()
        self._tell_awaiting(record.run_id)

    def _tell_awaiting(self, run_id: str) -> None:
        awaited = self._awaited.pop(run_id, None)
        if awaited is not None:
            awaited.set()


def _nobody(index: int, result: FlowResult) -> None:
    """Takes the outcomes that nobody waits for."""


@dataclass(frozen=True, slots=True)
class _Accepted:
    record: RunRecord
    plan: Plan
    inputs: InputSource
    in_memory: bool
