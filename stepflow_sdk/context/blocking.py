"""The context of ``def`` components."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Literal, TypeVar, overload

from stepflow_sdk.context.asynchronous import AnyFlow, BlobKind, StepflowContext
from stepflow_sdk.context.base import Call, ContextBase, State
from stepflow_sdk.protocol import BlobId
from stepflow_sdk.protocol.messages import BatchDetails, BatchOutputInfo
from stepflow_sdk.protocol.runs import RunStatusProtocol

__all__ = ["BlockingContext"]

T = TypeVar("T")


class BlockingContext(ContextBase[State]):
    """What a ``def`` component can ask of the runtime that runs it: `StepflowContext`, call by call, blocking.

    A parameter annotated ``BlockingContext`` or ``BlockingContext[State]`` receives it. The calls block the
    component's own worker thread and nothing else.
    """

    __stepflow_injectable__: ClassVar[Literal["async", "thread"]] = "thread"

    def __init__(
        self,
        call: Call,
        loop: asyncio.AbstractEventLoop,
        waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        super().__init__(call)
        self._waiting = waiting
        self._async: StepflowContext[State] = StepflowContext(call)
        self._loop = loop

    def put_blob(self, data: Any, blob_type: BlobKind = "data") -> BlobId:
        """See `StepflowContext.put_blob`."""
        return self._wait(self._async.put_blob(data, blob_type))

    @overload
    def get_blob(self, blob_id: str) -> Any: ...
    @overload
    def get_blob(self, blob_id: str, *, type: type[T]) -> T: ...
    def get_blob(self, blob_id: str, *, type: Any = Any) -> Any:
        """See `StepflowContext.get_blob`."""
        return self._wait(self._async.get_blob(blob_id, type=type))

    @overload
    def evaluate_flow(self, flow: AnyFlow, input: Any) -> Any: ...
    @overload
    def evaluate_flow(self, flow: AnyFlow, input: Any, *, type: type[T]) -> T: ...
    def evaluate_flow(self, flow: AnyFlow, input: Any, *, type: Any = Any) -> Any:
        """See `StepflowContext.evaluate_flow`."""
        return self._wait(self._async.evaluate_flow(flow, input, type=type))

    @overload
    def evaluate_flow_by_id(self, flow_id: str, input: Any) -> Any: ...
    @overload
    def evaluate_flow_by_id(self, flow_id: str, input: Any, *, type: type[T]) -> T: ...
    def evaluate_flow_by_id(self, flow_id: str, input: Any, *, type: Any = Any) -> Any:
        """See `StepflowContext.evaluate_flow_by_id`."""
        return self._wait(self._async.evaluate_flow_by_id(flow_id, input, type=type))

    def get_metadata(self, step_id: str | None = None) -> dict[str, Any]:
        """See `StepflowContext.get_metadata`."""
        return self._wait(self._async.get_metadata(step_id))

    def submit_batch(self, flow: AnyFlow, inputs: Iterable[Any], max_concurrency: int | None = None) -> str:
        """See `StepflowContext.submit_batch`."""
        return self._wait(self._async.submit_batch(flow, inputs, max_concurrency))

    def submit_batch_by_id(self, flow_id: str, inputs: Iterable[Any], max_concurrency: int | None = None) -> str:
        """See `StepflowContext.submit_batch_by_id`."""
        return self._wait(self._async.submit_batch_by_id(flow_id, inputs, max_concurrency))

    def get_batch(
        self, batch_id: str, wait: bool = False, include_results: bool = False
    ) -> tuple[BatchDetails, list[BatchOutputInfo] | None]:
        """See `StepflowContext.get_batch`."""
        return self._wait(self._async.get_batch(batch_id, wait, include_results))

    def evaluate_batch(self, flow: AnyFlow, inputs: Iterable[Any], max_concurrency: int | None = None) -> list[Any]:
        """See `StepflowContext.evaluate_batch`."""
        return self._wait(self._async.evaluate_batch(flow, inputs, max_concurrency))

    def evaluate_batch_by_id(
        self, flow_id: str, inputs: Iterable[Any], max_concurrency: int | None = None
    ) -> list[Any]:
        """See `StepflowContext.evaluate_batch_by_id`."""
        return self._wait(self._async.evaluate_batch_by_id(flow_id, inputs, max_concurrency))

    def submit_run(
        self,
        flow: AnyFlow,
        inputs: Iterable[Any],
        *,
        wait: bool = False,
        max_concurrency: int | None = None,
        overrides: Mapping[str, Any] | None = None,
        timeout_secs: int | None = None,
    ) -> RunStatusProtocol:
        """See `StepflowContext.submit_run`."""
        return self._wait(
            self._async.submit_run(
                flow,
                inputs,
                wait=wait,
                max_concurrency=max_concurrency,
                overrides=overrides,
                timeout_secs=timeout_secs,
            )
        )

    def submit_run_by_id(
        self,
        flow_id: str,
        inputs: Iterable[Any],
        *,
        wait: bool = False,
        max_concurrency: int | None = None,
        overrides: Mapping[str, Any] | None = None,
        timeout_secs: int | None = None,
    ) -> RunStatusProtocol:
        """See `StepflowContext.submit_run_by_id`."""
        return self._wait(
            self._async.submit_run_by_id(
                flow_id,
                inputs,
                wait=wait,
                max_concurrency=max_concurrency,
                overrides=overrides,
                timeout_secs=timeout_secs,
            )
        )

    def get_run(
        self,
        run_id: str,
        *,
        wait: bool = False,
        include_results: bool = False,
        result_order: Literal["by_index", "by_completion"] = "by_index",
        timeout_secs: int | None = None,
    ) -> RunStatusProtocol:
        """See `StepflowContext.get_run`."""
        return self._wait(
            self._async.get_run(
                run_id,
                wait=wait,
                include_results=include_results,
                result_order=result_order,
                timeout_secs=timeout_secs,
            )
        )

    def end(self) -> None:
        """Close the context; the server does this when the component has ended."""
        super().end()
        self._async.end()

    def _wait(self, call: Coroutine[Any, Any, T]) -> T:
        # What is waited for may need a thread too: a flow whose steps are components of this very server.
        with self._waiting():
            return asyncio.run_coroutine_threadsafe(call, self._loop).result()
