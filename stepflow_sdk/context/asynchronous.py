"""The context of ``async def`` components."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypeVar, overload

from msgspec import Raw

from stepflow_sdk.context.base import ContextBase, State
from stepflow_sdk.errors import InvalidValue, NotFound
from stepflow_sdk.protocol import BlobId, BlobType, FlowResult
from stepflow_sdk.protocol.messages import BatchDetails, BatchOutputInfo
from stepflow_sdk.protocol.runs import RunStatusProtocol, SubmitRunProtocolParams

if TYPE_CHECKING:
    from stepflow_sdk.flows import Flow

__all__ = ["AnyFlow", "StepflowContext"]

T = TypeVar("T")
AnyFlow: TypeAlias = "Flow | Mapping[str, Any]"
BlobKind = BlobType | Literal["data", "flow", "binary"]
_BLOB_TYPES: dict[BlobKind, BlobType] = {"data": BlobType.data, "flow": BlobType.flow}


class StepflowContext(ContextBase[State]):
    """What an ``async def`` component can ask of the runtime that runs it.

    A parameter annotated ``StepflowContext`` or ``StepflowContext[State]`` receives it, whatever its name and place.
    It works until the component ends; calls after that raise `ResourceUnavailable`. Every call raises the
    runtime's error as the class of its code, `RequestTimeout` when there is no answer in time, and
    `ResourceUnavailable` when the runtime goes away.
    """

    __stepflow_injectable__: ClassVar[Literal["async", "thread"]] = "async"

    async def put_blob(self, data: Any, blob_type: BlobKind = "data") -> BlobId:
        """Store JSON data and return its id, which is the same for the same data (``blobs/put``).

        Args:
            data: Anything that a component may return; bytes for ``"binary"``.
            blob_type: ``"data"``, ``"flow"`` for a flow document, or ``"binary"``. Runtimes that know no binary blobs
                keep the bytes as base64 text; ``get_blob(id, type=bytes)`` gives them back either way.

        Raises:
            InvalidValue: The data is not JSON; the message has the path. Or it is larger than the runtime takes.
        """
        client = self._client()
        if blob_type == "binary":
            if not isinstance(data, bytes | bytearray):
                raise InvalidValue(f"a binary blob is made of bytes, not of {type(data).__name__}")
            return await client.put_bytes(bytes(data), self._facts.ids)
        kind = _BLOB_TYPES.get(blob_type) or BlobType(blob_type)
        return await client.put_blob(self._encode(data), kind, self._facts.ids)

    @overload
    async def get_blob(self, blob_id: str) -> Any: ...
    @overload
    async def get_blob(self, blob_id: str, *, type: type[T]) -> T: ...
    async def get_blob(self, blob_id: str, *, type: Any = Any) -> Any:
        """Return the data of a blob (``blobs/get``).

        Args:
            blob_id: Its id.
            type: What to decode it into, ``bytes`` for a binary blob; by default plain JSON values.

        Raises:
            BlobNotFound: There is no such blob.
            InvalidValue: The data does not fit the type; the message has the path.
        """
        client = self._client()
        if type is bytes:
            found = await client.get_bytes(BlobId(blob_id), self._facts.ids)
            return self._facts.values.decode(found, bytes) if isinstance(found, Raw) else found
        return self._facts.values.decode(await client.get_blob(BlobId(blob_id), self._facts.ids), type)

    @overload
    async def evaluate_flow(self, flow: AnyFlow, input: Any) -> Any: ...
    @overload
    async def evaluate_flow(self, flow: AnyFlow, input: Any, *, type: type[T]) -> T: ...
    async def evaluate_flow(self, flow: AnyFlow, input: Any, *, type: Any = Any) -> Any:
        """Run a flow on one input and return its result.

        Args:
            flow: A `Flow`, or its document.
            input: The flow's input: anything that a component may return.
            type: What to convert the result into.

        Raises:
            FlowFailed: The flow failed, with its code, message and data.
            SkipStep: The flow's output was skipped.
        """
        return await self.evaluate_flow_by_id(await self._put_flow(flow), input, type=type)

    @overload
    async def evaluate_flow_by_id(self, flow_id: str, input: Any) -> Any: ...
    @overload
    async def evaluate_flow_by_id(self, flow_id: str, input: Any, *, type: type[T]) -> T: ...
    async def evaluate_flow_by_id(self, flow_id: str, input: Any, *, type: Any = Any) -> Any:
        """Run a flow that is stored already; see `evaluate_flow` (``flows/evaluate`` or ``runs/submit``)."""
        raw = self._encode(input)
        outcome = await self._client().evaluate(BlobId(flow_id), raw, self._next_key(), self._facts.ids)
        return self._unwrap(outcome, type)

    async def get_metadata(self, step_id: str | None = None) -> dict[str, Any]:
        """Return the metadata of the flow and of one of its steps (``flows/get_metadata``).

        Args:
            step_id: The step, by default the one that this component runs for.

        Returns:
            ``{"flow_metadata": {...}, "step_metadata": {...}}``, the second only for a step that exists.

        Raises:
            NotFound: The component was called outside a flow.
        """
        flow_id = self.flow_id
        if flow_id is None:
            raise NotFound("the component was not called from a flow", data={"kind": "flow", "id": None})
        found = await self._client().metadata(flow_id, step_id or self.step_id, self._facts.ids)
        metadata: dict[str, Any] = {"flow_metadata": found.flow_metadata}
        if found.step_metadata is not None:
            metadata["step_metadata"] = found.step_metadata
        return metadata

    async def submit_batch(self, flow: AnyFlow, inputs: Iterable[Any], max_concurrency: int | None = None) -> str:
        """Start a flow on many inputs and return the id of the batch without waiting (``flows/submit_batch``).

        Args:
            flow: A `Flow`, or its document.
            inputs: One input for each item.
            max_concurrency: How many items may run at once; by default the runtime decides.
        """
        return await self.submit_batch_by_id(await self._put_flow(flow), inputs, max_concurrency)

    async def submit_batch_by_id(self, flow_id: str, inputs: Iterable[Any], max_concurrency: int | None = None) -> str:
        """Start a batch of a flow that is stored already; see `submit_batch`."""
        raws = [self._encode(input) for input in inputs]
        client = self._client()
        return await client.submit_batch(BlobId(flow_id), raws, max_concurrency, self._next_key(), self._facts.ids)

    async def get_batch(
        self, batch_id: str, wait: bool = False, include_results: bool = False
    ) -> tuple[BatchDetails, list[BatchOutputInfo] | None]:
        """Return how far a batch is (``flows/get_batch``).

        Args:
            batch_id: From `submit_batch`.
            wait: Wait until every item has ended.
            include_results: Return the outcomes of the items, in the order of the inputs.
        """
        found = await self._client().get_batch(batch_id, wait, include_results, self._facts.ids)
        return found.details, found.outputs

    async def evaluate_batch(
        self, flow: AnyFlow, inputs: Iterable[Any], max_concurrency: int | None = None
    ) -> list[Any]:
        """Run a flow on many inputs and return the results in the order of the inputs.

        Raises:
            FlowFailed: An item failed: the first in the order of the inputs. Use `submit_batch` and `get_batch`
                to have every outcome.
            SkipStep: An item's output was skipped.
        """
        return await self.evaluate_batch_by_id(await self._put_flow(flow), inputs, max_concurrency)

    async def evaluate_batch_by_id(
        self, flow_id: str, inputs: Iterable[Any], max_concurrency: int | None = None
    ) -> list[Any]:
        """Run a flow that is stored already on many inputs; see `evaluate_batch`."""
        batch_id = await self.submit_batch_by_id(flow_id, inputs, max_concurrency)
        _, outputs = await self.get_batch(batch_id, wait=True, include_results=True)
        ordered = sorted(outputs or [], key=lambda output: output.batch_input_index)
        return [self._unwrap(output.result, Any) for output in ordered]

    async def submit_run(
        self,
        flow: AnyFlow,
        inputs: Iterable[Any],
        *,
        wait: bool = False,
        max_concurrency: int | None = None,
        overrides: Mapping[str, Any] | None = None,
        timeout_secs: int | None = None,
    ) -> RunStatusProtocol:
        """Start a run of a flow on one or more inputs (``runs/submit``).

        Args:
            flow: A `Flow`, or its document.
            inputs: One input for each item.
            wait: Return when every item has ended, or after ``timeout_secs``.
            max_concurrency: How many items may run at once.
            overrides: Changes to steps, ``{"steps": {"<id>": {"value": {...}}}}``.
            timeout_secs: How long to wait, in seconds; then the status is that of an unfinished run.
        """
        return await self.submit_run_by_id(
            await self._put_flow(flow),
            inputs,
            wait=wait,
            max_concurrency=max_concurrency,
            overrides=overrides,
            timeout_secs=timeout_secs,
        )

    async def submit_run_by_id(
        self,
        flow_id: str,
        inputs: Iterable[Any],
        *,
        wait: bool = False,
        max_concurrency: int | None = None,
        overrides: Mapping[str, Any] | None = None,
        timeout_secs: int | None = None,
    ) -> RunStatusProtocol:
        """Start a run of a flow that is stored already; see `submit_run`."""
        params = SubmitRunProtocolParams(
            BlobId(flow_id),
            [self._encode(input) for input in inputs],
            wait,
            timeout_secs,
            max_concurrency,
            dict(overrides) if overrides else None,
            self._next_key(),
            self._facts.ids,
        )
        return await self._client().submit_run(params)

    async def get_run(
        self,
        run_id: str,
        *,
        wait: bool = False,
        include_results: bool = False,
        result_order: Literal["by_index", "by_completion"] = "by_index",
        timeout_secs: int | None = None,
    ) -> RunStatusProtocol:
        """Return how far a run is (``runs/get``); see `submit_run` for the arguments."""
        client = self._client()
        return await client.get_run(run_id, wait, include_results, result_order, timeout_secs, self._facts.ids)

    def _encode(self, value: Any) -> Raw:
        return Raw(self._facts.values.encode(value))

    async def _put_flow(self, flow: AnyFlow) -> BlobId:
        document: Any = flow
        if not isinstance(document, Mapping):
            # Whoever made a flow has paid for this import; no server that only runs components shall.
            from stepflow_sdk.flows import Flow

            document = document.to_json() if isinstance(document, Flow) else document
        return await self.put_blob(document, BlobType.flow)

    def _unwrap(self, outcome: FlowResult | None, type: Any) -> Any:
        if outcome is None:
            raise NotFound("an item of the batch ended without a result", data={"kind": "result", "id": None})
        result = outcome.unwrap()
        return result if type is Any else self._facts.values.decode(self._encode(result), type)
