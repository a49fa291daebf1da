"""The operations on blobs, which component servers of 0.10 and 0.11 use, too (section 7.3 of the dialects)."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from stepflow_sdk.errors import BlobNotFound, InvalidValue
from stepflow_sdk.runtime.blobs import Blob, BlobStore
from stepflow_sdk.runtime.service.messages import FoundBlob, StoreBlob, StoredBlob
from stepflow_sdk.runtime.service.operations import API, BYTES, JSON, Answer, Asked, Operation, json_answer

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["BlobOperations"]

_ID: Final = re.compile(r"[0-9a-f]{64}")


class BlobOperations:
    """Blobs as JSON, or as bytes."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    def operations(self) -> Sequence[Operation]:
        """What is offered."""
        return [
            Operation(
                "POST",
                f"{API}/blobs",
                "storeBlob",
                "Store a JSON value, or bytes with their name in X-Blob-Filename",
                self.store,
                {200: Answer("The blob's id", {JSON: StoredBlob})},
                body={JSON: StoreBlob, BYTES: None},
                tag="blobs",
            ),
            Operation(
                "GET",
                f"{API}/blobs/{{blob_id}}",
                "getBlob",
                "A blob: as JSON, or its bytes where the request accepts application/octet-stream alone",
                self.get,
                {200: Answer("The blob", {JSON: FoundBlob, BYTES: None})},
                errors=[404],
                tag="blobs",
            ),
        ]

    async def store(self, asked: Asked) -> "Response":
        """Data that is stored twice is one blob."""
        if isinstance(asked.body, bytes):
            filename = _filename(asked.request.headers.get("x-blob-filename"))
            return json_answer(StoredBlob(await self._blobs.put_bytes(asked.body, filename=filename), filename))
        body: StoreBlob = asked.body
        filename = _filename(body.filename)
        blob_id = await self._blobs.put(body.data, body.blob_type or "data", filename=filename)
        return json_answer(StoredBlob(blob_id, filename))

    async def get(self, asked: Asked) -> "Response":
        """The bytes of what is not binary are its JSON text."""
        from starlette.responses import Response

        blob_id = asked.path["blob_id"]
        blob = await self._blobs.get(blob_id) if _ID.fullmatch(blob_id) else None
        if blob is None:
            raise BlobNotFound(f"there is no blob {blob_id[:80]!r}; the id of a blob is 64 hex digits")
        if not _wants_bytes(asked.request):
            return json_answer(FoundBlob(blob.raw, blob.kind, blob_id, blob.filename))
        headers = {
            "x-blob-type": blob.kind,
            "content-disposition": _disposition(blob),
            "x-content-type-options": "nosniff",
        }
        return Response(blob.to_bytes(), media_type=BYTES, headers=headers)


def _wants_bytes(request: "Request") -> bool:
    accepted = {part.partition(";")[0].strip() for part in request.headers.get("accept", "").lower().split(",")}
    return BYTES in accepted and JSON not in accepted


def _filename(name: str | None) -> str | None:
    if name is not None and (len(name) > 255 or not name.isprintable()):
        raise InvalidValue("the filename of a blob has at most 255 characters, and none that cannot be printed")
    return name


def _disposition(blob: Blob) -> str:
    # What a caller once said is part of a header here, so nothing of it but its percent encoding is (RFC 6266).
    return "attachment" if blob.filename is None else f"attachment; filename*=UTF-8''{quote(blob.filename, safe='')}"
