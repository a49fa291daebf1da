"""The revisions of the protocol that runtimes speak, all of which call themselves version 1.

Runtimes spell ``initialize`` in two ways. A server reads both and answers in both, so that its author never
configures a dialect.
"""

from typing import Any

import msgspec
from msgspec import Struct

from stepflow_sdk.errors import InvalidParams
from stepflow_sdk.packed import Encoded, Packed
from stepflow_sdk.protocol.values import ObservabilityContext, UInt32

__all__ = ["PROTOCOL_VERSION", "Initialization", "initialize_result", "read_initialize"]

PROTOCOL_VERSION = 1


class RuntimeCapabilities(Struct, rename="camel", omit_defaults=True):
    """What a runtime offers its servers: blobs over HTTP, in the newer dialect; ours, encodings of messages."""

    blob_api_url: str | None = None
    blob_threshold: int | None = None
    encodings: list[str] = []


class _AnyInitialize(Struct):
    runtime_protocol_version: UInt32 | None = None
    runtimeProtocolVersion: UInt32 | None = None  # noqa: N815  (the other spelling of the wire)
    capabilities: RuntimeCapabilities | None = None
    observability: ObservabilityContext | None = None


class Initialization(Struct, frozen=True):
    """What ``initialize`` said, whichever way it was spelled.

    Attributes:
        version: The highest protocol version that the runtime speaks.
        camel_case: Whether it is a runtime that spells the handshake in camelCase (0.10 and later).
    """

    version: int
    camel_case: bool
    capabilities: RuntimeCapabilities | None = None
    observability: ObservabilityContext | None = None


_decode = msgspec.json.Decoder(_AnyInitialize).decode


def read_initialize(params: Encoded) -> Initialization:
    """Read the params of ``initialize``.

    Raises:
        InvalidParams: The version is missing or is not an unsigned integer.
    """
    try:
        said = _decode(params.to_json() if isinstance(params, Packed) else params)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _, _, path = str(error).partition(" - at `")
        data = {"method": "initialize", "path": path.rstrip("`") or "$"}
        raise InvalidParams(f"initialize: {error}", data=data) from None
    camel_case = said.runtimeProtocolVersion is not None
    version = said.runtimeProtocolVersion if camel_case else said.runtime_protocol_version
    if version is None:
        missing = {"method": "initialize", "path": "$.runtime_protocol_version"}
        raise InvalidParams("initialize: `runtime_protocol_version` is missing", data=missing)
    return Initialization(version, camel_case, said.capabilities, said.observability)


def initialize_result(encoding: str | None = None) -> dict[str, Any]:
    """The answer to ``initialize``, in both spellings.

    Args:
        encoding: What both ends shall use instead of JSON.
    """
    accepted = {} if encoding is None else {"encoding": encoding}
    return {"server_protocol_version": PROTOCOL_VERSION, "serverProtocolVersion": PROTOCOL_VERSION, **accepted}
