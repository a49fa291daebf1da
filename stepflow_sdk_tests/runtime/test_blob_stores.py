import base64
import hashlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepflow_sdk.errors import CorruptState, InvalidValue
from stepflow_sdk.flows import canonical_json
from stepflow_sdk.protocol import BlobType
from stepflow_sdk.runtime import BlobStat, BlobStore, LocalRuntime, MemoryBlobStore
from stepflow_sdk.runtime.blobs import CHUNK_BYTES
from stepflow_sdk.runtime.stores.sqlite import SqliteState
from stepflow_sdk_tests.runtime.state_tools import crash_image


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobStore]:
    if request.param == "memory":
        yield MemoryBlobStore()
        return
    state = await SqliteState.open(tmp_path / "state.db")
    yield state.blobs
    await state.close()


async def _pieces(content: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def test_a_value_is_kept_once_under_the_hash_of_its_text(store: BlobStore) -> None:
    value = {"b": 1, "a": [1.0, "é"]}
    blob_id = await store.put(value)
    assert blob_id == hashlib.sha256(canonical_json(value)).hexdigest()
    assert await store.put({"b": 1, "a": [1.0, "é"]}) == blob_id
    blob = await store.get(blob_id)
    assert blob is not None
    assert (blob.data(), blob.kind, blob.blob_type) == (value, "data", BlobType.data)
    assert await store.get(blob_id.upper()) is None
    assert await store.get("x") is None
    assert await store.stat("x") is None
    assert [piece async for piece in store.chunks("x")] == []


async def test_what_was_once_a_flow_stays_one(store: BlobStore) -> None:
    flow = {"output": 1}
    ids = {await store.put(flow, kind) for kind in ("data", BlobType.flow, "data")}
    blob = await store.get(ids.pop())
    assert not ids
    assert blob is not None
    assert blob.kind == "flow"


async def test_bytes_have_the_ids_of_the_format(store: BlobStore) -> None:
    # The two ids of section f of the flow format.
    raw = await store.put_bytes(b"hi", filename="hi.txt")
    assert raw == "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"
    text = await store.put("aGk=", "binary")
    assert text == "35a1818d651b50538be060e534a661d659b614b97c917ff90527e2b463917cf0"
    for blob_id in (raw, text):
        blob = await store.get(blob_id)
        assert blob is not None
        assert (blob.kind, blob.to_bytes(), blob.data(), blob.blob_type) == ("binary", b"hi", "aGk=", BlobType.data)
    assert await store.stat(raw) == BlobStat(2, "binary", is_json=False, filename="hi.txt")


@pytest.mark.parametrize("value", [1, None, "not base64!", "aGk", {"a": 1}])
async def test_a_binary_blob_of_json_is_base64_text(store: BlobStore, value: Any) -> None:
    with pytest.raises(InvalidValue, match="base64"):
        await store.put(value, "binary")


async def test_values_that_are_not_json_are_refused(store: BlobStore) -> None:
    with pytest.raises(InvalidValue):
        await store.put(float("inf"))


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
async def test_bytes_of_any_size_come_back_whole_and_in_pieces(store: BlobStore, size: int) -> None:
    content = hashlib.shake_128(b"seed").digest(size)
    blob_id = await store.put_bytes(_pieces(content))
    assert blob_id == hashlib.sha256(content).hexdigest()
    assert await store.put_bytes(content) == blob_id
    assert await store.put_bytes(_pieces(content, 77_777)) == blob_id
    blob = await store.get(blob_id)
    assert blob is not None
    assert blob.to_bytes() == content
    pieces = [piece async for piece in store.chunks(blob_id)]
    assert b"".join(pieces) == content
    assert all(0 < len(piece) <= CHUNK_BYTES for piece in pieces)


async def test_a_large_value_comes_back(store: BlobStore) -> None:
    value = {"text": "é" * CHUNK_BYTES}
    blob = await store.get(await store.put(value))
    assert blob is not None
    assert blob.data() == value


async def test_blobs_outlive_the_process_and_half_stored_ones_do_not(tmp_path: Path) -> None:
    images: list[Path] = []

    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * CHUNK_BYTES * 2
        images.append(crash_image(tmp_path / "state.db"))

    state = await SqliteState.open(tmp_path / "state.db")
    small = await state.blobs.put([1])
    await state.blobs.put_bytes(broken())
    await state.close()
    state = await SqliteState.open(images[0])
    assert await state.blobs.get(small) is not None
    await state.close()
    with sqlite3.connect(images[0]) as connection:
        assert connection.execute("SELECT count(*) FROM blobs").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM pieces").fetchone() == (0,)
    connection.close()


async def test_a_blob_that_breaks_off_is_not_there(store: BlobStore) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * CHUNK_BYTES
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        await store.put_bytes(broken())
    assert await store.stat(hashlib.sha256(b"x" * CHUNK_BYTES).hexdigest()) is None


@pytest.mark.parametrize("size", [10, 3 * CHUNK_BYTES])
@pytest.mark.promise("D6")
async def test_a_changed_blob_is_never_given_out(tmp_path: Path, size: int) -> None:
    path = tmp_path / "state.db"
    state = await SqliteState.open(path)
    blob_id = await state.blobs.put_bytes(b"a" * size)
    await state.close()
    with sqlite3.connect(path) as connection:
        table = "blobs" if size == 10 else "pieces"
        connection.execute(f"UPDATE {table} SET content = replace(CAST(content AS TEXT), 'aaa', 'aab')")
    connection.close()
    state = await SqliteState.open(path)
    with pytest.raises(CorruptState, match=blob_id):
        await state.blobs.get(blob_id)
    with pytest.raises(CorruptState, match=blob_id):
        async for _ in state.blobs.chunks(blob_id):
            pass
    await state.close()


async def test_components_and_flows_use_the_blobs_of_the_state_file(tmp_path: Path) -> None:
    flow = {
        "steps": [
            {"id": "put", "component": "/builtin/put_blob", "input": {"data": {"$input": "$"}, "blob_type": "data"}},
            {
                "id": "get",
                "component": "/builtin/get_blob",
                "input": {"blob_id": {"$step": "put", "path": "$.blob_id"}},
            },
        ],
        "output": {"$step": "get", "path": "$.data"},
    }
    async with LocalRuntime(state=tmp_path / "state.db") as runtime:
        assert (await runtime.run(flow, {"a": [1]})).unwrap() == {"a": [1]}
        blob_id = await runtime.put_blob({"b": 2})
    async with LocalRuntime(state=tmp_path / "state.db") as runtime:
        assert await runtime.get_blob(blob_id) == {"b": 2}


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=50))
async def test_bytes_are_the_same_however_they_come(content: bytes) -> None:
    store = MemoryBlobStore()
    text = await store.put(base64.b64encode(content).decode(), "binary")
    raw = await store.put_bytes(content)
    for blob_id in (text, raw):
        blob = await store.get(blob_id)
        assert blob is not None
        assert blob.to_bytes() == content
