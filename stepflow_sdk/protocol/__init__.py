"""The Stepflow protocol: messages, frames, the sans-I/O `Peer`, and the protocol's JSON Schema."""

from stepflow_sdk.protocol.events import Answer, Call, Complaint, Event, Notification, Request
from stepflow_sdk.protocol.failures import error_of, exception_of
from stepflow_sdk.protocol.methods import METHODS, Method
from stepflow_sdk.protocol.outcomes import (
    FlowError,
    FlowResult,
    FlowResultFailed,
    FlowResultSkipped,
    FlowResultSuccess,
)
from stepflow_sdk.protocol.parts import decode_params
from stepflow_sdk.protocol.peer import Peer
from stepflow_sdk.protocol.schema import protocol_schema
from stepflow_sdk.protocol.values import BlobId, BlobType, ObservabilityContext

__all__ = [
    "METHODS",
    "Answer",
    "BlobId",
    "BlobType",
    "Call",
    "Complaint",
    "Event",
    "FlowError",
    "FlowResult",
    "FlowResultFailed",
    "FlowResultSkipped",
    "FlowResultSuccess",
    "Method",
    "Notification",
    "ObservabilityContext",
    "Peer",
    "Request",
    "decode_params",
    "error_of",
    "exception_of",
    "protocol_schema",
]
