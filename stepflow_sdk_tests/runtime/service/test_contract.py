"""The contract: every operation of the OpenAPI document is called, and answers as the document says."""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import jsonschema
import pytest
from jsonschema import Draft202012Validator

from stepflow_sdk_tests.runtime.service.api import NO_ID, NO_RUN, Answer, Api, flow_of, serving

FLOW = flow_of(
    "/echo",
    name="contract",
    schemas={"type": "object", "properties": {"variables": {"type": "object", "properties": {"v": {"env_var": "V"}}}}},
    examples=[{"name": "one", "input": 1}],
    test={"cases": [{"name": "two", "input": 2}]},
)

Example = tuple[int, Callable[[Api], Awaitable[Answer]]]


async def done(api: Api) -> str:
    started = await api.start(FLOW, {"x": 1}, 2, wait=True)
    return str(started["runId"])


def at(method: str, path: str, body: Any = None, **options: Any) -> Callable[[Api], Awaitable[Answer]]:
    """A request, in whose path names stand for what there is."""

    async def call(api: Api) -> Answer:
        target = path
        if "{done}" in path:
            target = target.replace("{done}", await done(api))
        if "{held}" in path:
            target = target.replace("{held}", await api.held())
        if "{flow}" in path:
            target = target.replace("{flow}", await api.store(FLOW))
        if "{blob}" in path:
            target = target.replace("{blob}", (await api.ask("POST", "/blobs", {"data": [1]}))["blobId"])
        return await api.call(method, target, body, **options)

    return call


async def run_of(api: Api, **options: Any) -> Answer:
    return await api.call("POST", "/runs", {"flowId": await api.store(FLOW), "input": [1, "x"], **options})


async def stopped(api: Api) -> Answer:
    await api.service.drain(0)
    return await api.call("GET", "//ready")


async def refused_run(api: Api) -> Answer:
    flow_id = await api.store(FLOW)
    await api.service.drain(0)
    return await api.call("POST", "/runs", {"flowId": flow_id, "input": [1]})


async def told_all(api: Api) -> Answer:
    run_id = await done(api)
    async with api.events(run_id) as events:
        last = [event async for event in events][-1]
    return await api.call("GET", f"/runs/{run_id}/events", headers={"Last-Event-ID": last.id})


BYTES = {"content-type": "application/octet-stream"}
JSON = {"content-type": "application/json"}

EXAMPLES: dict[str, list[Example]] = {
    "healthCheck": [(200, at("GET", "/health"))],
    "health": [(200, at("GET", "//health"))],
    "ready": [(200, at("GET", "//ready")), (503, stopped)],
    "openApi": [(200, at("GET", "/openapi.json"))],
    "rootOpenApi": [(200, at("GET", "//openapi.json"))],
    "listComponents": [
        (200, at("GET", "/components")),
        (200, at("GET", "/components?includeSchemas=false")),
        (400, at("GET", "/components?includeSchemas=perhaps")),
    ],
    "storeFlow": [
        (200, at("POST", "/flows", {"flow": FLOW})),
        (200, at("POST", "/flows", {"flow": FLOW, "dryRun": True})),
        (200, at("POST", "/flows", {"flow": flow_of("/echo", {"$step": "later"})})),
        (400, at("POST", "/flows", data=b"{", headers=JSON)),
        (415, at("POST", "/flows", data=b"{}", headers={"content-type": "text/plain"})),
        (422, at("POST", "/flows", {"flow": {"steps": 5}})),
    ],
    "getFlow": [(200, at("GET", "/flows/{flow}")), (404, at("GET", f"/flows/{NO_ID}"))],
    "getFlowVariables": [(200, at("GET", "/flows/{flow}/variables")), (404, at("GET", f"/flows/{NO_ID}/variables"))],
    "deleteFlow": [(409, at("DELETE", "/flows/{flow}")), (404, at("DELETE", f"/flows/{NO_ID}"))],
    "createRun": [
        (202, run_of),
        (200, lambda api: run_of(api, wait=True, timeoutSecs=30)),
        (400, lambda api: run_of(api, overrides={"none": {"value": {}}})),
        (404, at("POST", "/runs", {"flowId": NO_ID, "input": [1]})),
        (422, at("POST", "/runs", {"flowId": NO_ID, "input": 1})),
        (503, refused_run),
    ],
    "listRuns": [
        (200, at("GET", "/runs")),
        (200, at("GET", "/runs?status=completed&rootsOnly=true&limit=5&offset=0&maxDepth=0")),
        (400, at("GET", "/runs?status=done")),
    ],
    "getRun": [
        (200, at("GET", "/runs/{done}")),
        (200, at("GET", "/runs/{held}?wait=true&timeoutSecs=0")),
        (400, at("GET", "/runs/none")),
        (404, at("GET", f"/runs/{NO_RUN}")),
    ],
    "deleteRun": [
        (200, at("DELETE", "/runs/{done}")),
        (404, at("DELETE", f"/runs/{NO_RUN}")),
        (409, at("DELETE", "/runs/{held}")),
    ],
    "cancelRun": [
        (200, at("POST", "/runs/{held}/cancel")),
        (404, at("POST", f"/runs/{NO_RUN}/cancel")),
        (409, at("POST", "/runs/{done}/cancel")),
    ],
    "getRunItems": [
        (200, at("GET", "/runs/{done}/items")),
        (200, at("GET", "/runs/{held}/items")),
        (404, at("GET", f"/runs/{NO_RUN}/items")),
    ],
    "getRunSteps": [
        (200, at("GET", "/runs/{done}/steps")),
        (200, at("GET", "/runs/{done}/steps?itemIndex=1")),
        (200, at("GET", "/runs/{held}/steps")),
        (404, at("GET", "/runs/{done}/steps?itemIndex=2")),
        (400, at("GET", "/runs/{done}/steps?itemIndex=-1")),
    ],
    "getRunFlow": [(200, at("GET", "/runs/{done}/flow")), (404, at("GET", f"/runs/{NO_RUN}/flow"))],
    "getRunEvents": [
        (200, at("GET", "/runs/{done}/events")),
        (204, told_all),
        (400, at("GET", "/runs/{done}/events?lastEventId=7")),
        (404, at("GET", f"/runs/{NO_RUN}/events")),
    ],
    "storeBlob": [
        (200, at("POST", "/blobs", {"data": None, "filename": "ü.json"})),
        (200, at("POST", "/blobs", data=b"\xff", headers=BYTES)),
        (400, at("POST", "/blobs", {"data": "no base64", "blobType": "binary"})),
        (422, at("POST", "/blobs", {"blobType": "data"})),
    ],
    "getBlob": [
        (200, at("GET", "/blobs/{blob}")),
        (200, at("GET", "/blobs/{blob}", headers={"accept": "application/octet-stream"})),
        (404, at("GET", "/blobs/none")),
    ],
}


def operations(document: Any) -> dict[str, tuple[str, str, Any]]:
    """Every operation by its id: method, path, and what is said of it."""
    return {
        described["operationId"]: (method.upper(), path, described)
        for path, methods in document["paths"].items()
        for method, described in methods.items()
    }


def check_answer(document: Any, described: Any, answer: Answer) -> None:
    """Check an answer against what the document says of its status."""
    said = described["responses"].get(str(answer.status))
    assert said is not None, f"{answer.status} is not in the document: {answer.text[:200]!r}"
    content = said.get("content", {})
    if not content:
        assert answer.text == b""
        return
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in content, kind
    if kind == "application/json":
        schema = {**content[kind]["schema"], "components": document["components"]}
        Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(answer.json)


async def test_the_document_is_openapi_whose_schemas_are_json_schemas(api: Api) -> None:
    document = await api.ask("GET", "//openapi.json")
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    names = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert names <= set(document["components"]["schemas"])
    for _, path, described in operations(document).values():
        named = {parameter["name"] for parameter in described["parameters"] if parameter["in"] == "path"}
        assert named == set(re.findall(r"\{(\w+)\}", path))


async def test_every_operation_has_examples_and_no_other(api: Api) -> None:
    described = operations(await api.ask("GET", "//openapi.json"))
    assert set(EXAMPLES) == set(described)
    print(f"operations in the document: {len(described)}")
    for name, (_, _, said) in described.items():
        good = {int(status) for status in said["responses"] if status.startswith("2")}
        assert good <= {status for status, _ in EXAMPLES[name]}, name


@pytest.mark.parametrize("name", EXAMPLES)
async def test_an_operation_answers_as_the_document_says(api: Api, name: str) -> None:
    document = await api.ask("GET", "//openapi.json")
    _, _, described = operations(document)[name]
    for status, call in EXAMPLES[name]:
        answer = await call(api)
        assert answer.status == status, answer.text[:500]
        check_answer(document, described, answer)


async def test_an_answer_of_another_form_would_be_noticed(api: Api) -> None:
    document = await api.ask("GET", "//openapi.json")
    _, _, described = operations(document)["getRunItems"]
    wrong = Answer(200, {"content-type": "application/json"}, b'{"itemCount": "2", "items": []}')
    with pytest.raises(jsonschema.ValidationError):
        check_answer(document, described, wrong)


async def test_the_operations_of_the_orchestrator_0_11_are_there(api: Api) -> None:
    # Method and path of each operation in the document that the orchestrator 0.11.1 serves of itself.
    upstream = """
        GET /health, POST /blobs, GET /blobs/{blob_id}, GET /components, GET /runs, POST /runs, GET /runs/{run_id},
        DELETE /runs/{run_id}, GET /runs/{run_id}/items, GET /runs/{run_id}/flow, GET /runs/{run_id}/steps,
        POST /runs/{run_id}/cancel, POST /flows, GET /flows/{flow_id}, DELETE /flows/{flow_id},
        GET /flows/{flow_id}/variables
    """
    ours = {
        f"{method} {path.removeprefix('/api/v1')}"
        for method, path, _ in operations(await api.ask("GET", "//openapi.json")).values()
    }
    assert {operation.strip() for operation in upstream.split(",")} <= ours


async def test_with_a_token_the_document_says_what_happens_without_it() -> None:
    from stepflow_sdk.transports.http.policy import HttpPolicy

    async with serving(HttpPolicy(token="secret")) as api:
        document = await api.ask("GET", "//openapi.json", headers={"Authorization": "Bearer secret"})
        for name, (method, path, described) in operations(document).items():
            target = re.sub(r"\{\w+\}", NO_RUN, path)
            answer = await api.call(method, f"/{target}")
            if described.get("security") == [{}]:
                assert answer.status == 200, name
            else:
                assert answer.status == 401, name
                check_answer(document, described, answer)
