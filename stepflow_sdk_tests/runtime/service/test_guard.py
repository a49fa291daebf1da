"""Who may use the service, and how much."""

import json

import anyio
import pytest

from stepflow_sdk.transports.http.policy import HttpPolicy
from stepflow_sdk_tests.runtime.service.api import Api, flow_of, serving

JSON = {"content-type": "application/json"}


async def test_a_foreign_host_or_origin_is_refused_everywhere(api: Api) -> None:
    for path in ("/runs", "//health", "//ready", "//openapi.json", "/nothing"):
        foreign = await api.call("GET", path, headers={"Host": "evil.example"})
        assert (foreign.status, "allow-host" in foreign.message) == (421, True)
        page = await api.call("GET", path, headers={"Origin": "https://evil.example"})
        assert (page.status, "allow-origin" in page.message) == (403, True)
        assert "access-control-allow-origin" not in page.headers


async def test_an_allowed_host_and_origin_are_let_in() -> None:
    policy = HttpPolicy(allowed_hosts=frozenset({"api.test"}), allowed_origins=frozenset({"https://page.test"}))
    async with serving(policy) as api:
        assert (await api.call("GET", "/runs", headers={"Host": "api.test:80"})).status == 200
        assert (await api.call("GET", "/runs", headers={"Origin": "https://page.test"})).status == 200


async def test_without_the_token_there_is_nothing_but_health() -> None:
    async with serving(HttpPolicy(token="s3cret")) as api:
        for path in ("/health", "//health", "//ready"):
            assert (await api.call("GET", path)).status == 200
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret"}):
            refused = await api.call("GET", "/runs", headers=headers)
            assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
            assert "s3cret" not in refused.message
            assert (await api.call("GET", "/nothing", headers=headers)).status == 401
        assert (await api.call("GET", "/runs", headers={"Authorization": "Bearer s3cret"})).status == 200


async def test_a_body_above_the_limit_is_refused_and_the_service_goes_on() -> None:
    async with serving(HttpPolicy(max_body_bytes=1000)) as api:
        refused = await api.call("POST", "/blobs", {"data": "x" * 1000})
        assert (refused.status, refused.message) == (413, "the body is longer than 1000 bytes")

        async def pieces() -> object:
            for _ in range(20):
                yield b"x" * 100

        chunked = await api.call("POST", "/blobs", data=pieces(), headers={"content-type": "application/octet-stream"})
        assert chunked.status == 413
        assert (await api.call("GET", "//health")).status == 200


async def test_a_body_that_does_not_come_is_given_up() -> None:
    async with serving(HttpPolicy(body_timeout=0.05)) as api:
        forever = anyio.Event()

        async def pieces() -> object:
            yield b"{"
            await forever.wait()

        refused = await api.call("POST", "/flows", data=pieces(), headers=JSON)
        assert (refused.status, refused.message) == (408, "the body did not arrive in time")


async def test_what_is_no_json_is_refused_in_words(api: Api) -> None:
    deep = b'{"flow": {"a": ' + b"[" * 100_000
    bodies = {
        b"": "the body is empty",
        b"{": "the body is not JSON: Input data was truncated",
        b'{"flow": NaN}': "the body is not JSON",
        b'{"flow": {"a": "\xff"}}': "the body is not JSON",
        deep: "the body is nested too deeply",
    }
    for body, message in bodies.items():
        refused = await api.call("POST", "/flows", data=body, headers=JSON)
        assert (refused.status, message in refused.message) == (400, True), refused.text[:200]


async def test_a_flow_that_is_nested_too_deeply_is_refused(api: Api) -> None:
    value: object = 1
    for _ in range(400):
        value = [value]
    body = json.dumps({"flow": flow_of("/echo", value)}).encode()
    refused = await api.call("POST", "/flows", data=body, headers=JSON)
    assert refused.status == 422
    stored = await api.store(flow_of("/echo"))
    body = json.dumps({"flowId": stored, "input": [value]}).encode()
    refused = await api.call("POST", "/runs", data=body, headers=JSON)
    assert (refused.status, "nested" in refused.message) == (400, True)


async def test_other_paths_and_methods_are_told_with_what_there_is(api: Api) -> None:
    missing = await api.call("GET", "//runs")
    assert (missing.status, missing.message) == (404, "there is nothing at '/runs'; did you mean '/api/v1/runs'?")
    assert "/openapi.json" in (await api.call("GET", "//something")).message
    assert (await api.call("GET", "/runs/")).status == 404
    wrong = await api.call("PUT", "/flows", {})
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")
    assert wrong.message == "PUT does not work here, but POST"
    head = await api.call("HEAD", "//health")
    assert (head.status, head.text) == (200, b"")


async def test_a_bug_is_told_in_the_log_alone(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("the secret path /srv/x")

    monkeypatch.setattr(api.runtime.engine.runs, "find", broken)
    failed = await api.call("GET", "/runs")
    assert (failed.status, failed.message) == (500, "the service failed on this request; its log says why")


async def test_a_coded_body_is_refused_and_not_taken_for_what_it_codes(api: Api) -> None:
    for kind in ("application/json", "application/octet-stream"):
        headers = {"content-type": kind, "content-encoding": "gzip"}
        refused = await api.call("POST", "/blobs", data=b"\x1f\x8b", headers=headers)
        assert (refused.status, "'gzip'" in refused.message) == (415, True)
    plain = await api.call("POST", "/blobs", data=b'{"data": 1}', headers=JSON | {"content-encoding": "identity"})
    assert plain.status == 200


async def test_a_word_that_is_none_of_those_known_is_told_them(api: Api) -> None:
    refused = await api.call("POST", "/blobs", {"data": 1, "blobType": "dta"})
    wanted = "the field 'blobType': expected one of flow, data, binary, not 'dta'; did you mean 'data'?"
    assert (refused.status, refused.message) == (422, wanted)
