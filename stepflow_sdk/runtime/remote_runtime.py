"""`RemoteRuntime`: flows, run by a service at a URL."""

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import anyio
import msgspec

from stepflow_sdk.errors import DefinitionError, InvalidValue, StepflowError
from stepflow_sdk.flows import Flow, load_flow, require_runnable
from stepflow_sdk.flows.values import plain
from stepflow_sdk.protocol import FlowResult, FlowResultFailed
from stepflow_sdk.runtime.engine import DEFAULT_MAX_CONCURRENCY
from stepflow_sdk.runtime.local import FlowSource
from stepflow_sdk.runtime.overrides import apply_overrides
from stepflow_sdk.runtime.remote_service import RemoteService, RunState

__all__ = ["RemoteRuntime"]

_API: Final = "/api/v1"
_CHUNK_INPUTS: Final = 500
_CHUNK_BYTES: Final = 1024 * 1024
"""Of many inputs, so many go into one run: the orchestrators take requests of 2 MiB."""

_CANCEL_SECONDS: Final = 5.0


class RemoteRuntime:
    """Runs flows on a service with the REST API: ``stepflow-sdk serve``, or an orchestrator 0.9, 0.10 or 0.11.

    Its methods are those of `LocalRuntime`. It is used with ``async with``; a run whose wait is cancelled is cancelled.

    Args:
        url: Where the service is, ``http://localhost:7837``, with or without ``/api/v1``.
        token: Sent as ``Authorization: Bearer TOKEN``.
        max_concurrency: Steps of one run that may be called at once, for runs that say nothing themselves. It is told
            to the service, for 0.9 and 0.10 would run the steps of one input one by one.
        on_run: Told the id of each run that was accepted.
        cancels: Whether a run whose wait is cancelled is cancelled.

    Raises:
        DefinitionError: The URL is none.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        max_concurrency: int = DEFAULT_MAX_CONCURRENCY,
        on_run: Callable[[str], None] | None = None,
        cancels: bool = True,
    ) -> None:
        self._url = _checked(url)
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._max_concurrency = max(max_concurrency, 1)
        self._on_run = on_run
        self._cancels = cancels
        self._exit: AsyncExitStack | None = None
        self._service: RemoteService | None = None

    async def __aenter__(self) -> Self:
        from stepflow_sdk.transports.rest_client import open_rest

        if self._exit is not None:
            raise DefinitionError("this runtime is in use already")
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(open_rest(f"{self._url}{_API}", headers=self._headers))
            self._service = RemoteService(client, await client.call("GET", "/health", timeout=_CANCEL_SECONDS * 2))
            self._exit = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack, self._exit, self._service = self._exit, None, None
        if stack is not None:
            await stack.aclose()

    async def run(
        self,
        flow: FlowSource,
        input: Any = None,
        *,
        variables: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Any] | None = None,
        max_concurrency: int | None = None,
    ) -> FlowResult:
        """Run a flow on one input; see `LocalRuntime.run`.

        Raises:
            InvalidFlow: The flow cannot be read, or the service refuses it.
            InvalidValue: The service refuses the input, the variables or the overrides.
            ServerLost: The service cannot be reached.
            ServerError: It fails, or is none.
        """
        results = await self.run_batch(
            flow, [input], variables=variables, overrides=overrides, max_concurrency=max_concurrency
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
    ) -> list[FlowResult]:
        """Run a flow on many inputs; see `LocalRuntime.run_batch`."""
        results: list[FlowResult] = []
        await self.run_stream(
            flow,
            inputs,
            results.append,
            variables=variables,
            overrides=overrides,
            max_concurrency=max_concurrency,
        )
        return results

    async def run_stream(
        self,
        flow: FlowSource,
        inputs: Iterable[Any],
        on_outcome: Callable[[FlowResult], None],
        *,
        variables: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Any] | None = None,
        max_concurrency: int | None = None,
    ) -> int:
        """Run a flow on any number of inputs, some hundreds in each run; see `LocalRuntime.run_stream`."""
        service = self._running
        flow_id = await service.store(_checked_flow(flow, overrides))
        failed = 0
        for chunk in _chunks(inputs):
            state = await self._start(flow_id, chunk, variables, overrides, max_concurrency)
            async with self._cancelled_with_the_wait(state):
                state = await service.wait(state)
            for result in await service.outcomes(state, len(chunk)):
                failed += isinstance(result, FlowResultFailed)
                on_outcome(result)
        return failed

    async def submit(
        self,
        flow: FlowSource,
        inputs: Sequence[Any],
        *,
        variables: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Any] | None = None,
        max_concurrency: int | None = None,
    ) -> RunState:
        """Start one run on all the inputs, and return its id and state; an orchestrator 0.9 answers at its end."""
        flow_id = await self._running.store(_checked_flow(flow, overrides))
        return await self._start(flow_id, [plain(value) for value in inputs], variables, overrides, max_concurrency)

    async def _start(
        self,
        flow_id: str,
        inputs: Sequence[Any],
        variables: Mapping[str, Any] | None,
        overrides: Mapping[str, Any] | None,
        max_concurrency: int | None,
    ) -> RunState:
        state = await self._running.start(
            flow_id,
            inputs,
            variables=None if variables is None else plain(variables),
            overrides=None if overrides is None else plain(overrides),
            max_concurrency=self._max_concurrency if max_concurrency is None else max(max_concurrency, 1),
        )
        if self._on_run is not None:
            self._on_run(state.run_id)
        return state

    @asynccontextmanager
    async def _cancelled_with_the_wait(self, state: RunState) -> AsyncGenerator[None, None]:
        try:
            yield
        except anyio.get_cancelled_exc_class():
            if self._cancels:
                with anyio.move_on_after(_CANCEL_SECONDS, shield=True), suppress(StepflowError):
                    await self._running.cancel(state.run_id)
            raise

    @property
    def _running(self) -> RemoteService:
        if self._service is None:
            raise DefinitionError("the runtime is not in use: use it inside `async with`")
        return self._service


def _checked_flow(source: FlowSource, overrides: Mapping[str, Any] | None) -> Flow:
    """Load a flow; what is wrong with it is told better here than by 0.9, which fails without a word."""
    flow = load_flow(source)
    require_runnable(apply_overrides(flow, None if overrides is None else plain(overrides)))
    return flow


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise DefinitionError(f"{url[:200]!r} is not the URL of a service, such as http://localhost:7837")
    return url.rstrip("/").removesuffix(_API).rstrip("/")


def _chunks(inputs: Iterable[Any]) -> Iterator[list[Any]]:
    if isinstance(inputs, (str, bytes, Mapping)):
        raise InvalidValue("inputs are a list with one input for each item")
    chunk: list[Any] = []
    size = 0
    for value in inputs:
        checked = plain(value)
        length = len(msgspec.json.encode(checked))
        if chunk and (size + length > _CHUNK_BYTES or len(chunk) >= _CHUNK_INPUTS):
            yield chunk
            chunk, size = [], 0
        chunk.append(checked)
        size += length
    if chunk:
        yield chunk
