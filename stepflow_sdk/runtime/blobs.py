"""Where blobs are kept: data under the hash of its content."""

import hashlib
from typing import Any, Protocol

import msgspec
from msgspec import Raw

from stepflow_sdk.flows import canonical_json
from stepflow_sdk.protocol import BlobId, BlobType

__all__ = ["Blob", "BlobStore", "MemoryBlobStore"]


class Blob(msgspec.Struct, frozen=True):
    """A blob as it is stored.

    Attributes:
        text: The data as canonical JSON text, of which the id is the SHA-256 (section f of the flow format).
        blob_type: What it holds.
    """

    text: bytes
    blob_type: BlobType = BlobType.data

    @property
    def raw(self) -> Raw:
        """The data, encoded, ready for the wire."""
        return Raw(self.text)

    def data(self) -> Any:
        """The data; a new value each time."""
        return msgspec.json.decode(self.text)


class BlobStore(Protocol):
    """Keeps blobs; two writes of the same data are one blob."""

    async def put(self, data: Any, blob_type: BlobType = BlobType.data) -> BlobId:
        """Store a JSON value and return its id, the SHA-256 of its canonical text.

        Raises:
            InvalidValue: The value is not JSON.
        """
        ...

    async def get(self, blob_id: str) -> Blob | None:
        """The blob with this id, or None."""
        ...


class MemoryBlobStore:
    """Keeps blobs as long as the process lives."""

    def __init__(self) -> None:
        self._blobs: dict[str, Blob] = {}

    async def put(self, data: Any, blob_type: BlobType = BlobType.data) -> BlobId:
        """See `BlobStore.put`; data that is stored twice keeps the type ``flow`` if it ever had it."""
        text = canonical_json(data)
        blob_id = hashlib.sha256(text).hexdigest()
        known = self._blobs.get(blob_id)
        if known is None or (blob_type is BlobType.flow and known.blob_type is not blob_type):
            self._blobs[blob_id] = Blob(text, blob_type)
        return BlobId(blob_id)

    async def get(self, blob_id: str) -> Blob | None:
        """See `BlobStore.get`."""
        return self._blobs.get(blob_id)
