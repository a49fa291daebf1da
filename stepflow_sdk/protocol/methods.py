"""The methods of the protocol: which end serves each, and the types of its params and of its result."""

from functools import cached_property
from typing import Any

import msgspec

from stepflow_sdk.protocol import messages, runs

__all__ = ["METHODS", "NOTIFICATIONS", "Method", "method_named"]


class Method:
    """One method, with decoders that are built once, when first they are needed: either end serves a few of them.

    Attributes:
        served_by: ``"server"`` for what a runtime calls, ``"runtime"`` for calls back.
    """

    def __init__(self, name: str, served_by: str, params: type[msgspec.Struct], result: type[msgspec.Struct]) -> None:
        self.name = name
        self.served_by = served_by
        self.params = params
        self.result = result

    def __repr__(self) -> str:
        return f"Method({self.name!r})"

    @cached_property
    def decode_params(self) -> msgspec.json.Decoder[Any]:
        """The decoder of the params, from JSON."""
        return msgspec.json.Decoder(self.params)

    @cached_property
    def decode_result(self) -> msgspec.json.Decoder[Any]:
        """The decoder of the result, from JSON."""
        return msgspec.json.Decoder(self.result)


INITIALIZE = Method("initialize", "server", messages.InitializeParams, messages.InitializeResult)
LIST = Method("components/list", "server", messages.ComponentListParams, messages.ListComponentsResult)
INFO = Method("components/info", "server", messages.ComponentInfoParams, messages.ComponentInfoResult)
INFER_SCHEMA = Method(
    "components/infer_schema", "server", messages.ComponentInferSchemaParams, messages.ComponentInferSchemaResult
)
"""What a runtime may ask servers of 0.9 and later; it is no part of the protocol that is served here."""
EXECUTE = Method("components/execute", "server", messages.ComponentExecuteParams, messages.ComponentExecuteResult)
GET_BLOB = Method("blobs/get", "runtime", messages.GetBlobParams, messages.GetBlobResult)
PUT_BLOB = Method("blobs/put", "runtime", messages.PutBlobParams, messages.PutBlobResult)
EVALUATE_FLOW = Method("flows/evaluate", "runtime", messages.EvaluateFlowParams, messages.EvaluateFlowResult)
GET_METADATA = Method("flows/get_metadata", "runtime", messages.GetFlowMetadataParams, messages.GetFlowMetadataResult)
SUBMIT_BATCH = Method("flows/submit_batch", "runtime", messages.SubmitBatchParams, messages.SubmitBatchResult)
GET_BATCH = Method("flows/get_batch", "runtime", messages.GetBatchParams, messages.GetBatchResult)
SUBMIT_RUN = Method("runs/submit", "runtime", runs.SubmitRunProtocolParams, runs.RunStatusProtocol)
GET_RUN = Method("runs/get", "runtime", runs.GetRunProtocolParams, runs.RunStatusProtocol)

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
