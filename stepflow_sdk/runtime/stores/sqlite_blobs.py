"""Blobs that are kept in a state file."""

import contextlib
import hashlib
import sqlite3
import time
import uuid
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any, Final

import anyio

from stepflow_sdk.errors import CorruptState, StepflowError
from stepflow_sdk.protocol import BlobId, BlobType
from stepflow_sdk.runtime.blobs import CHUNK_BYTES, Blob, BlobKind, BlobStat, make_blob
from stepflow_sdk.runtime.stores.reader import StateReader
from stepflow_sdk.runtime.stores.writer import StateWriter

__all__ = ["PARTIAL", "SqliteBlobStore", "copy_blob"]

PARTIAL: Final = "partial:"
"""Begins the id of a blob that is being stored: its true one is known at the end."""

_BLOBS: Final = "SELECT key, id, kind, is_json, filename, size, sum FROM blobs"


class SqliteBlobStore:
    """Keeps blobs in a state file; see `SqliteState`."""

    def __init__(self, writer: StateWriter, reader: StateReader) -> None:
        self._writer = writer
        self._reader = reader

    async def put(self, data: Any, blob_type: BlobType | BlobKind = "data", *, filename: str | None = None) -> BlobId:
        """See `BlobStore.put`."""
        blob_id, blob = make_blob(data, blob_type, filename)
        await self._writer.do(lambda connection: _keep(connection, blob_id, blob))
        return blob_id

    async def put_bytes(self, content: bytes | AsyncIterable[bytes], *, filename: str | None = None) -> BlobId:
        """See `BlobStore.put_bytes`."""
        if isinstance(content, bytes):
            blob_id = BlobId(hashlib.sha256(content).hexdigest())
            blob = Blob(content, "binary", is_json=False, filename=filename)
            await self._writer.do(lambda connection: _keep(connection, blob_id, blob))
            return blob_id
        return await self._put_pieces(content, filename)

    async def _put_pieces(self, content: AsyncIterable[bytes], filename: str | None) -> BlobId:
        partial = f"{PARTIAL}{uuid.uuid4()}"
        stat = BlobStat(0, "binary", is_json=False, filename=filename)
        key = await self._writer.do(lambda connection: _insert(connection, partial, stat, None))
        digest = hashlib.sha256()
        size = place = 0
        try:
            async for piece in _even(content):
                digest.update(piece)
                size += len(piece)
                await self._writer.do(_add_piece(key, place, piece))
                place += 1
        except BaseException:
            # Whoever sends has gone, or sends too much: what came of it would take room until the next start.
            with anyio.CancelScope(shield=True), contextlib.suppress(StepflowError):
                await self._writer.do(lambda connection: _forget(connection, key))
            raise
        blob_id = BlobId(digest.hexdigest())
        whole = BlobStat(size, "binary", is_json=False, filename=filename)
        await self._writer.do(lambda connection: _complete(connection, key, blob_id, whole))
        return blob_id

    async def get(self, blob_id: str) -> Blob | None:
        """See `BlobStore.get`."""
        return await self._reader.read(lambda connection: _read(connection, blob_id))

    async def stat(self, blob_id: str) -> BlobStat | None:
        """See `BlobStore.stat`."""
        found = await self._reader.read(lambda connection: _find(connection, blob_id))
        return None if found is None else found[1]

    async def chunks(self, blob_id: str) -> AsyncIterator[bytes]:
        """See `BlobStore.chunks`."""
        found = await self._reader.read(lambda connection: _find(connection, blob_id))
        if found is None:
            return
        key, stat = found
        digest = hashlib.sha256()
        for place in range(max(1, -(-stat.size // CHUNK_BYTES))):
            piece = await self._reader.read(_piece_reader(key, place))
            digest.update(piece)
            if piece:
                yield piece
        _check(digest.hexdigest(), blob_id)


def copy_blob(source: sqlite3.Connection, target: sqlite3.Connection, key: int) -> bool:
    """Copy a blob from one file to another; False for one that was never whole.

    Raises:
        CorruptState: It is not what was stored.
    """
    (blob_id,) = source.execute("SELECT id FROM blobs WHERE key = ?", (key,)).fetchone()
    if not isinstance(blob_id, str):
        raise _damaged("without an id")
    if blob_id.startswith(PARTIAL):
        return False
    found = _find(source, blob_id)
    if found is None:
        raise _damaged(blob_id)
    stat = found[1]
    pieces = range(max(1, -(-stat.size // CHUNK_BYTES)))
    digest = hashlib.sha256()
    # Verified first and read again: the content of a large blob is not held in memory.
    for place in pieces:
        digest.update(_piece(source, key, place))
    _check(digest.hexdigest(), blob_id)
    inline = stat.size <= CHUNK_BYTES
    copied = _insert(target, blob_id, stat, _piece(source, key, 0) if inline else None)
    for place in () if inline else pieces:
        _add_piece(copied, place, _piece(source, key, place))(target)
    return True


def _find(connection: sqlite3.Connection, blob_id: str) -> tuple[int, BlobStat] | None:
    row = connection.execute(_BLOBS + " WHERE id = ?", (blob_id,)).fetchone()
    if row is None or blob_id.startswith(PARTIAL):
        return None
    key, known_id, kind, is_json, filename, size, checksum = row
    stat = BlobStat(size, kind, bool(is_json), filename)
    if known_id != blob_id or checksum != _sum(blob_id, stat):
        raise _damaged(blob_id)
    return key, stat


def _read(connection: sqlite3.Connection, blob_id: str) -> Blob | None:
    found = _find(connection, blob_id)
    if found is None:
        return None
    key, stat = found
    content = b"".join(_piece(connection, key, place) for place in range(max(1, -(-stat.size // CHUNK_BYTES))))
    _check(hashlib.sha256(content).hexdigest(), blob_id)
    return Blob(content, stat.kind, stat.is_json, stat.filename)


def _piece(connection: sqlite3.Connection, key: int, place: int) -> bytes:
    if place == 0:
        row = connection.execute("SELECT content FROM blobs WHERE key = ? AND content IS NOT NULL", (key,)).fetchone()
        if row is not None:
            return _bytes(row[0])
    query = "SELECT content FROM pieces WHERE blob = ? AND place = ?"
    row = connection.execute(query, (key, place)).fetchone()
    # What is missing shows in the hash.
    return b"" if row is None else _bytes(row[0])


def _piece_reader(key: int, place: int) -> Callable[[sqlite3.Connection], bytes]:
    return lambda connection: _piece(connection, key, place)


def _bytes(content: object) -> bytes:
    return content if isinstance(content, bytes) else b""


def _forget(connection: sqlite3.Connection, key: int) -> None:
    connection.execute("DELETE FROM pieces WHERE blob = ?", (key,))
    connection.execute("DELETE FROM blobs WHERE key = ?", (key,))


def _keep(connection: sqlite3.Connection, blob_id: str, blob: Blob) -> None:
    found = _find(connection, blob_id)
    stat = blob.stat
    if found is not None:
        _keep_again(connection, found, blob_id, stat)
        return
    inline = len(blob.content) <= CHUNK_BYTES
    key = _insert(connection, blob_id, stat, blob.content if inline else None)
    if not inline:
        for place, start in enumerate(range(0, len(blob.content), CHUNK_BYTES)):
            _add_piece(key, place, blob.content[start : start + CHUNK_BYTES])(connection)


def _keep_again(connection: sqlite3.Connection, found: tuple[int, BlobStat], blob_id: str, stat: BlobStat) -> None:
    key, known = found
    connection.execute("UPDATE blobs SET used_at = ? WHERE key = ?", (time.time(), key))
    if stat.outranks(known):
        row = (stat.kind, stat.is_json, stat.filename, _sum(blob_id, stat), key)
        connection.execute("UPDATE blobs SET kind = ?, is_json = ?, filename = ?, sum = ? WHERE key = ?", row)


def _insert(connection: sqlite3.Connection, blob_id: str, stat: BlobStat, content: bytes | None) -> int:
    row = (blob_id, stat.kind, stat.is_json, stat.filename, stat.size, _sum(blob_id, stat), time.time(), content)
    insert = (
        "INSERT INTO blobs (id, kind, is_json, filename, size, sum, used_at, content) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    )
    return connection.execute(insert, row).lastrowid or 0


def _add_piece(key: int, place: int, piece: bytes) -> Callable[[sqlite3.Connection], None]:
    def work(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO pieces (blob, place, content) VALUES (?, ?, ?)", (key, place, piece))

    return work


def _complete(connection: sqlite3.Connection, key: int, blob_id: str, stat: BlobStat) -> None:
    found = _find(connection, blob_id)
    if found is None:
        row = (blob_id, stat.size, _sum(blob_id, stat), time.time(), key)
        connection.execute("UPDATE blobs SET id = ?, size = ?, sum = ?, used_at = ? WHERE key = ?", row)
    else:
        _keep_again(connection, found, blob_id, stat)
        _forget(connection, key)


async def _even(content: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of one size, the last one apart."""
    gathered = bytearray()
    async for part in content:
        gathered += part
        while len(gathered) >= CHUNK_BYTES:
            yield bytes(gathered[:CHUNK_BYTES])
            del gathered[:CHUNK_BYTES]
    if gathered:
        yield bytes(gathered)


def _sum(*parts: object) -> int:
    return zlib.crc32(repr(parts).encode("utf-8", "surrogatepass"))


def _check(digest: str, blob_id: str) -> None:
    if digest != blob_id:
        raise _damaged(blob_id)


def _damaged(blob_id: str) -> CorruptState:
    return CorruptState(f"the blob {blob_id[:80]} is not what was stored: the state file is damaged")
