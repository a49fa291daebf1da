"""The methods of the protocol: which end serves each, and the types of its params and of its result."""

from typing import Any, NamedTuple

import msgspec

from stepflow_sdk.protocol import messages, runs

__all__ = ["METHODS", "NOTIFICATIONS", "Method", "method_named"]


class Method(NamedTuple):
    """One method, with decoders built once.

    Attributes:
        served_by: ``"server"`` for what a runtime calls, ``"runtime"`` for calls back.
    """

    name: str
    served_by: str
    params: type[msgspec.Struct]
    result: type[msgspec.Struct]
    decode_params: msgspec.json.Decoder[Any]
    decode_result: msgspec.json.Decoder[Any]


def _method(name: str, served_by: str, params: type[msgspec.Struct], result: type[msgspec.Struct]) -> Method:
    return Method(name, served_by, params, result, msgspec.json.Decoder(params), msgspec.json.Decoder(result))


INITIALIZE = _method("initialize", "server", messages.InitializeParams, messages.InitializeResult)
LIST = _method("components/list", "server", messages.ComponentListParams, messages.ListComponentsResult)
INFO = _method("components/info", "server", messages.ComponentInfoParams, messages.ComponentInfoResult)
INFER_SCHEMA = _method(
    "components/infer_schema", "server", messages.ComponentInferSchemaParams, messages.ComponentInferSchemaResult
)
"""What a runtime may ask servers of 0.9 and later; it is no part of the protocol that is served here."""
EXECUTE = _method("components/execute", "server", messages.ComponentExecuteParams, messages.ComponentExecuteResult)
GET_BLOB = _method("blobs/get", "runtime", messages.GetBlobParams, messages.GetBlobResult)
PUT_BLOB = _method("blobs/put", "runtime", messages.PutBlobParams, messages.PutBlobResult)
EVALUATE_FLOW = _method("flows/evaluate", "runtime", messages.EvaluateFlowParams, messages.EvaluateFlowResult)
GET_METADATA = _method("flows/get_metadata", "runtime", messages.GetFlowMetadataParams, messages.GetFlowMetadataResult)
SUBMIT_BATCH = _method("flows/submit_batch", "runtime", messages.SubmitBatchParams, messages.SubmitBatchResult)
GET_BATCH = _method("flows/get_batch", "runtime", messages.GetBatchParams, messages.GetBatchResult)
SUBMIT_RUN = _method("runs/submit", "runtime", runs.SubmitRunProtocolParams, runs.RunStatusProtocol)
GET_RUN = _method("runs/get", "runtime", runs.GetRunProtocolParams, runs.RunStatusProtocol)

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        INITIALIZE,
        LIST,
        INFO,
        EXECUTE,
        GET_BLOB,
        PUT_BLOB,
        EVALUATE_FLOW,
        GET_METADATA,
        SUBMIT_BATCH,
        GET_BATCH,
        SUBMIT_RUN,
        GET_RUN,
    )
}

INITIALIZED = "initialized"
NOTIFICATIONS: dict[str, type[msgspec.Struct]] = {INITIALIZED: messages.Initialized}


def method_named(name: str) -> Method | None:
    """The method of this name, or None."""
    return METHODS.get(name)
