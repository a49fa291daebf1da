"""The params and the result of every method, as the protocol's schema names them.

JSON values that only pass through (inputs, outputs, blobs) stay encoded as `msgspec.Raw`. Unknown fields are
tolerated everywhere. Fields in camelCase are camelCase on the wire: those of ``runs/*``.
"""

from typing import Annotated, Any

from msgspec import Struct

from stepflow_sdk.protocol.outcomes import FlowResult
from stepflow_sdk.protocol.values import (
    AnyObject,
    BlobIdField,
    BlobType,
    CarriedValue,
    Component,
    ObservabilityContext,
    RawValue,
    Schema,
    UInt,
    UInt32,
    extension,
)

__all__ = [
    "BatchDetails",
    "BatchOutputInfo",
    "ComponentExecuteParams",
    "ComponentExecuteResult",
    "ComponentInfo",
    "ComponentInfoParams",
    "ComponentInfoResult",
    "ComponentListParams",
    "EvaluateFlowParams",
    "EvaluateFlowResult",
    "GetBatchParams",
    "GetBatchResult",
    "GetBlobParams",
    "GetBlobResult",
    "GetFlowMetadataParams",
    "GetFlowMetadataResult",
    "InitializeParams",
    "InitializeResult",
    "Initialized",
    "ListComponentsResult",
    "PutBlobParams",
    "PutBlobResult",
    "SubmitBatchParams",
    "SubmitBatchResult",
]


class InitializeParams(Struct, omit_defaults=True):
    """``initialize``, runtime to server: the highest protocol version that the runtime speaks."""

    runtime_protocol_version: UInt32
    observability: ObservabilityContext | None = None
    capabilities: Annotated[dict[str, Any] | None, extension()] = None


class InitializeResult(Struct, omit_defaults=True):
    """Answer to ``initialize``; ``encoding`` is the one, of those offered, that both ends use after ``initialized``."""

    server_protocol_version: UInt32
    encoding: Annotated[str | None, extension()] = None


class Initialized(Struct):
    """``initialized``, a notification: the runtime has taken the server into use."""


class ComponentListParams(Struct):
    """``components/list``."""


class ComponentInfo(Struct, omit_defaults=True):
    """What a server says of one of its components; the schemas are JSON Schema 2020-12."""

    component: Component
    description: str | None = None
    input_schema: Schema | None = None
    output_schema: Schema | None = None


class ListComponentsResult(Struct):
    """Answer to ``components/list``."""

    components: list[ComponentInfo]


class ComponentInfoParams(Struct):
    """``components/info``."""

    component: Component


class ComponentInfoResult(Struct):
    """Answer to ``components/info``."""

    info: ComponentInfo


class ComponentInferSchemaParams(Struct):
    """``components/infer_schema``, of 0.9 and later alone, where a server need not serve it."""

    component: Component
    input_schema: Schema


class ComponentInferSchemaResult(Struct, omit_defaults=True):
    """Answer to ``components/infer_schema``; without a schema where the server cannot tell."""

    output_schema: Schema | None = None


class ComponentExecuteParams(Struct, gc=False):
    """``components/execute``; ``attempt`` counts from 1."""

    component: Component
    input: CarriedValue
    attempt: UInt32
    observability: ObservabilityContext


class ComponentExecuteResult(Struct, omit_defaults=True):
    """Answer to ``components/execute``.

    ``skipped`` is an extension between this library's own ends: the component asked that its step be skipped, and
    ``output`` is ``null`` for a runtime that does not know the key.
    """

    output: CarriedValue
    skipped: Annotated[str | bool | None, extension()] = None


class GetBlobParams(Struct, omit_defaults=True):
    """``blobs/get``, server to runtime."""

    blob_id: BlobIdField
    observability: ObservabilityContext | None = None


class GetBlobResult(Struct):
    """Answer to ``blobs/get``."""

    data: CarriedValue
    blob_type: BlobType


class PutBlobParams(Struct, omit_defaults=True):
    """``blobs/put``, server to runtime."""

    data: CarriedValue
    blob_type: BlobType
    observability: ObservabilityContext | None = None


class PutBlobResult(Struct):
    """Answer to ``blobs/put``."""

    blob_id: BlobIdField


class EvaluateFlowParams(Struct, omit_defaults=True):
    """``flows/evaluate``, server to runtime: run a stored flow on one input and wait for its outcome."""

    flow_id: BlobIdField
    input: RawValue
    observability: ObservabilityContext | None = None


class EvaluateFlowResult(Struct):
    """Answer to ``flows/evaluate``."""

    result: FlowResult


class GetFlowMetadataParams(Struct, omit_defaults=True):
    """``flows/get_metadata``, server to runtime."""

    flow_id: BlobIdField
    step_id: str | None = None
    observability: ObservabilityContext | None = None


class GetFlowMetadataResult(Struct, omit_defaults=True):
    """Answer to ``flows/get_metadata``; the step's metadata is there when a step was asked for and exists."""

    flow_metadata: AnyObject
    step_metadata: AnyObject | None = None


class SubmitBatchParams(Struct, omit_defaults=True):
    """``flows/submit_batch``, server to runtime: start a stored flow on many inputs."""

    flow_id: BlobIdField
    inputs: list[RawValue]
    max_concurrency: UInt | None = None
    observability: ObservabilityContext | None = None


class SubmitBatchResult(Struct):
    """Answer to ``flows/submit_batch``."""

    batch_id: str
    total_runs: UInt


class GetBatchParams(Struct, omit_defaults=True):
    """``flows/get_batch``, server to runtime: the state of a batch, or with ``wait`` its end."""

    batch_id: str
    wait: bool = False
    include_results: bool = False
    observability: ObservabilityContext | None = None


class BatchDetails(Struct, omit_defaults=True):
    """How far a batch is; times are RFC 3339."""

    batch_id: str
    flow_id: BlobIdField
    total_runs: UInt
    status: str
    created_at: str
    completed_runs: UInt
    running_runs: UInt
    failed_runs: UInt
    cancelled_runs: UInt
    paused_runs: UInt
    flow_name: str | None = None
    completed_at: str | None = None


class BatchOutputInfo(Struct, omit_defaults=True):
    """The outcome of one input of a batch."""

    batch_input_index: UInt
    status: str
    result: FlowResult | None = None


class GetBatchResult(Struct, omit_defaults=True):
    """Answer to ``flows/get_batch``."""

    details: BatchDetails
    outputs: list[BatchOutputInfo] | None = None
