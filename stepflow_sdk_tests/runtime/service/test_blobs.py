import base64
import hashlib
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

from stepflow_sdk.flows import blob_id
from stepflow_sdk.transports.http.policy import HttpPolicy
from stepflow_sdk_tests.runtime.service.api import NO_ID, Api, flow_of, serving

BYTES = {"content-type": "application/octet-stream"}
AS_BYTES = {"accept": "application/octet-stream"}


async def test_json_is_stored_under_the_hash_of_its_text_and_found_by_components(api: Api) -> None:
    value: Any = {"b": 1, "a": [1.0, "hé", None]}
    stored = await api.ask("POST", "/blobs", {"data": value, "filename": "value.json"})
    assert stored == {"blobId": blob_id(value), "filename": "value.json"}
    found = await api.ask("GET", f"/blobs/{blob_id(value)}")
    assert repr(found["data"]) == repr(value)
    assert (found["blobType"], found["filename"]) == ("data", "value.json")
    assert await api.runtime.get_blob(blob_id(value)) == value


async def test_bytes_are_stored_under_their_own_hash_and_come_back_unchanged(api: Api) -> None:
    content = bytes(range(256)) * 1000
    stored = await api.ask("POST", "/blobs", data=content, headers={**BYTES, "x-blob-filename": "all.bin"})
    assert stored["blobId"] == hashlib.sha256(content).hexdigest()
    found = await api.call("GET", f"/blobs/{stored['blobId']}", headers=AS_BYTES)
    assert found.text == content
    assert found.headers["content-type"] == "application/octet-stream"
    assert found.headers["x-blob-type"] == "binary"
    assert "all.bin" in found.headers["content-disposition"]
    as_json = await api.ask("GET", f"/blobs/{stored['blobId']}")
    assert (base64.b64decode(as_json["data"]), as_json["blobType"]) == (content, "binary")


async def test_large_bytes_go_in_and_out_in_pieces(tmp_path: Path) -> None:
    content = hashlib.sha256(b"seed").digest() * 250_000
    pieces = (content[at : at + 65_536] for at in range(0, len(content), 65_536))

    async def sent() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async with serving(state=tmp_path / "state.db") as api:
        stored = await api.ask("POST", "/blobs", data=sent(), headers=BYTES)
        assert stored["blobId"] == hashlib.sha256(content).hexdigest()
        found = await api.call("GET", f"/blobs/{stored['blobId']}", headers=AS_BYTES)
        assert found.headers["content-length"] == str(len(content))
        assert found.text == content


async def test_bytes_above_the_limit_are_refused_wherever_the_limit_is_reached(tmp_path: Path) -> None:
    async def sent() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 65_536

    policy = HttpPolicy(max_body_bytes=2_000_000)
    async with serving(policy, state=tmp_path / "state.db") as api:
        refused = await api.call("POST", "/blobs", data=sent(), headers=BYTES)
        assert refused.status == 413
        assert (await api.call("POST", "/blobs", {"data": "still there"})).status == 200
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        assert connection.execute("SELECT count(*) FROM pieces").fetchone() == (0,)


async def test_the_two_ids_of_the_same_bytes_are_those_of_the_orchestrator(api: Api) -> None:
    raw = await api.ask("POST", "/blobs", data=b"hi", headers=BYTES)
    assert raw["blobId"] == "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"
    text = await api.ask("POST", "/blobs", {"data": "aGk=", "blobType": "binary"})
    assert text["blobId"] == "35a1818d651b50538be060e534a661d659b614b97c917ff90527e2b463917cf0"
    assert (await api.call("GET", f"/blobs/{text['blobId']}", headers=AS_BYTES)).text == b"hi"


async def test_a_flow_is_a_blob_and_a_blob_a_flow(api: Api) -> None:
    flow = flow_of("/echo")
    assert (await api.ask("GET", f"/blobs/{await api.store(flow)}"))["blobType"] == "flow"
    stored = await api.ask("POST", "/blobs", {"data": flow, "blobType": "flow"})
    run = await api.ask("POST", "/runs", {"flowId": stored["blobId"], "input": [3], "wait": True})
    assert run["results"][0]["result"]["result"] == 3


async def test_a_blob_that_is_no_flow_is_not_run(api: Api) -> None:
    stored = await api.ask("POST", "/blobs", {"data": {"steps": 1}})
    refused = await api.call("POST", "/runs", {"flowId": stored["blobId"], "input": [3]})
    assert refused.status == 400
    assert "is no flow that can be run" in refused.message


async def test_what_is_no_blob_is_told(api: Api) -> None:
    for name in (NO_ID, NO_ID.upper(), "..", "x" * 64, "%2e%2e%2fetc"):
        missing = await api.call("GET", f"/blobs/{name}")
        assert missing.status == 404
        assert "there is no" in missing.message


async def test_a_name_that_would_be_a_header_of_its_own_is_none(api: Api) -> None:
    refused = await api.call("POST", "/blobs", {"data": 1, "filename": "a\r\nset-cookie: x"})
    assert (refused.status, "cannot be printed" in refused.message) == (400, True)
    stored = await api.ask("POST", "/blobs", {"data": "quoted", "filename": 'a"; filename="b'})
    found = await api.call("GET", f"/blobs/{stored['blobId']}", headers=AS_BYTES)
    assert found.headers["content-disposition"] == "attachment; filename*=UTF-8''a%22%3B%20filename%3D%22b"
