"""Blobs of runtimes that keep them behind an HTTP API."""

import hashlib
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web

from stepflow_sdk import AccessDenied, BlobId, BlobNotFound, InternalError, InvalidValue, ResourceUnavailable
from stepflow_sdk.protocol import BlobType
from stepflow_sdk.transports.blob_api import BlobApi, check_blob_url

LIMIT = 2 * 1024 * 1024


@asynccontextmanager
async def blob_server(broken: bool = False) -> AsyncGenerator[str]:
    """A blob API as runtimes 0.10 serve it."""
    blobs: dict[str, Any] = {}

    async def put(request: web.Request) -> web.Response:
        if request.content_type == "application/octet-stream":
            raw = await request.read()
            id = hashlib.sha256(raw).hexdigest()
            blobs[id] = raw
            return web.json_response({"blobId": id})
        body = await request.json()
        id = hashlib.sha256(json.dumps(body["data"], separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()
        blobs[id] = body
        return web.json_response({"blobId": id} if not broken else {"id": id})

    async def get(request: web.Request) -> web.Response:
        id = request.match_info["id"]
        if id not in blobs:
            return web.json_response({"code": 404, "message": "no"}, status=404)
        if isinstance(blobs[id], bytes):
            return web.Response(body=blobs[id], headers={"x-blob-type": "binary"})
        if request.headers["accept"] == "application/octet-stream":
            return web.Response(body=json.dumps(blobs[id]["data"]).encode(), headers={"x-blob-type": "data"})
        return web.json_response({**blobs[id], "blobId": id})

    app = web.Application(client_max_size=LIMIT)
    app.router.add_post("/api/v1/blobs", put)
    app.router.add_get("/api/v1/blobs/{id}", get)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"http://127.0.0.1:{port}/api/v1/blobs"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def api(url: str) -> AsyncGenerator[BlobApi]:
    client = BlobApi(url, 60)
    try:
        yield client
    finally:
        await client.close()


async def test_a_blob_comes_back_as_it_was() -> None:
    data = msgspec.Raw('{"a":[1,1.0,"é😀"]}'.encode())
    async with blob_server() as url, api(url) as blobs:
        blob_id = await blobs.put(data, BlobType.data)
        assert msgspec.json.decode(await blobs.get(blob_id)) == msgspec.json.decode(data)


async def test_bytes_come_back_as_they_were() -> None:
    async with blob_server() as url, api(url) as blobs:
        blob_id = await blobs.put_bytes(b"\xff\x00raw")
        assert blob_id == hashlib.sha256(b"\xff\x00raw").hexdigest()
        assert await blobs.get_bytes(blob_id) == b"\xff\x00raw"
        text = await blobs.put(msgspec.Raw(b'"aGk="'), BlobType.data)
        assert bytes(await blobs.get_bytes(text)) == b'"aGk="'


async def test_a_blob_above_the_limit_is_an_error_that_names_it() -> None:
    async with blob_server() as url, api(url) as blobs:
        with pytest.raises(InvalidValue, match="2 MiB") as caught:
            await blobs.put(msgspec.Raw(b'"' + b"x" * LIMIT + b'"'), BlobType.data)
        assert caught.value.data["limit"] == LIMIT


@pytest.mark.parametrize("blob_id", ["0" * 64, "x", "../secrets", "A" * 64])
async def test_an_unknown_blob_is_not_found(blob_id: str) -> None:
    async with blob_server() as url, api(url) as blobs:
        with pytest.raises(BlobNotFound):
            await blobs.get(BlobId(blob_id))


async def test_an_answer_without_the_promised_form_is_an_internal_error() -> None:
    async with blob_server(broken=True) as url, api(url) as blobs:
        with pytest.raises(InternalError):
            await blobs.put(msgspec.Raw(b"1"), BlobType.data)


async def test_an_api_that_cannot_be_reached_is_unavailable() -> None:
    async with blob_server() as url:
        pass
    async with api(url) as blobs:
        with pytest.raises(ResourceUnavailable):
            await blobs.get(BlobId("0" * 64))


@pytest.mark.parametrize(
    ("url", "caller"),
    [
        ("http://127.0.0.1:1/blobs", "127.0.0.1"),
        ("http://localhost:1/blobs", "127.0.0.1"),
        ("http://[::1]:1/blobs", "127.0.0.1"),
        ("http://10.1.2.3:1/blobs", "10.1.2.3"),
        ("https://blobs.example/x", "10.1.2.3"),
        ("http://anywhere.example/x", None),
    ],
)
def test_the_address_of_a_caller_may_be_its_own_or_an_allowed_one(url: str, caller: str | None) -> None:
    check_blob_url(url, caller, frozenset({"blobs.example"}))


@pytest.mark.parametrize(
    ("url", "caller"),
    [
        ("http://169.254.169.254/latest", "127.0.0.1"),
        ("http://127.0.0.1:1/blobs", "10.1.2.3"),
        ("http://localhost.evil.example/x", "127.0.0.1"),
        ("file:///etc/passwd", None),
        ("http:///x", None),
        ("", None),
    ],
)
@pytest.mark.promise("S14")
def test_a_caller_cannot_have_the_server_call_elsewhere(url: str, caller: str | None) -> None:
    with pytest.raises(AccessDenied):
        check_blob_url(url, caller, frozenset({"blobs.example"}))
