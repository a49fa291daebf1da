"""The builtin components for messages and blobs."""

from typing import Any

from msgspec import Struct

from stepflow_sdk.errors import BlobNotFound
from stepflow_sdk.protocol import ObservabilityContext
from stepflow_sdk.runtime.blobs import BlobKind
from stepflow_sdk.runtime.plugins.plugin import Host


class CreateMessages(Struct):
    """Input of ``/create_messages``."""

    user_prompt: str
    system_instructions: str | None = None


class Messages(Struct):
    """Output of ``/create_messages``: ``{"role", "content"}`` each, the system's first."""

    messages: list[dict[str, str]]


async def create_messages(host: Host, input: CreateMessages, ids: ObservabilityContext) -> Messages:  # noqa: ARG001  (the same call for each)
    """Make the messages of a chat from a prompt and, where given, instructions."""
    system = [] if input.system_instructions is None else [("system", input.system_instructions)]
    spoken = [*system, ("user", input.user_prompt)]
    return Messages([{"role": role, "content": content} for role, content in spoken])


class PutBlob(Struct):
    """Input of ``/put_blob``."""

    data: Any
    blob_type: BlobKind


class StoredBlob(Struct):
    """Output of ``/put_blob``."""

    blob_id: str


async def put_blob(host: Host, input: PutBlob, ids: ObservabilityContext) -> StoredBlob:  # noqa: ARG001  (the same call for each)
    """Store data and give its id."""
    return StoredBlob(await host.blobs.put(input.data, input.blob_type))


class GetBlob(Struct):
    """Input of ``/get_blob``."""

    blob_id: str


class BlobData(Struct):
    """Output of ``/get_blob``."""

    data: Any


async def get_blob(host: Host, input: GetBlob, ids: ObservabilityContext) -> BlobData:  # noqa: ARG001  (the same call for each)
    """Give the data of a blob."""
    blob = await host.blobs.get(input.blob_id)
    if blob is None:
        raise BlobNotFound(f"there is no blob {input.blob_id[:80]!r}", data={"blob_id": input.blob_id})
    return BlobData(blob.data())
