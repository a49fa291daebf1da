"""The named values of the protocol: ids, components, JSON values and the error object.

``named`` marks a type that has a name of its own in the protocol's schema without being an object there;
`stepflow_sdk.protocol.schema` turns the mark into an entry of ``$defs``.
"""

from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, NewType

import msgspec
from msgspec import Meta, Raw, Struct

from stepflow_sdk.packed import Encoded, Packed

__all__ = [
    "BlobId",
    "BlobIdField",
    "BlobType",
    "CarriedValue",
    "Component",
    "Error",
    "ObservabilityContext",
    "RawValue",
    "RequestId",
    "Schema",
    "UInt",
    "UInt32",
    "decode_value",
]

DEF_MARK = "x-def"
AS_MARK = "x-as"
EXTENSION_MARK = "x-extension"


def extension() -> Meta:
    """Mark a field that both our ends know and the published schema does not."""
    return Meta(extra_json_schema={EXTENSION_MARK: True})


def shown_as(**schema: Any) -> Meta:
    """Have the schema say this of a type that is more tolerant than the protocol demands."""
    return Meta(extra_json_schema={AS_MARK: schema})


def named(name: str, **schema: Any) -> Meta:
    """Mark a type as the definition ``name`` of the protocol's schema, with more schema keys beside it."""
    return Meta(extra_json_schema={DEF_MARK: name, **schema})


BlobId = NewType("BlobId", str)
"""A blob's id: the SHA-256 hash of its content, 64 lower-case hex digits."""

BlobIdField = Annotated[BlobId, named("BlobId")]
Component = Annotated[str, named("Component")]
UInt = Annotated[int, Meta(ge=0, extra_json_schema={"format": "uint"})]
UInt32 = Annotated[int, Meta(ge=0, extra_json_schema={"format": "uint32"})]
Int64 = Annotated[int, Meta(extra_json_schema={"format": "int64"})]
RequestId = Annotated[str | Int64, named("RequestId")]

RawValue = Annotated[Raw, named("Value")]
"""Any JSON value, still encoded: whoever needs it decodes it, once, into the type it wants."""

if TYPE_CHECKING:
    CarriedValue = Any
else:
    CarriedValue = Annotated[Encoded, named("Value")]
"""A value as `RawValue`, where it may also be in MessagePack: inputs, outputs, and blobs.

Who makes a message may put a Python value there, which is encoded with it; the bytes of a blob as bytes or base64.
"""

AnyValue = Annotated[Any, named("Value")]
AnyObject = Annotated[dict[str, Any], Meta(extra_json_schema={"additionalProperties": True})]
Schema = Annotated[dict[str, Any], named("Schema", additionalProperties=True)]


class BlobType(Enum):
    """What a blob holds."""

    flow = "flow"
    data = "data"


class ObservabilityContext(Struct, frozen=True, omit_defaults=True, gc=False):
    """Which trace, run, flow and step a message belongs to; every field may be absent."""

    trace_id: str | None = None
    span_id: str | None = None
    run_id: str | None = None
    flow_id: BlobIdField | None = None
    step_id: str | None = None


class Error(Struct, omit_defaults=True):
    """The error object of a JSON-RPC response."""

    code: Int64
    message: str
    data: AnyValue | None = None


def decode_value(value: Encoded) -> Any:
    """Decode a value of any kind.

    Raises:
        msgspec.DecodeError: It cannot be read, nor can it when another error of its kind is raised
            (`UnicodeDecodeError`, `RecursionError`).
    """
    return value.decode() if isinstance(value, Packed) else msgspec.json.decode(value)
