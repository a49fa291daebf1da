"""The operations on blobs, which component servers of 0.10 and 0.11 use, too (section 7.3 of the dialects)."""

import re
from collections.abc import AsyncIterable, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from stepflow_sdk.errors import BlobNotFound, InvalidValue
from stepflow_sdk.runtime.blobs import Blob, BlobStat, BlobStore
from stepflow_sdk.runtime.service.messages import FoundBlob, StoreBlob, StoredBlob
from stepflow_sdk.runtime.service.operations import API, BYTES, JSON, Answer, Asked, Operation, json_answer

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["BlobOperations"]

_LARGE: Final = 1024 * 1024
"""Blobs of bytes above this size are sent in pieces."""

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
        body: StoreBlob | AsyncIterable[bytes] = asked.body
        if not isinstance(body, StoreBlob):
            filename = _filename(asked.request.headers.get("x-blob-filename"))
            return json_answer(StoredBlob(await self._blobs.put_bytes(body, filename=filename), filename))
        filename = _filename(body.filename)
        blob_id = await self._blobs.put(body.data, body.blob_type or "data", filename=filename)
        return json_answer(StoredBlob(blob_id, filename))

    async def get(self, asked: Asked) -> "Response":
        """The bytes of what is not binary are its JSON text."""
        blob_id = asked.path["blob_id"]
        stat = await self._blobs.stat(blob_id) if _ID.fullmatch(blob_id) else None
        if stat is not None and _wants_bytes(asked.request) and not stat.is_json and stat.size > _LARGE:
            return self._pieces(blob_id, stat)
        blob = None if stat is None else await self._blobs.get(blob_id)
        if blob is None:
            raise BlobNotFound(f"there is no blob {blob_id[:80]!r}; the id of a blob is 64 hex digits")
        if not _wants_bytes(asked.request):
            return json_answer(FoundBlob(blob.raw, blob.kind, blob_id, blob.filename))
        from starlette.responses import Response

        return Response(blob.to_bytes(), media_type=BYTES, headers=_headers(blob))

    def _pieces(self, blob_id: str, stat: BlobStat) -> "Response":
        """A large blob, which is never in memory as a whole; one that is damaged ends before its length."""
        from starlette.responses import StreamingResponse

        headers = {**_headers(stat), "content-length": str(stat.size)}
        return StreamingResponse(self._blobs.chunks(blob_id), media_type=BYTES, headers=headers)


def _headers(blob: Blob | BlobStat) -> dict[str, str]:
    return {
        "x-blob-type": blob.kind,
        "content-disposition": _disposition(blob.filename),
        "x-content-type-options": "nosniff",
    }


def _wants_bytes(request: "Request") -> bool:
    accepted = {part.partition(";")[0].strip() for part in request.headers.get("accept", "").lower().split(",")}
    return BYTES in accepted and JSON not in accepted


def _filename(name: str | None) -> str | None:
    if name is not None and (len(name) > 255 or not name.isprintable()):
        raise InvalidValue("the filename of a blob has at most 255 characters, and none that cannot be printed")
    return name


def _disposition(filename: str | None) -> str:
    # What a caller once said is part of a header here, so nothing of it but its percent encoding is (RFC 6266).
    return "attachment" if filename is None else f"attachment; filename*=UTF-8''{quote(filename, safe='')}"
