"""Blobs, data under the hash of its content, and the interface behind which they are kept (section f of the format)."""

import base64
import binascii
import hashlib
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec
from msgspec import Raw

from stepflow_sdk.errors import InvalidValue
from stepflow_sdk.flows import canonical_json
from stepflow_sdk.protocol import BlobId, BlobType

__all__ = ["CHUNK_BYTES", "Blob", "BlobKind", "BlobStat", "BlobStore", "MemoryBlobStore", "make_blob"]

BlobKind: TypeAlias = Literal["flow", "data", "binary"]
"""What a blob holds. The messages of the protocol know no binary blobs: there they are data, bytes as base64 text."""

CHUNK_BYTES: Final = 1024 * 1024
"""Of large blobs, so many bytes are read and written at once."""

_RANKS: Final = {"binary": 0, "data": 1, "flow": 2}


class Blob(msgspec.Struct, frozen=True):
    """A blob as it is stored.

    Attributes:
        content: The bytes of which the id is the SHA-256: canonical JSON text, or bytes that were given as such.
        kind: What it holds.
        is_json: Whether the content is JSON text. A binary blob may be either: bytes that came as bytes are the
            content themselves, those that came as JSON are a JSON string of their base64 text.
        filename: What somebody called it.
    """

    content: bytes
    kind: BlobKind = "data"
    is_json: bool = True
    filename: str | None = None

    @property
    def blob_type(self) -> BlobType:
        """What the protocol calls it."""
        return BlobType.flow if self.kind == "flow" else BlobType.data

    @property
    def raw(self) -> Raw:
        """The data as JSON text, ready for the wire; of bytes, a string of their base64 text."""
        return Raw(self.content if self.is_json else msgspec.json.encode(self.content))

    def data(self) -> Any:
        """The data as a JSON value, a new one each time."""
        return msgspec.json.decode(self.raw)

    def to_bytes(self) -> bytes:
        """The bytes of a binary blob, and the JSON text of another."""
        if self.kind == "binary" and self.is_json:
            return base64.b64decode(msgspec.json.decode(self.content, type=str))
        return self.content

    @property
    def stat(self) -> "BlobStat":
        """The blob without its content."""
        return BlobStat(len(self.content), self.kind, self.is_json, self.filename)


class BlobStat(msgspec.Struct, frozen=True):
    """A blob without its content; see `Blob`. ``size`` is that of the content in bytes."""

    size: int
    kind: BlobKind
    is_json: bool
    filename: str | None = None

    def outranks(self, other: "BlobStat") -> bool:
        """Whether more is known of the same content than the other knows: that it is JSON, or a flow."""
        return (self.is_json, _RANKS[self.kind]) > (other.is_json, _RANKS[other.kind])


def make_blob(data: Any, blob_type: BlobType | BlobKind = "data", filename: str | None = None) -> tuple[BlobId, Blob]:
    """The blob of a JSON value, and its id.

    Raises:
        InvalidValue: The value is not JSON, or is to be binary and is not the base64 text of bytes.
    """
    kind: BlobKind = blob_type.value if isinstance(blob_type, BlobType) else blob_type
    if kind == "binary":
        _check_base64(data)
    text = canonical_json(data)
    return BlobId(hashlib.sha256(text).hexdigest()), Blob(text, kind, filename=filename)


def _check_base64(data: Any) -> None:
    try:
        base64.b64decode(data, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise InvalidValue(f"a binary blob is a string, the base64 text of bytes: {error}") from None


class BlobStore(Protocol):
    """Keeps blobs; two writes of the same data are one blob, which is safe when the first of them returns."""

    async def put(self, data: Any, blob_type: BlobType | BlobKind = "data", *, filename: str | None = None) -> BlobId:
        """Store a JSON value and return its id, the SHA-256 of its canonical text.

        Data that is stored twice keeps the type ``flow`` if it ever had it.

        Args:
            data: The value; for ``flow`` a flow's document, for ``binary`` the base64 text of bytes.
            blob_type: What it is.
            filename: What it is called.

        Raises:
            InvalidValue: The value is not JSON, or has not the form of its type.
            ResourceUnavailable: It cannot be kept now.
        """
        ...

    async def put_bytes(self, content: bytes | AsyncIterable[bytes], *, filename: str | None = None) -> BlobId:
        """Store bytes as a blob of the kind ``binary`` and return its id, their SHA-256.

        Args:
            content: The bytes; in pieces, where they are too many to hold at once.
            filename: What they are called.

        Raises:
            ResourceUnavailable: They cannot be kept now.
        """
        ...

    async def get(self, blob_id: str) -> Blob | None:
        """The blob with this id, or None.

        Raises:
            CorruptState: What is kept is not what was stored.
        """
        ...

    async def stat(self, blob_id: str) -> BlobStat | None:
        """What a blob is, without its content, or None."""
        ...

    def chunks(self, blob_id: str) -> AsyncIterator[bytes]:
        """The content of a blob in pieces; none if there is no such blob.

        Raises:
            CorruptState: What is kept is not what was stored; it is known when the last piece has been read.
        """
        ...


class MemoryBlobStore:
    """Keeps blobs as long as the process lives."""

    def __init__(self) -> None:
        self._blobs: dict[str, Blob] = {}

    async def put(self, data: Any, blob_type: BlobType | BlobKind = "data", *, filename: str | None = None) -> BlobId:
        """See `BlobStore.put`."""
        blob_id, blob = make_blob(data, blob_type, filename)
        return self._keep(blob_id, blob)

    async def put_bytes(self, content: bytes | AsyncIterable[bytes], *, filename: str | None = None) -> BlobId:
        """See `BlobStore.put_bytes`."""
        whole = content if isinstance(content, bytes) else b"".join([piece async for piece in content])
        return self._keep(hashlib.sha256(whole).hexdigest(), Blob(whole, "binary", is_json=False, filename=filename))

    async def get(self, blob_id: str) -> Blob | None:
        """See `BlobStore.get`."""
        return self._blobs.get(blob_id)

    async def stat(self, blob_id: str) -> BlobStat | None:
        """See `BlobStore.stat`."""
        blob = self._blobs.get(blob_id)
        return None if blob is None else blob.stat

    async def chunks(self, blob_id: str) -> AsyncIterator[bytes]:
        """See `BlobStore.chunks`."""
        blob = self._blobs.get(blob_id)
        if blob is not None:
            for start in range(0, len(blob.content), CHUNK_BYTES):
                yield blob.content[start : start + CHUNK_BYTES]

    def _keep(self, blob_id: str, blob: Blob) -> BlobId:
        known = self._blobs.get(blob_id)
        if known is None or blob.stat.outranks(known.stat):
            self._blobs[blob_id] = blob
        return BlobId(blob_id)
