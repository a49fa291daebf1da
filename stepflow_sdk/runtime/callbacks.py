"""What component servers may ask of the runtime."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import msgspec
from anyio.abc import TaskGroup

from stepflow_sdk.errors import BlobNotFound, InvalidFlow, InvalidParams, InvalidValue, MethodNotFound, NotFound
from stepflow_sdk.flows import did_you_mean
from stepflow_sdk.packed import Encoded
from stepflow_sdk.protocol import METHODS, Notification, ObservabilityContext, Request, decode_params, error_of, methods
from stepflow_sdk.protocol.error_codes import protocol_codes
from stepflow_sdk.protocol.messages import (
    EvaluateFlowParams,
    EvaluateFlowResult,
    GetBatchParams,
    GetBatchResult,
    GetBlobParams,
    GetBlobResult,
    GetFlowMetadataParams,
    GetFlowMetadataResult,
    PutBlobParams,
    PutBlobResult,
    SubmitBatchParams,
    SubmitBatchResult,
)
from stepflow_sdk.protocol.runs import GetRunProtocolParams, RunStatusProtocol, SubmitRunProtocolParams
from stepflow_sdk.protocol.values import decode_value
from stepflow_sdk.runtime.engine import Engine, RunOptions
from stepflow_sdk.runtime.run_status import batch_status, run_status
from stepflow_sdk.runtime.runs import RunRecord
from stepflow_sdk.tracing import Tracer
from stepflow_sdk.transports import Connection

__all__ = ["CallbackHandler", "Callbacks"]

_log = logging.getLogger("stepflow_sdk.runtime")


class Callbacks:
    """Answers the methods that the runtime serves: ``blobs/*``, ``flows/*`` and ``runs/*``.

    Args:
        engine: Runs the flows.
        tracer: Makes the spans of what a component starts those of its own.
        on_end: Told the method of each call that has ended, and what came of it: ``ok`` or the error code.
    """

    def __init__(
        self, engine: Engine, tracer: Tracer | None = None, on_end: Callable[[str, str], None] | None = None
    ) -> None:
        self._engine = engine
        self.tracer = tracer
        self.on_end = on_end
        self.methods: Mapping[str, Callable[[Any], Awaitable[Any]]] = {
            methods.PUT_BLOB.name: self._put_blob,
            methods.GET_BLOB.name: self._get_blob,
            methods.EVALUATE_FLOW.name: self._evaluate,
            methods.GET_METADATA.name: self._get_metadata,
            methods.SUBMIT_BATCH.name: self._submit_batch,
            methods.GET_BATCH.name: self._get_batch,
            methods.SUBMIT_RUN.name: self._submit_run,
            methods.GET_RUN.name: self._get_run,
        }

    async def _put_blob(self, params: PutBlobParams) -> PutBlobResult:
        data = _decode(params.data, "data")
        if isinstance(data, bytes):
            return PutBlobResult(await self._engine.blobs.put_bytes(data))
        return PutBlobResult(await self._engine.blobs.put(data, params.blob_type))

    async def _get_blob(self, params: GetBlobParams) -> GetBlobResult:
        blob = await self._engine.blobs.get(params.blob_id)
        if blob is None:
            raise BlobNotFound(f"there is no blob {params.blob_id[:80]!r}", data={"blob_id": params.blob_id})
        return GetBlobResult(blob.raw if blob.is_json else blob.content, blob.blob_type)

    async def _evaluate(self, params: EvaluateFlowParams) -> EvaluateFlowResult:
        flow = await self._engine.flow(params.flow_id)
        inputs = [_decode(params.input, "input")]
        options = RunOptions(parent_run_id=_run_id(params.observability), attached=True)
        (result,) = await self._engine.run(flow, inputs, options, flow_id=params.flow_id)
        return EvaluateFlowResult(result)

    async def _get_metadata(self, params: GetFlowMetadataParams) -> GetFlowMetadataResult:
        # The metadata are what the flow says under that key: its name, description and version have keys of their own.
        flow = await self._engine.flow(params.flow_id)
        step = next((step for step in flow.steps if step.id == params.step_id), None)
        return GetFlowMetadataResult(dict(flow.metadata), None if step is None else dict(step.metadata))

    async def _submit_batch(self, params: SubmitBatchParams) -> SubmitBatchResult:
        flow = await self._engine.flow(params.flow_id)
        inputs = [_decode(raw, f"inputs[{index}]") for index, raw in enumerate(params.inputs)]
        options = RunOptions(max_concurrency=params.max_concurrency, parent_run_id=_run_id(params.observability))
        batch_id = await self._engine.submit(flow, inputs, options, flow_id=params.flow_id)
        return SubmitBatchResult(batch_id, len(inputs))

    async def _get_batch(self, params: GetBatchParams) -> GetBatchResult:
        await self._known_run(params.batch_id, "batch")
        if params.wait:
            await self._engine.wait(params.batch_id)
        run = await self._known_run(params.batch_id, "batch")
        return batch_status(run, await self._engine.runs.items(run.run_id) if params.include_results else None)

    async def _submit_run(self, params: SubmitRunProtocolParams) -> RunStatusProtocol:
        flow = await self._engine.flow(params.flow_id)
        inputs = [_decode(raw, f"inputs[{index}]") for index, raw in enumerate(params.inputs)]
        options = RunOptions(
            overrides=params.overrides,
            max_concurrency=params.max_concurrency,
            parent_run_id=_run_id(params.observability),
        )
        try:
            run_id = await self._engine.submit(flow, inputs, options, flow_id=params.flow_id)
        except (InvalidFlow, InvalidValue) as error:
            data = {"method": methods.SUBMIT_RUN.name, "path": "$.overrides"}
            raise InvalidParams(f"{methods.SUBMIT_RUN.name}: {error}", data=data) from None
        if params.wait:
            await self._engine.wait(run_id, params.timeout_secs)
        return await self._run_status(run_id, include_results=params.wait)

    async def _get_run(self, params: GetRunProtocolParams) -> RunStatusProtocol:
        if params.result_order not in ("by_index", "by_completion"):
            data = {"method": methods.GET_RUN.name, "path": "$.resultOrder"}
            message = f"'resultOrder' is 'by_index' or 'by_completion', not {params.result_order[:60]!r}"
            raise InvalidParams(f"{methods.GET_RUN.name}: {message}", data=data)
        await self._known_run(params.run_id, "run")
        if params.wait:
            await self._engine.wait(params.run_id, params.timeout_secs)
        by_completion = params.result_order == "by_completion"
        wanted = params.include_results or params.wait
        return await self._run_status(params.run_id, include_results=wanted, by_completion=by_completion)

    async def _run_status(
        self, run_id: str, *, include_results: bool, by_completion: bool = False
    ) -> RunStatusProtocol:
        run = await self._known_run(run_id, "run")
        items = await self._engine.runs.items(run_id) if include_results else None
        return run_status(run, items, by_completion=by_completion)

    async def _known_run(self, run_id: str, kind: str) -> RunRecord:
        run = await self._engine.runs.get(run_id)
        if run is None:
            raise NotFound(f"there is no {kind} with the id {run_id[:80]!r}", data={"kind": kind, "id": run_id})
        return run


class CallbackHandler:
    """Takes what arrives on one connection to a component server.

    Args:
        callbacks: Answers the requests.
        blob_url: Tells where the blobs are over HTTP.

    Attributes:
        tasks: Where answers are worked out, each in a task of its own; see `ServerHandler`.
    """

    def __init__(self, callbacks: Callbacks, blob_url: Callable[[], Awaitable[str]] | None = None) -> None:
        self.tasks: TaskGroup | None = None
        self._ended: anyio.Event | None = None
        self._is_over = False
        self._callbacks = callbacks
        self._blob_url = blob_url

    @property
    def ended(self) -> anyio.Event:
        """Set when the connection is over; made when it is asked for, since that of a mere exchange never is."""
        if self._ended is None:
            self._ended = anyio.Event()
            if self._is_over:
                self._ended.set()
        return self._ended

    def fork(self) -> "CallbackHandler":
        """See `ServerHandler.fork`."""
        return CallbackHandler(self._callbacks, self._blob_url)

    async def blob_url(self) -> str | None:
        """See `ServerHandler.blob_url`."""
        return None if self._blob_url is None else await self._blob_url()

    def request(self, connection: Connection, request: Request) -> None:
        """Answer a request when its answer is known."""
        answer = self._callbacks.methods.get(request.method)
        if answer is None or self.tasks is None:
            # What servers make up must not make new lines in the metrics.
            self._tell("other", error := _unknown(request.method, self._callbacks.methods))
            connection.fail(request, error)
        else:
            self.tasks.start_soon(self._answer, connection, request, answer)

    def notification(self, connection: Connection, notification: Notification) -> None:  # noqa: ARG002  (see `Handler`)
        """Nothing that servers tell unasked is known here."""
        _log.debug("a server sent the notification %s", notification.method[:80])

    def closed(self, connection: Connection) -> None:  # noqa: ARG002  (see `Handler`)
        """See `Handler.closed`."""
        self._is_over = True
        if self._ended is not None:
            self._ended.set()

    async def _answer(self, connection: Connection, request: Request, answer: Callable[[Any], Awaitable[Any]]) -> None:
        try:
            params = decode_params(request, METHODS[request.method])
            tracer = self._callbacks.tracer
            ids = None if tracer is None else getattr(params, "observability", None)
            if tracer is None or ids is None:
                result = await answer(params)
            else:
                with tracer.under(ids.trace_id, ids.span_id):
                    result = await answer(params)
        except Exception as error:
            self._tell(request.method, error)
            connection.fail(request, error)
        else:
            self._tell(request.method, None)
            connection.reply(request, result)

    def _tell(self, method: str, error: BaseException | None) -> None:
        if self._callbacks.on_end is not None:
            self._callbacks.on_end(method, "ok" if error is None else str(error_of(error, protocol_codes).code))


def _unknown(method: str, served: Mapping[str, Any]) -> MethodNotFound:
    hint = did_you_mean(method, served)
    message = f"the runtime does not serve {method[:80]!r}{f'; {hint}' if hint else ''}"
    return MethodNotFound(message, data={"method": method[:200]})


def _run_id(ids: ObservabilityContext | None) -> str | None:
    return None if ids is None else ids.run_id


def _decode(raw: Encoded, field: str) -> Any:
    try:
        return decode_value(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidParams(f"{field}: not JSON: {error}", data={"path": f"$.{field}"}) from None
