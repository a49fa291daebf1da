"""The builtin components for messages, blobs and files."""

from pathlib import Path
from typing import Any, Literal

import anyio.to_thread
from msgspec import Struct

from stepflow_sdk.errors import BlobNotFound, ComponentError, InvalidDocument
from stepflow_sdk.flows import parse_json, parse_yaml
from stepflow_sdk.flows.files import MAX_FILE_BYTES
from stepflow_sdk.protocol import BlobType, ObservabilityContext
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
    blob_type: BlobType


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


class LoadFile(Struct):
    """Input of ``/load_file``; the path is taken from the working directory of the configuration."""

    path: str
    format: Literal["json", "yaml", "text"] | None = None


class FileMetadata(Struct):
    """What ``/load_file`` says of the file."""

    resolved_path: str
    size_bytes: int
    format: str


class LoadedFile(Struct):
    """Output of ``/load_file``."""

    data: Any
    metadata: Any


class FileLoader:
    """Read a file; its format is that of the extension (``.json``, ``.yaml``, ``.yml``, else text) unless given."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def __call__(self, host: Host, input: LoadFile, ids: ObservabilityContext) -> LoadedFile:  # noqa: ARG002  (the same call for each)
        """Read it in a worker thread."""
        return await anyio.to_thread.run_sync(_read, self._directory / input.path, input.format)


def _read(path: Path, format: str | None) -> LoadedFile:
    form = format or {".json": "json", ".yaml": "yaml", ".yml": "yaml"}.get(path.suffix, "text")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise ComponentError(f"{path}: larger than {MAX_FILE_BYTES // 1024**2} MiB")
        data = _parse(content, form, path)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ComponentError(f"cannot read {path}: {said}") from None
    except InvalidDocument as error:
        raise ComponentError(str(error)) from None
    metadata = {"resolved_path": str(path.resolve()), "size_bytes": len(content), "format": form}
    return LoadedFile(data, metadata)


def _parse(content: bytes, form: str, path: Path) -> Any:
    match form:
        case "json":
            return parse_json(content, file=str(path)).value
        case "yaml":
            return parse_yaml(content, file=str(path)).value
        case _:
            return content.decode()
