import re
from typing import Any

import anyio
import anyio.lowlevel
import jsonschema
import pytest

from stepflow_sdk.errors import (
    BlobNotFound,
    ComponentNotFound,
    InvalidInput,
    InvalidValue,
    NotFound,
    RemoteError,
)
from stepflow_sdk.protocol import FlowResultFailed
from stepflow_sdk.runtime import LocalRuntime
from stepflow_sdk_tests.runtime.scripted import Scripted, stack_of

ADD_ONE = {
    "steps": [{"id": "s", "component": "/add", "input": {"a": {"$input": "$"}, "b": 1}}],
    "output": {"$step": "s"},
}


async def test_messages_are_made_of_a_prompt(local: LocalRuntime) -> None:
    user = {"role": "user", "content": "hi"}
    assert await local.execute("/builtin/create_messages", {"user_prompt": "hi"}) == {"messages": [user]}
    both = await local.execute("/builtin/create_messages", {"user_prompt": "hi", "system_instructions": "be kind"})
    assert both == {"messages": [{"role": "system", "content": "be kind"}, user]}


async def test_blobs_are_stored_and_read(local: LocalRuntime) -> None:
    put = await local.execute("/builtin/put_blob", {"data": {"a": 1, "b": 2}, "blob_type": "data"})
    assert put == {"blob_id": "43258cff783fe7036d8a43033f830adfc60ec037382473548ac742b888292777"}
    assert await local.execute("/builtin/get_blob", put) == {"data": {"a": 1, "b": 2}}
    with pytest.raises(BlobNotFound, match="'abc'"):
        await local.execute("/builtin/get_blob", {"blob_id": "abc"})


@pytest.mark.parametrize(
    ("component", "input", "said"),
    [
        ("put_blob", {"data": 1}, "blob_type"),
        ("put_blob", {"data": 1, "blobType": "data"}, "did you mean 'blob_type' by 'blobType'?"),
        ("put_blob", {"data": 1, "blob_type": "flw"}, "it is one of 'binary', 'data', 'flow'"),
        ("put_blob", {"data": 1, "blob_type": "x"}, "blob_type"),
        ("get_blob", None, "object"),
        ("create_messages", {"user_prompt": 1}, "user_prompt"),
        ("eval", {"flow_id": "x"}, "input"),
        ("map", {"workflow": {}, "items": 1}, "items"),
        ("map", {"workflow": [], "items": []}, "workflow"),
        ("iterate", {"flow": {"steps": 1}, "initial_input": 1}, "flow"),
        ("map", {"workflow": {}, "items": [], "max_concurrency": 0}, "max_concurrency"),
        ("iterate", {"flow": {}, "initial_input": 1, "max_iterations": -1}, "max_iterations"),
        ("load_file", {"path": "x", "format": "xml"}, "format"),
        ("openai", {}, "messages"),
        ("openai", {"messages": [{"role": "tool", "content": ""}]}, r"\$\.messages\[0\]\.role"),
        ("openai", {"messages": [], "max_tokens": "many"}, "max_tokens"),
    ],
)
async def test_wrong_input_is_refused_at_once_as_a_failed_step(
    local: LocalRuntime, component: str, input: Any, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        await local.execute(f"/builtin/{component}", input)
    step = {"id": "s", "component": f"/builtin/{component}", "input": {"$literal": input}}
    outcome = await local.run({"steps": [step], "output": {"$step": "s"}})
    assert isinstance(outcome, FlowResultFailed)
    assert (outcome.error.code, outcome.error.message) == (-32300, 'step "s" failed')
    assert re.search(said, stack_of(outcome)[-1]["error"])


async def test_an_unknown_builtin_is_named_with_the_nearest(local: LocalRuntime) -> None:
    with pytest.raises(ComponentNotFound, match="did you mean '/put_blob'"):
        await local.execute("/builtin/putblob", {})


async def test_a_stored_flow_is_evaluated_and_its_failure_is_data(local: LocalRuntime) -> None:
    flow_id = await local.put_blob(ADD_ONE, "flow")
    step = {"id": "s", "component": "/builtin/eval", "input": {"flow_id": flow_id, "input": {"$input": "$"}}}
    flow = {"steps": [step], "output": {"$step": "s"}}
    run_id = "00000000-0000-4000-8000-000000000001"
    outcome = (await local.run(flow, 1, run_id=run_id)).unwrap()
    assert outcome == {"result": {"outcome": "success", "result": 2}, "run_id": run_id}
    outcome = (await local.run(flow, "x")).unwrap()
    assert outcome["result"]["outcome"] == "failed"
    assert outcome["result"]["error"]["code"] == -32003


async def test_a_flow_is_mapped_over_a_list_in_order(local: LocalRuntime) -> None:
    mapped = await local.execute("/builtin/map", {"workflow": ADD_ONE, "items": [1, "x", 3], "max_concurrency": 2})
    assert (mapped["successful"], mapped["failed"]) == (2, 1)
    assert mapped["results"][0] == {"outcome": "success", "result": 2}
    assert mapped["results"][1]["outcome"] == "failed"
    assert mapped["results"][2] == {"outcome": "success", "result": 4}
    empty = await local.execute("/builtin/map", {"workflow": ADD_ONE, "items": []})
    assert empty == {"results": [], "successful": 0, "failed": 0}


@pytest.mark.parametrize(
    ("steps", "output", "message"),
    [
        ([], {"$step": "nobody"}, "Unknown step: nobody"),
        (
            [
                {"id": "a", "component": "/echo", "input": {"$step": "b"}},
                {"id": "b", "component": "/echo", "input": {"$step": "a"}},
            ],
            {"$step": "a"},
            "Step a not completed",
        ),
        ([{"id": "a", "component": "/echo", "input": {"$step": "a"}, "mustExecute": True}], 1, None),
    ],
)
async def test_an_unchecked_flow_fails_item_by_item_and_never_hangs(
    local: LocalRuntime, steps: Any, output: Any, message: str | None
) -> None:
    mapped = await local.execute("/builtin/map", {"workflow": {"steps": steps, "output": output}, "items": [1, 2]})
    told = [result.get("error", {}).get("message") for result in mapped["results"]]
    assert told == [message] * 2


ROUND = {
    "steps": [{"id": "s", "component": "/add", "input": {"a": {"$input": "$.n"}, "b": 1}}],
    "output": {
        "$if": {"$input": "$.last"},
        "then": {"result": {"$step": "s"}},
        "else": {"next": {"n": {"$step": "s"}, "last": True}},
    },
}


async def test_a_flow_is_repeated_until_it_gives_a_result(local: LocalRuntime) -> None:
    first = {"n": 1, "last": False}
    iterated = await local.execute("/builtin/iterate", {"flow": ROUND, "initial_input": first})
    assert iterated == {"result": 3, "iterations": 2, "terminated": False}
    limited = await local.execute("/builtin/iterate", {"flow": ROUND, "initial_input": first, "max_iterations": 1})
    assert limited == {"result": {"n": 2, "last": True}, "iterations": 1, "terminated": True}
    none = await local.execute("/builtin/iterate", {"flow": ROUND, "initial_input": first, "max_iterations": 0})
    assert none == {"result": first, "iterations": 0, "terminated": True}


async def test_a_round_that_fails_or_says_nothing_fails_the_step_with_that_error(local: LocalRuntime) -> None:
    with pytest.raises(RemoteError, match="must contain either 'result' or 'next'") as caught:
        await local.execute("/builtin/iterate", {"flow": {"output": {"x": 1}}, "initial_input": 1})
    assert caught.value.code == -32103
    step = {
        "id": "s",
        "component": "/builtin/iterate",
        "input": {"flow": {"$literal": ROUND}, "initial_input": {"n": "x"}},
    }
    outcome = await local.run({"steps": [step], "output": {"$step": "s"}})
    assert isinstance(outcome, FlowResultFailed)
    assert outcome.error.code == -32003  # what the component inside answered


async def test_instructions_may_be_null_or_empty(local: LocalRuntime) -> None:
    user = {"role": "user", "content": ""}
    assert await local.execute("/builtin/create_messages", {"user_prompt": "", "system_instructions": None}) == {
        "messages": [user]
    }
    empty = await local.execute("/builtin/create_messages", {"user_prompt": "", "system_instructions": ""})
    assert empty == {"messages": [{"role": "system", "content": ""}, user]}


@pytest.mark.parametrize(
    ("data", "type", "id"),
    [
        ("aGk=", "binary", "35a1818d651b50538be060e534a661d659b614b97c917ff90527e2b463917cf0"),
        ({}, "flow", "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
        (None, "data", "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b"),
    ],
)
async def test_blobs_of_each_type_have_the_ids_of_the_format(
    local: LocalRuntime, data: Any, type: str, id: str
) -> None:
    assert await local.execute("/builtin/put_blob", {"data": data, "blob_type": type}) == {"blob_id": id}
    assert await local.execute("/builtin/get_blob", {"blob_id": id}) == {"data": data}


async def test_a_blob_that_is_no_flow_is_not_evaluated(local: LocalRuntime) -> None:
    for data, said in (({"steps": 1}, "is no flow that can be run"), (None, "is no flow that can be run")):
        blob_id = await local.put_blob(data)
        with pytest.raises(InvalidValue, match=said):
            await local.execute("/builtin/eval", {"flow_id": blob_id, "input": None})
    with pytest.raises(NotFound, match="there is no flow with the id 'abc'"):
        await local.execute("/builtin/eval", {"flow_id": "abc", "input": None})


async def test_the_limit_of_a_map_counts_over_its_items() -> None:
    running, most = 0, 0
    both = anyio.Event()

    async def work(input: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 2:
            both.set()
        await both.wait()
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        running -= 1
        return input

    flow = {"steps": [{"id": "s", "component": "/work", "input": {"$input": "$"}}], "output": {"$step": "s"}}
    async with LocalRuntime(Scripted(work=work)) as runtime:
        mapped = await runtime.execute(
            "/builtin/map", {"workflow": flow, "items": list(range(10)), "max_concurrency": 2}
        )
    assert [result["result"] for result in mapped["results"]] == list(range(10))
    assert (mapped["successful"], most) == (10, 2)


async def test_the_flow_of_a_map_that_is_no_literal_is_resolved_outside(local: LocalRuntime) -> None:
    inner = {"output": {"$input": "$.outer"}}
    outcomes = {}
    for name, flow in (("plain", inner), ("literal", {"$literal": inner})):
        step = {"id": "m", "component": "/builtin/map", "input": {"workflow": flow, "items": [{"outer": "inner"}]}}
        outcome = await local.run(
            {"steps": [step], "output": {"$step": "m", "path": "$.results[0].result"}}, {"outer": 7}
        )
        outcomes[name] = outcome.unwrap()
    assert outcomes == {"plain": 7, "literal": "inner"}


async def test_a_result_wins_over_a_next_round_and_a_thousand_rounds_are_the_end(local: LocalRuntime) -> None:
    both = {"output": {"result": {"$input": "$"}, "next": 1}}
    assert await local.execute("/builtin/iterate", {"flow": both, "initial_input": None}) == {
        "result": None,
        "iterations": 1,
        "terminated": False,
    }
    endless = {"output": {"next": {"$input": "$"}}}
    assert await local.execute("/builtin/iterate", {"flow": endless, "initial_input": [0]}) == {
        "result": [0],
        "iterations": 1000,
        "terminated": True,
    }


async def test_each_builtin_is_listed_with_schemas_that_say_what_it_takes(local: LocalRuntime) -> None:
    listed = {info.component: info for info in await local.list_components() if info.component.startswith("/builtin/")}
    assert set(listed) == {
        f"/builtin/{name}"
        for name in ("create_messages", "openai", "put_blob", "get_blob", "load_file", "eval", "map", "iterate")
    }
    for info in listed.values():
        assert info.description
        assert info.input_schema is not None
        assert info.output_schema is not None
        jsonschema.Draft202012Validator.check_schema(info.input_schema)
        jsonschema.Draft202012Validator.check_schema(info.output_schema)
    put_blob: Any = listed["/builtin/put_blob"].input_schema
    jsonschema.validate({"data": 1, "blob_type": "data"}, put_blob)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"data": 1}, put_blob)


async def test_a_binary_blob_is_the_base64_text_of_bytes(local: LocalRuntime) -> None:
    for data in ("not base64!", 1, None):
        with pytest.raises(InvalidValue, match="a binary blob is a string, the base64 text of bytes"):
            await local.execute("/builtin/put_blob", {"data": data, "blob_type": "binary"})


async def test_an_integer_with_a_fraction_of_nothing_is_an_integer(local: LocalRuntime) -> None:
    # As JSON Schema has it, which is what the components report of their inputs.
    more = {"workflow": {"output": 1}, "items": [1, 2], "max_concurrency": 2.0}
    assert (await local.execute("/builtin/map", more))["successful"] == 2
    once = {"flow": {"output": {"next": 1}}, "initial_input": 1, "max_iterations": 1.0}
    assert (await local.execute("/builtin/iterate", once))["iterations"] == 1
    with pytest.raises(InvalidInput, match="max_concurrency"):
        await local.execute("/builtin/map", {**more, "max_concurrency": 2.5})
