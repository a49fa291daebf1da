"""`LocalRuntime`: flows and components, run by this process."""

import os
import uuid
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import anyio
import msgspec

from stepflow_sdk.errors import BlobNotFound, DefinitionError, InvalidValue
from stepflow_sdk.flows import Diagnostic, Flow, TypeReport, load_flow, require_runnable
from stepflow_sdk.flows.diagnostics import DEPRECATED
from stepflow_sdk.protocol import BlobId, BlobType, FlowResult, FlowResultSuccess, ObservabilityContext
from stepflow_sdk.protocol.messages import ComponentInfo
from stepflow_sdk.runtime.assembly import Assembly, Server, from_config, from_servers
from stepflow_sdk.runtime.blob_host import BlobHost
from stepflow_sdk.runtime.blobs import BlobStore, MemoryBlobStore
from stepflow_sdk.runtime.blocking import BlockingRuntime
from stepflow_sdk.runtime.callbacks import CallbackHandler, Callbacks
from stepflow_sdk.runtime.config import Config
from stepflow_sdk.runtime.config_loader import load_config
from stepflow_sdk.runtime.engine import DEFAULT_MAX_CONCURRENCY, Engine, RunOptions
from stepflow_sdk.runtime.events import Observer, all_observers
from stepflow_sdk.runtime.flow_checks import check_routes, check_types
from stepflow_sdk.runtime.given import given_inputs, given_json, given_object, given_text
from stepflow_sdk.runtime.listing import list_components
from stepflow_sdk.runtime.ordering import InOrder
from stepflow_sdk.runtime.plugins.plugin import Host
from stepflow_sdk.runtime.plugins.remote import STEP_SECONDS
from stepflow_sdk.runtime.resuming import ResumedRun, resume_runs
from stepflow_sdk.runtime.retries import RetryPolicy
from stepflow_sdk.runtime.routes import Router
from stepflow_sdk.runtime.run_metrics import RuntimeMetrics
from stepflow_sdk.runtime.runs import RunStore
from stepflow_sdk.runtime.steps import StepCaller
from stepflow_sdk.runtime.stores.memory_runs import MemoryRunStore
from stepflow_sdk.runtime.stores.options import StateOptions
from stepflow_sdk.tracing import find_tracer

if TYPE_CHECKING:
    from stepflow_sdk.runtime.stores.sqlite import SqliteState

__all__ = ["FlowSource", "LocalRuntime"]

FlowSource: TypeAlias = str | os.PathLike[str] | Mapping[str, Any] | Flow
"""The path of a flow's file, its document, or the flow itself."""

_MAX_CHECKED = 1000
"""How many flows are remembered as free of errors."""


class LocalRuntime:
    """Runs flows and calls components in this process.

    Used with ``async with`` it is itself what is used; used with ``with`` it gives a `BlockingRuntime` whose methods
    have the same names and block. Servers start when they are first needed and are stopped at the end.

    Args:
        servers: One server, whose components are called by their own paths (``/greet``), or maps from prefixes to
            servers (``{"text": server}`` for ``/text/greet``). A server is a ``StepflowServer``, which is then served
            in this process, or a command as a list (``["python", "-m", "my_components"]``), which is started as a
            subprocess, or the URL of one that speaks HTTP (``"http://127.0.0.1:8080"``). The builtin components are
            always under ``/builtin/``.
        config: Plugins and routes instead of servers; the path of a configuration works too.
        on_event: Told what happens while flows run; see `RunEvent`.
        max_concurrency: Steps of one run that may be called at once, for runs that say nothing themselves.
        step_timeout: Seconds that a component may take, by default what the configuration says, else an hour; None for
            no limit. Its step then fails with the code -32102.
        retry: How often steps are tried again whose server was lost, and how long is waited before each try; by
            default what the configuration says, else three times.
        blobs: Where blobs are kept; by default in memory.
        runs: Where the state of runs is kept; by default in memory.
        state: The path of a state file that keeps both, or that and how it is used; by default what the configuration
            says. It is opened for this process alone when the runtime starts, which raises `StateError` where it
            cannot be. Runs in it survive the process: see `resume`.
        metrics: Counts what happens, for Prometheus.

    Raises:
        DefinitionError: What is given is not a server, or state is to be kept in two places.
        InvalidConfig: The configuration cannot be used.
    """

    def __init__(
        self,
        *servers: Server | Mapping[str, Server],
        config: Config | str | os.PathLike[str] | None = None,
        on_event: Observer | None = None,
        max_concurrency: int = DEFAULT_MAX_CONCURRENCY,
        step_timeout: float | None = STEP_SECONDS,
        retry: RetryPolicy | None = None,
        blobs: BlobStore | None = None,
        runs: RunStore | None = None,
        state: StateOptions | str | os.PathLike[str] | None = None,
        metrics: RuntimeMetrics | None = None,
    ) -> None:
        if servers and config is not None:
            raise DefinitionError("a runtime has either servers or a configuration, not both")
        if state is not None and (blobs is not None or runs is not None):
            raise DefinitionError("a state file keeps blobs and runs; leave `blobs` and `runs` out, or `state`")
        self._assembly = from_servers(servers, step_timeout) if config is None else _assembly_of(config, step_timeout)
        self._router = Router(self._assembly.routes)
        self._blobs: BlobStore = MemoryBlobStore() if blobs is None else blobs
        self._caller = StepCaller(
            self._router, self._assembly.plugins, self._assembly.retry if retry is None else retry
        )
        self._engine = Engine(
            self._caller,
            self._blobs,
            MemoryRunStore() if runs is None else runs,
            observer=all_observers(on_event, metrics),
            max_concurrency=max(max_concurrency, 1),
        )
        own_stores = blobs is None and runs is None
        self._state = state if state is not None or not own_stores else self._assembly.state
        self._store: SqliteState | None = None
        self._metrics = metrics
        if metrics is not None:
            metrics.watch(self._engine, self._assembly.plugins)
        self._checked: set[str] = set()
        self._exit: AsyncExitStack | None = None
        self._blocking: BlockingRuntime | None = None

    @classmethod
    def from_config(
        cls, config: Config | str | os.PathLike[str] | Mapping[str, Any], *, on_event: Observer | None = None
    ) -> Self:
        """A runtime with the plugins and routes of a configuration: its path, its content, or what was loaded.

        Raises:
            InvalidConfig: It cannot be read or used.
        """
        loaded = config if isinstance(config, Config) else load_config(config)
        return cls(config=loaded, on_event=on_event)

    # ---- its life ---------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._exit is not None:
            raise DefinitionError("this runtime is running already")
        async with AsyncExitStack() as stack:
            if self._state is not None:
                await self._open_state(self._state, stack)
            tasks = await stack.enter_async_context(anyio.create_task_group())
            # Runs end first, then the servers that they used.
            stack.push_async_callback(self._stop_plugins)
            runs = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(runs.cancel_scope.cancel)
            self._caller.tracer = find_tracer()
            told = None if self._metrics is None else self._metrics.call
            callbacks = Callbacks(self._engine, self._caller.tracer, told)
            blob_host = BlobHost(self._blobs, tasks)
            stack.callback(blob_host.stop)
            host = Host(tasks, lambda: CallbackHandler(callbacks, blob_host.url), self._blobs, self._engine)
            for plugin in self._assembly.plugins.values():
                plugin.start(host)
            self._engine.start(runs)
            self._exit = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack, self._exit = self._exit, None
        if stack is not None:
            # What went wrong in the block is not the business of the tasks in here, which would wrap it in groups.
            await stack.aclose()

    async def _open_state(self, options: StateOptions | str | os.PathLike[str], stack: AsyncExitStack) -> None:
        from stepflow_sdk.runtime.stores.sqlite import SqliteState

        state = self._store = await SqliteState.open(options)
        stack.push_async_callback(state.close)
        self._blobs = state.blobs
        self._engine.use_stores(state.blobs, state.runs)
        if self._metrics is not None:
            self._metrics.watch_store(state)
        if state.retention is not None:
            keeper = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(keeper.cancel_scope.cancel)
            keeper.start_soon(state.keep_pruning)

    async def _stop_plugins(self) -> None:
        for plugin in self._assembly.plugins.values():
            await plugin.stop()

    def __enter__(self) -> BlockingRuntime:
        if self._blocking is not None:
            raise DefinitionError("this runtime is running already")
        self._blocking = BlockingRuntime(self)
        return self._blocking.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        blocking, self._blocking = self._blocking, None
        if blocking is not None:
            blocking.__exit__(kind, error, trace)

    # ---- what it does -----------------------------------------------------------------------------------------

    async def execute(self, component: str, input: Any = None, *, run_id: str | None = None) -> Any:
        """Call one component and return its output.

        Args:
            component: Its path, as a flow would name it.
            input: Any JSON value.
            run_id: What the component is told; by default a new id.

        Raises:
            InvalidValue: The input is not JSON, or one of the others is not text.
            ComponentNotFound: There is no such component.
            WireError: The component failed: the class is that of the error's code.
            SkipStep: The component asks that its step be skipped.
            ServerLost: Its server could not be started, or went away.
        """
        self._require_running()
        component = given_text(component, "component")
        path = component if component.startswith("/") else f"/{component}"
        ids = ObservabilityContext(run_id=given_text(run_id or str(uuid.uuid4()), "run_id"))
        return await self._caller.call(path, given_json(input, "input"), ids)

    async def run(
        self,
        flow: FlowSource,
        input: Any = None,
        *,
        variables: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Any] | None = None,
        max_concurrency: int | None = None,
        run_id: str | None = None,
    ) -> FlowResult:
        """Run a flow on one input and return its outcome; ``outcome.unwrap()`` gives the value or raises.

        Args:
            flow: A path, a document or a flow.
            input: Any JSON value.
            variables: The values of the flow's variables.
            overrides: Changes to its steps; see `apply_overrides`.
            max_concurrency: Steps that may be called at once.
            run_id: The run's id, a UUID; by default a new one.

        Raises:
            InvalidFlow: The flow cannot be read, or its checks found an error; nothing has run then.
            InvalidValue: Input, variables or overrides are wrong; nothing has run then.
        """
        results = await self.run_batch(
            flow, [input], variables=variables, overrides=overrides, max_concurrency=max_concurrency, run_id=run_id
        )
        return results[0]

    async def run_batch(
        self,
        flow: FlowSource,
        inputs: Iterable[Any],
        *,
        variables: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Any] | None = None,
        max_concurrency: int | None = None,
        run_id: str | None = None,
    ) -> list[FlowResult]:
        """Run a flow on many inputs and return the outcomes in their order; one that fails does not touch the others.

        Args:
            flow: A path, a document or a flow.
            inputs: JSON values. What is not a list is asked for the next one when there is room for it.
            variables: The values of the flow's variables, for all.
            overrides: Changes to its steps, for all.
            max_concurrency: Steps that may be called at once, over all inputs.
            run_id: The run's id, a UUID; by default a new one.

        Raises:
            InvalidFlow: As for `run`.
            InvalidValue: As for `run`.
        """
        loaded = await self._prepare(flow, inputs)
        options = _options(variables, overrides, max_concurrency, run_id)
        items = list(given_inputs(inputs)) if isinstance(inputs, Sequence) else given_inputs(inputs)
        return [_owned(result) for result in await self._engine.run(loaded, items, options, flow_id=loaded.id)]

    async def run_stream(
        self,
        flow: FlowSource,
        inputs: Iterable[Any],
        on_outcome: Callable[[FlowResult], None],
        *,
        variables: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Any] | None = None,
        max_concurrency: int | None = None,
        run_id: str | None = None,
    ) -> int:
        """Run a flow on more inputs than there is memory for, and return how many of them failed.

        Args:
            flow: A path, a document or a flow.
            inputs: JSON values. The next one is asked for when there is room for it, and at most a thousand are
                under way at once, so what they come from may be endless; it must not block for long.
            on_outcome: Is called with each outcome, in the order of the inputs, as soon as it and those before it
                are there; on the event loop, so it must not block for long. What it raises ends the run.
            variables: The values of the flow's variables, for all.
            overrides: Changes to its steps, for all.
            max_concurrency: Steps that may be called at once, over all inputs.
            run_id: The run's id, a UUID; by default a new one.

        Raises:
            InvalidFlow: As for `run`.
            InvalidValue: As for `run`; for an input, those before it may have run.
        """
        loaded = await self._prepare(flow, inputs)
        options = _options(variables, overrides, max_concurrency, run_id)
        in_order = InOrder(lambda result: on_outcome(_owned(result)))
        await self._engine.run_each(loaded, given_inputs(inputs), options, in_order, flow_id=loaded.id)
        return in_order.failed

    async def resume(
        self, run_ids: Collection[str] | None = None, on_end: Callable[[ResumedRun], None] | None = None
    ) -> list[ResumedRun]:
        """Finish the runs of the state file that the end of another process interrupted; see `resume_runs`.

        Args:
            run_ids: Only these; by default all.
            on_end: Told of each run when it has ended.

        Raises:
            NotFound: One of ``run_ids`` is not known.
        """
        self._require_running()
        return await resume_runs(self._engine, run_ids, on_end)

    async def put_blob(self, data: Any, type: BlobType | str = BlobType.data) -> BlobId:
        """Store a JSON value and return its id, the SHA-256 of its canonical text (section f of the flow format).

        Args:
            data: The value; for ``flow`` a flow's document.
            type: ``data`` or ``flow``.

        Raises:
            InvalidValue: The value is not JSON.
        """
        return await self._blobs.put(given_json(data, "data"), BlobType(type))

    async def get_blob(self, blob_id: str) -> Any:
        """The data of a blob.

        Raises:
            BlobNotFound: There is none with this id.
        """
        blob = await self._blobs.get(blob_id)
        if blob is None:
            raise BlobNotFound(f"there is no blob {blob_id[:80]!r}", data={"blob_id": blob_id})
        return blob.data()

    async def list_components(self) -> list[ComponentInfo]:
        """The components that flows can use, each under every path that a route gives it; servers are started for it.

        Raises:
            ServerLost: A server cannot be reached.
        """
        self._require_running()
        return await list_components(self._router, self._assembly.plugins)

    def check_routes(self, flow: FlowSource) -> list[Diagnostic]:
        """Find the steps of a flow whose component no route serves; the runtime need not be running.

        Raises:
            InvalidFlow: The flow cannot be read.
        """
        return check_routes(load_flow(flow), self._router)

    async def check_types(self, flow: FlowSource, *, strict: bool = False) -> TypeReport:
        """Check what a flow hands from place to place against the schemas that its components report.

        The servers that it needs are started, and asked; see `stepflow_sdk.flows.check_types`.

        Args:
            flow: A path, a document or a flow.
            strict: Make errors of what may go wrong, and warn where nothing can be told.

        Raises:
            InvalidFlow: The flow cannot be read, or has a fatal finding.
            ServerLost: A server cannot be reached.
        """
        self._require_running()
        loaded = load_flow(flow)
        require_runnable(loaded)
        return await check_types(loaded, self._router, self._assembly.plugins, strict=strict)

    @property
    def has_state(self) -> bool:
        """Whether runs are kept in a state file."""
        return self._state is not None

    @property
    def has_failed(self) -> bool:
        """Whether nothing can be kept in the state file any more; another process has to open it."""
        return self._store is not None and self._store.has_failed

    @property
    def engine(self) -> Engine:
        """What runs the flows, for services on top of the runtime."""
        return self._engine

    @property
    def caller(self) -> StepCaller:
        """What calls their components."""
        return self._caller

    async def _prepare(self, source: FlowSource, inputs: Iterable[Any]) -> Flow:
        self._require_running()
        flow = load_flow(source)
        self._check(flow)
        if isinstance(inputs, (str, bytes, Mapping)):
            kind = type(inputs).__name__  # pyright: ignore[reportUnknownArgumentType]  # of whatever is in it
            raise InvalidValue(f"inputs are a list with one input for each item, not an instance of {kind}")
        await self._engine.store_flow(flow)
        return flow

    def _check(self, flow: Flow) -> None:
        if flow.id not in self._checked:
            for finding in require_runnable(flow, refuse_errors=True):
                if finding.code == DEPRECATED[0]:
                    # Shown at the place that called `run`, by the rules of Python, and once for each flow.
                    warnings.warn(str(finding), DeprecationWarning, stacklevel=4)
            if len(self._checked) >= _MAX_CHECKED:
                self._checked.clear()
            self._checked.add(flow.id)

    def _require_running(self) -> None:
        if self._exit is None:
            raise DefinitionError("the runtime is not running: use it inside `async with` (or `with`)")


def _options(
    variables: Mapping[str, Any] | None,
    overrides: Mapping[str, Any] | None,
    max_concurrency: int | None,
    run_id: str | None,
) -> RunOptions:
    return RunOptions(
        variables={} if variables is None else given_object(variables, "variables"),
        overrides=None if overrides is None else given_object(overrides, "overrides"),
        max_concurrency=max_concurrency,
        run_id=run_id,
    )


def _owned(result: FlowResult) -> FlowResult:
    # Parts of a result may be parts of the flow, and what the caller does to them must not change the flow.
    if isinstance(result, FlowResultSuccess):
        result.result = msgspec.to_builtins(result.result)
    return result


def _assembly_of(config: Config | str | os.PathLike[str], step_timeout: float | None) -> Assembly:
    return from_config(config if isinstance(config, Config) else load_config(config), step_timeout)
