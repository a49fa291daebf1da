"""The runtime for programs without an event loop, and for notebooks that have one of their own."""

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from anyio.from_thread import BlockingPortal, start_blocking_portal

from stepflow_sdk.errors import DefinitionError
from stepflow_sdk.flows import Diagnostic, TypeReport
from stepflow_sdk.protocol import BlobId, BlobType, FlowResult
from stepflow_sdk.protocol.messages import ComponentInfo

if TYPE_CHECKING:
    from stepflow_sdk.runtime.local import FlowSource, LocalRuntime
    from stepflow_sdk.runtime.resuming import ResumedRun

__all__ = ["BlockingRuntime"]


class BlockingRuntime:
    """A `LocalRuntime` whose event loop runs in a thread of its own; ``with LocalRuntime(…) as runtime`` gives one.

    Its methods are those of `LocalRuntime`, and block. They may be called from several threads at once.
    """

    def __init__(self, runtime: "LocalRuntime") -> None:
        self._runtime = runtime
        self._exit = ExitStack()
        self._portal: BlockingPortal | None = None

    def __enter__(self) -> "BlockingRuntime":
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal("asyncio"))
            stack.enter_context(portal.wrap_async_context_manager(self._runtime))
            self._portal = portal
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._portal = None
        self._exit.__exit__(kind, error, trace)

    def execute(self, component: str, input: Any = None, *, run_id: str | None = None) -> Any:
        """See `LocalRuntime.execute`."""
        return self._running.call(partial(self._runtime.execute, component, input, run_id=run_id))

    def run(
        self,
        flow: "FlowSource",
        input: Any = None,
        *,
        variables: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Any] | None = None,
        max_concurrency: int | None = None,
        run_id: str | None = None,
    ) -> FlowResult:
        """See `LocalRuntime.run`."""
        run = partial(
            self._runtime.run,
            flow,
            input,
            variables=variables,
            overrides=overrides,
            max_concurrency=max_concurrency,
            run_id=run_id,
        )
        return self._running.call(run)

    def run_batch(
        self,
        flow: "FlowSource",
        inputs: Iterable[Any],
        *,
        variables: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Any] | None = None,
        max_concurrency: int | None = None,
        run_id: str | None = None,
    ) -> list[FlowResult]:
        """See `LocalRuntime.run_batch`."""
        run = partial(
            self._runtime.run_batch,
            flow,
            inputs,
            variables=variables,
            overrides=overrides,
            max_concurrency=max_concurrency,
            run_id=run_id,
        )
        return self._running.call(run)

    def run_stream(
        self,
        flow: "FlowSource",
        inputs: Iterable[Any],
        on_outcome: Callable[[FlowResult], None],
        *,
        variables: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Any] | None = None,
        max_concurrency: int | None = None,
        run_id: str | None = None,
    ) -> int:
        """See `LocalRuntime.run_stream`; ``on_outcome`` is called in the thread of the event loop."""
        run = partial(
            self._runtime.run_stream,
            flow,
            inputs,
            on_outcome,
            variables=variables,
            overrides=overrides,
            max_concurrency=max_concurrency,
            run_id=run_id,
        )
        return self._running.call(run)

    def resume(
        self, run_ids: Collection[str] | None = None, on_end: "Callable[[ResumedRun], None] | None" = None
    ) -> "list[ResumedRun]":
        """See `LocalRuntime.resume`; ``on_end`` is called in the thread of the event loop."""
        return self._running.call(partial(self._runtime.resume, run_ids, on_end))

    def put_blob(self, data: Any, type: BlobType | str = BlobType.data) -> BlobId:
        """See `LocalRuntime.put_blob`."""
        return self._running.call(partial(self._runtime.put_blob, data, type))

    def get_blob(self, blob_id: str) -> Any:
        """See `LocalRuntime.get_blob`."""
        return self._running.call(partial(self._runtime.get_blob, blob_id))

    def list_components(self) -> list[ComponentInfo]:
        """See `LocalRuntime.list_components`."""
        return self._running.call(self._runtime.list_components)

    def check_routes(self, flow: "FlowSource") -> list[Diagnostic]:
        """See `LocalRuntime.check_routes`."""
        return self._runtime.check_routes(flow)

    def check_types(self, flow: "FlowSource", *, strict: bool = False) -> TypeReport:
        """See `LocalRuntime.check_types`."""
        return self._running.call(partial(self._runtime.check_types, flow, strict=strict))

    @property
    def _running(self) -> BlockingPortal:
        if self._portal is None:
            raise DefinitionError("the runtime is not running: use it inside `with`")
        return self._portal
