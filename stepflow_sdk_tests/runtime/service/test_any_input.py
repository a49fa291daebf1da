"""Whatever is sent, the answer is one of the document, and never that the service failed."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepflow_sdk_tests.flows.strategies import JSON, TEXT
from stepflow_sdk_tests.runtime.service.api import NO_ID, Api, flow_of

QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
REFUSED = {400, 404, 409, 415, 422}


def nearly(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects with some of these fields, right or wrong, and with others; or anything at all."""
    wrong = {name: strategy | JSON for name, strategy in fields.items()}
    return st.fixed_dictionaries({}, optional={**wrong, "other": JSON}) | JSON


RUNS = nearly(
    flowId=st.sampled_from([NO_ID, "FLOW"]),
    input=st.lists(JSON, max_size=2),
    overrides=st.dictionaries(TEXT, JSON, max_size=2),
    variables=st.dictionaries(TEXT, JSON, max_size=2),
    maxConcurrency=st.integers(-1, 3),
    wait=st.just(True),
    timeoutSecs=st.integers(-1, 5),
)
FLOWS = nearly(flow=st.dictionaries(st.sampled_from(["steps", "output", "schemas", "test", "name"]), JSON), dryRun=JSON)
BLOBS = nearly(data=JSON, blobType=st.sampled_from(["flow", "data", "binary"]), filename=TEXT)


async def check(api: Api, path: str, body: Any) -> None:
    answer = await api.call("POST", path, data=json.dumps(body).encode(), headers={"content-type": "application/json"})
    if answer.status not in (200, 202):
        assert answer.status in REFUSED, answer
        assert answer.message


@given(RUNS)
@QUICK
async def test_any_run_is_answered(api: Api, body: Any) -> None:
    if isinstance(body, dict) and body.get("flowId") == "FLOW":
        body = {**body, "flowId": await api.store(flow_of("/echo"))}
    await check(api, "/runs", body)


@given(FLOWS)
@QUICK
async def test_any_flow_is_answered(api: Api, body: Any) -> None:
    await check(api, "/flows", body)


@given(BLOBS)
@QUICK
async def test_any_blob_is_answered(api: Api, body: Any) -> None:
    await check(api, "/blobs", body)


@given(
    st.sampled_from(["/runs", "/components", f"/runs/{NO_ID}", "/runs/a/events", "/blobs/a", "/flows/a/variables"]),
    st.dictionaries(
        TEXT | st.sampled_from(["limit", "offset", "status", "wait", "timeoutSecs", "itemIndex", "rootsOnly"]), TEXT
    ),
    st.dictionaries(st.sampled_from(["Last-Event-ID", "Accept"]), st.text('ab-,;*/"0', max_size=10)),
)
@QUICK
async def test_any_question_is_answered(api: Api, path: str, query: dict[str, str], headers: dict[str, str]) -> None:
    answer = await api.call("GET", path, params=query, headers=headers)
    assert answer.status in {200, *REFUSED}, answer
