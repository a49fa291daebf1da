"""What a runtime does for the components of a server, whichever group of methods it serves.

Runtimes serve ``flows/*`` or ``runs/*`` or both (protocol overview, "Run Methods"; the published schema has the
former). Which one is learned from the answers, once for each connection, and nobody above needs to know.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Raw

from stepflow_sdk.errors import InvalidParams, MethodNotFound, NotFound, RequestTimeout
from stepflow_sdk.packed import Encoded
from stepflow_sdk.protocol import methods
from stepflow_sdk.protocol.dialects import PROTOCOL_VERSION, Initialization
from stepflow_sdk.protocol.error_codes import ErrorCodes, protocol_codes, range_codes
from stepflow_sdk.protocol.messages import (
    BatchDetails,
    BatchOutputInfo,
    EvaluateFlowParams,
    GetBatchParams,
    GetBatchResult,
    GetBlobParams,
    GetFlowMetadataParams,
    GetFlowMetadataResult,
    PutBlobParams,
    SubmitBatchParams,
)
from stepflow_sdk.protocol.methods import Method
from stepflow_sdk.protocol.outcomes import FlowResult
from stepflow_sdk.protocol.runs import (
    GetRunProtocolParams,
    ItemResult,
    ItemStatistics,
    RunStatusProtocol,
    SubmitRunProtocolParams,
)
from stepflow_sdk.protocol.values import BlobId, BlobType, ObservabilityContext
from stepflow_sdk.transports import Connection

if TYPE_CHECKING:
    from stepflow_sdk.transports.blob_api import BlobApi

__all__ = ["RuntimeClient", "RuntimeProfile"]

_T = TypeVar("_T")
_FLOWS = frozenset(name for name in methods.METHODS if name.startswith("flows/"))


class RuntimeProfile:
    """What is known of a runtime, by its ``initialize`` and by its answers.

    Args:
        timeout: Seconds that it has for an answer to what it can answer at once; calls that wait for a flow have
            no limit.
        likely_runs: Whether ``runs/*`` is tried before ``flows/*``. Runtimes that speak HTTP mostly serve the former
            and never answer a method that they do not know.

    Attributes:
        missing: Names of methods that it does not serve.
        unlikely: Names of methods that are tried last.
        error_codes: The codes that it wants to see.
        blob_api: Where its blobs are, for a runtime that does not serve ``blobs/*``.
        introduced: Whether it has sent ``initialize`` to this process.
        on_call: Told of each call when it has ended, with what it raised.
    """

    def __init__(self, timeout: float | None, *, likely_runs: bool = False) -> None:
        self.timeout = timeout
        self.missing: set[str] = set()
        self.unlikely: frozenset[str] = _FLOWS if likely_runs else frozenset()
        self.error_codes: ErrorCodes = protocol_codes
        self.blob_api: BlobApi | None = None
        self.introduced = False
        self.on_call: Callable[[str, BaseException | None], None] | None = None
        self._opened: BlobApi | None = None
        self._assumed: str | None = None

    def assume(self, blob_url: str) -> None:
        """Take the runtime for one of 0.10 or 0.11 with its blobs there, whatever it says of them, or never says."""
        self._assumed = blob_url
        self.introduce(Initialization(PROTOCOL_VERSION, camel_case=True), None, frozenset())

    def introduce(self, said: Initialization, caller: str | None, blob_hosts: frozenset[str]) -> None:
        """Take in what ``initialize`` said.

        Args:
            said: Its params.
            caller: The address that it came from, None where the caller started this process.
            blob_hosts: Hosts beside the caller's that its blob API may be on.

        Raises:
            AccessDenied: It names a blob API on a host that is not allowed.
        """
        url = said.capabilities.blob_api_url if said.capabilities is not None else None
        if url is not None:
            from stepflow_sdk.transports.blob_api import check_blob_url

            check_blob_url(url, caller, blob_hosts)
        url = self._assumed or url
        self.introduced = True
        self.missing = set(_FLOWS) if said.camel_case else set()
        self.error_codes = range_codes if said.camel_case else protocol_codes
        self.blob_api = None if url is None else self._blobs_at(url)

    def _blobs_at(self, url: str) -> "BlobApi":
        # Each runtime that starts introduces itself to a server at a URL: the client stays, and is closed once.
        if self._opened is None:
            from stepflow_sdk.transports.blob_api import BlobApi

            self._opened = BlobApi(url, self.timeout)
        self._opened.move(url)
        return self._opened

    async def close(self) -> None:
        """Close connections of its own."""
        if self._opened is not None:
            await self._opened.close()


class RuntimeClient:
    """Calls into the runtime at the other end of a connection.

    Args:
        connection: Where the runtime is.
        profile: What is known of it; what is learned is added.
    """

    def __init__(self, connection: Connection, profile: RuntimeProfile) -> None:
        self._connection = connection
        self._profile = profile

    def put_blob(self, data: Raw, blob_type: BlobType, ids: ObservabilityContext) -> Awaitable[BlobId]:
        """``blobs/put``, or the blob API."""
        if self._profile.blob_api is not None:
            return self._told(methods.PUT_BLOB, self._profile.blob_api.put(data, blob_type))
        return self._put(data, blob_type, ids)

    async def _put(self, data: Any, blob_type: BlobType, ids: ObservabilityContext) -> BlobId:
        result = await self._call(methods.PUT_BLOB, PutBlobParams(data, blob_type, ids))
        blob_id: BlobId = result.blob_id
        return blob_id

    async def put_bytes(self, data: bytes, ids: ObservabilityContext) -> BlobId:
        """Store bytes: as such where the wire can carry them, else as base64 text, as JSON has it."""
        if self._profile.blob_api is not None:
            return await self._told(methods.PUT_BLOB, self._profile.blob_api.put_bytes(data))
        return await self._put(data, BlobType.data, ids)

    async def get_bytes(self, blob_id: BlobId, ids: ObservabilityContext) -> bytes | Raw:
        """The bytes of a binary blob, or the data of another, still encoded."""
        if self._profile.blob_api is not None:
            return await self._told(methods.GET_BLOB, self._profile.blob_api.get_bytes(blob_id))
        data = await self._get(blob_id, ids)
        if isinstance(data, Raw):
            return data
        value = data.decode()
        return value if isinstance(value, bytes) else Raw(data.to_json())

    async def get_blob(self, blob_id: BlobId, ids: ObservabilityContext) -> Raw:
        """``blobs/get``, or the blob API; the data, still encoded."""
        if self._profile.blob_api is not None:
            return await self._told(methods.GET_BLOB, self._profile.blob_api.get(blob_id))
        # As `_get`, which would be one more coroutine for each answer to go through.
        data: Encoded = (await self._call(methods.GET_BLOB, GetBlobParams(blob_id, ids))).data
        return data if isinstance(data, Raw) else Raw(data.to_json())

    async def _get(self, blob_id: BlobId, ids: ObservabilityContext) -> Encoded:
        data: Encoded = (await self._call(methods.GET_BLOB, GetBlobParams(blob_id, ids))).data
        return data

    async def evaluate(self, flow_id: BlobId, input: Raw, key: str, ids: ObservabilityContext) -> FlowResult:
        """Run a stored flow on one input, to its outcome."""

        async def by_flows() -> FlowResult:
            params = EvaluateFlowParams(flow_id, input, ids)
            outcome: FlowResult = (await self._call(methods.EVALUATE_FLOW, params, waits=True)).result
            return outcome

        async def by_runs() -> FlowResult:
            run = await self._submit_run(
                SubmitRunProtocolParams(flow_id, [input], True, subflow_key=key, observability=ids)
            )
            outcome = run.results[0].result if run.results else None
            if outcome is None:
                raise NotFound(f"run {run.run_id} ended without a result", data={"kind": "run", "id": run.run_id})
            return outcome

        return await self._first_served((methods.EVALUATE_FLOW, by_flows), (methods.SUBMIT_RUN, by_runs))

    async def metadata(self, flow_id: BlobId, step_id: str | None, ids: ObservabilityContext) -> GetFlowMetadataResult:
        """The metadata of a flow and, where asked for, of one of its steps."""

        async def by_flows() -> GetFlowMetadataResult:
            params = GetFlowMetadataParams(flow_id, step_id, ids)
            result: GetFlowMetadataResult = await self._call(methods.GET_METADATA, params)
            return result

        async def by_blob() -> GetFlowMetadataResult:
            # Flows are blobs: their documents hold what the missing method would have said.
            flow = msgspec.json.decode(await self.get_blob(flow_id, ids), type=dict[str, Any])
            step = next((step for step in flow.get("steps") or () if step.get("id") == step_id), None)
            flow_metadata: dict[str, Any] = flow.get("metadata") or {}
            step_metadata: dict[str, Any] | None = None if step is None else step.get("metadata") or {}
            return GetFlowMetadataResult(flow_metadata, step_metadata)

        return await self._first_served((methods.GET_METADATA, by_flows), (methods.GET_BLOB, by_blob))

    async def submit_batch(
        self, flow_id: BlobId, inputs: list[Raw], max_concurrency: int | None, key: str, ids: ObservabilityContext
    ) -> str:
        """Start a stored flow on many inputs; the id of the batch, or of the run that stands for it."""

        async def by_flows() -> str:
            params = SubmitBatchParams(flow_id, inputs, max_concurrency, ids)
            batch_id: str = (await self._call(methods.SUBMIT_BATCH, params)).batch_id
            return batch_id

        async def by_runs() -> str:
            params = SubmitRunProtocolParams(
                flow_id, inputs, max_concurrency=max_concurrency, subflow_key=key, observability=ids
            )
            return (await self._submit_run(params)).run_id

        return await self._first_served((methods.SUBMIT_BATCH, by_flows), (methods.SUBMIT_RUN, by_runs))

    async def get_batch(
        self, batch_id: str, wait: bool, include_results: bool, ids: ObservabilityContext
    ) -> GetBatchResult:
        """How far a batch is, or with ``wait`` its end."""

        async def by_flows() -> GetBatchResult:
            params = GetBatchParams(batch_id, wait, include_results, ids)
            result: GetBatchResult = await self._call(methods.GET_BATCH, params, waits=wait)
            return result

        async def by_runs() -> GetBatchResult:
            return _batch_of(await self._get_run(batch_id, wait, include_results, "by_index", None, ids))

        return await self._first_served((methods.GET_BATCH, by_flows), (methods.GET_RUN, by_runs))

    async def submit_run(self, params: SubmitRunProtocolParams) -> RunStatusProtocol:
        """Start a run of a stored flow on one or more inputs, and with ``wait`` see it to its end."""

        async def by_runs() -> RunStatusProtocol:
            return await self._submit_run(params)

        async def by_flows() -> RunStatusProtocol:
            if params.overrides:
                raise InvalidParams("this runtime cannot apply overrides to a run that a component starts")
            ids = params.observability or ObservabilityContext()
            batch = SubmitBatchParams(params.flow_id, params.inputs, params.max_concurrency, ids)
            batch_id: str = (await self._call(methods.SUBMIT_BATCH, batch)).batch_id
            return await self.get_run(batch_id, params.wait, params.wait, "by_index", params.timeout_secs, ids)

        return await self._first_served((methods.SUBMIT_RUN, by_runs), (methods.SUBMIT_BATCH, by_flows))

    async def get_run(
        self,
        run_id: str,
        wait: bool,
        include_results: bool,
        result_order: str,
        timeout_secs: int | None,
        ids: ObservabilityContext,
    ) -> RunStatusProtocol:
        """How far a run is, or with ``wait`` its end."""

        async def by_runs() -> RunStatusProtocol:
            return await self._get_run(run_id, wait, include_results, result_order, timeout_secs, ids)

        async def by_flows() -> RunStatusProtocol:
            params = GetBatchParams(run_id, wait, include_results, ids)
            return _run_of(await self._call(methods.GET_BATCH, params, waits=wait))

        return await self._first_served((methods.GET_RUN, by_runs), (methods.GET_BATCH, by_flows))

    async def _submit_run(self, params: SubmitRunProtocolParams) -> RunStatusProtocol:
        run: RunStatusProtocol = await self._call(methods.SUBMIT_RUN, params, waits=params.wait)
        return run

    async def _get_run(
        self,
        run_id: str,
        wait: bool,
        include_results: bool,
        order: str,
        timeout_secs: int | None,
        ids: ObservabilityContext,
    ) -> RunStatusProtocol:
        params = GetRunProtocolParams(run_id, wait, include_results, order, timeout_secs, ids)
        run: RunStatusProtocol = await self._call(methods.GET_RUN, params, waits=wait)
        return run

    def _call(self, method: Method, params: msgspec.Struct, *, waits: bool = False) -> Awaitable[Any]:
        profile = self._profile
        call = self._connection.call(method, params, timeout=None if waits else profile.timeout)
        # The usual answer has no coroutine more to go through.
        return call if profile.introduced and profile.on_call is None else self._watched(method, call, waits)

    async def _watched(self, method: Method, call: Awaitable[Any], waits: bool) -> Any:
        try:
            return await self._told(method, call)
        except RequestTimeout as error:
            if self._profile.introduced or waits:
                raise
            # The published runtimes send `initialize` to a remote server once, and leave unknown methods unanswered.
            hint = "the runtime has not introduced itself to this process, which may have started after it: restart it"
            raise RequestTimeout(f"{error.message}; {hint}", data=error.data) from None

    async def _told(self, method: Method, call: Awaitable[_T]) -> _T:
        on_call = self._profile.on_call
        if on_call is None:
            return await call
        try:
            result = await call
        except BaseException as error:
            on_call(method.name, error)
            raise
        on_call(method.name, None)
        return result

    async def _first_served(self, *ways: tuple[Method, Callable[[], Awaitable[_T]]]) -> _T:
        profile = self._profile
        for method, way in sorted(ways, key=lambda way: way[0].name in profile.unlikely):
            if method.name in profile.missing:
                continue
            try:
                return await way()
            except MethodNotFound:
                profile.missing.add(method.name)
        names = " nor ".join(method.name for method, _ in ways)
        raise MethodNotFound(f"the runtime serves neither {names}", data={"method": ways[0][0].name})


def _batch_of(run: RunStatusProtocol) -> GetBatchResult:
    items = run.items
    details = BatchDetails(
        batch_id=run.run_id,
        flow_id=run.flow_id,
        flow_name=run.flow_name,
        total_runs=items.total,
        status=run.status,
        created_at=run.created_at,
        completed_runs=items.completed,
        running_runs=items.running,
        failed_runs=items.failed,
        cancelled_runs=items.cancelled,
        paused_runs=0,
        completed_at=run.completed_at,
    )
    if run.results is None:
        return GetBatchResult(details)
    return GetBatchResult(details, [BatchOutputInfo(r.item_index, r.status, r.result) for r in run.results])


def _run_of(batch: GetBatchResult) -> RunStatusProtocol:
    details = batch.details
    return RunStatusProtocol(
        run_id=details.batch_id,
        flow_id=details.flow_id,
        flow_name=details.flow_name,
        status=details.status,
        items=ItemStatistics(
            total=details.total_runs,
            completed=details.completed_runs,
            running=details.running_runs,
            failed=details.failed_runs,
            cancelled=details.cancelled_runs,
        ),
        created_at=details.created_at,
        completed_at=details.completed_at,
        results=_item_results(batch.outputs),
    )


def _item_results(outputs: Sequence[BatchOutputInfo] | None) -> list[ItemResult] | None:
    if outputs is None:
        return None
    return [ItemResult(output.batch_input_index, output.status, output.result) for output in outputs]
