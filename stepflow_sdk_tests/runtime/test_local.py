import uuid
from typing import Any

import pytest

from stepflow_sdk.errors import (
    BlobNotFound,
    ComponentError,
    ComponentNotFound,
    DefinitionError,
    FlowFailed,
    InvalidFlow,
    InvalidInput,
    InvalidValue,
    SkipStep,
)
from stepflow_sdk.flows import Flow, FlowBuilder, Value, blob_id
from stepflow_sdk.protocol import FlowResultFailed, FlowResultSuccess
from stepflow_sdk.runtime import LocalRuntime
from stepflow_sdk_tests.runtime.components import server

SUM = {
    "name": "sum",
    "steps": [
        {"id": "one", "component": "/add", "input": {"a": {"$input": "$.a"}, "b": 1}},
        {"id": "two", "component": "/add", "input": {"a": {"$step": "one"}, "b": {"$step": "one"}}},
    ],
    "output": {"total": {"$step": "two"}},
}


async def test_a_component_is_called_by_its_path(runtime: LocalRuntime) -> None:
    assert await runtime.execute("/add", {"a": 1, "b": 2}) == 3
    assert await runtime.execute("add", {"a": 1, "b": 2}) == 3


@pytest.mark.parametrize("value", [None, 0, -0.0, 2**64 - 1, 1.5, "hé\u2028😀", [], {}, {"b": [1, 1.0], "a": None}])
async def test_any_value_comes_back_as_it_went_out(runtime: LocalRuntime, value: Any) -> None:
    answer = await runtime.execute("/echo", {"value": value})
    assert repr(answer) == repr({"value": value})


async def test_an_error_of_a_component_keeps_class_message_and_data(runtime: LocalRuntime) -> None:
    with pytest.raises(ComponentError, match=r"^no luck$") as caught:
        await runtime.execute("/fail", {})
    assert caught.value.data == {"why": "no luck"}


async def test_what_is_wrong_with_an_input_is_told_with_its_path(runtime: LocalRuntime) -> None:
    with pytest.raises(InvalidInput, match=r"\$\.b"):
        await runtime.execute("/add", {"a": 1, "b": "2"})


async def test_a_component_that_is_not_there_is_named_with_the_nearest(runtime: LocalRuntime) -> None:
    with pytest.raises(ComponentNotFound, match=r"/ad.*did you mean '/add'"):
        await runtime.execute("/ad", {})


@pytest.mark.parametrize(("name", "value"), [("run_id", 5), ("run_id", "\ud800"), ("component", "/echo/\ud800")])
async def test_a_component_and_an_id_that_are_no_text_are_refused_by_name(
    runtime: LocalRuntime, name: str, value: Any
) -> None:
    given = {"component": "/echo", "input": {"value": 1}, name: value}
    with pytest.raises(InvalidValue, match=f"^{name}: "):
        await runtime.execute(**given)


async def test_a_skipped_execution_raises_the_skip(runtime: LocalRuntime) -> None:
    with pytest.raises(SkipStep, match="not today"):
        await runtime.execute("/skip", {"reason": "not today"})


async def test_a_flow_runs_to_its_output(runtime: LocalRuntime) -> None:
    outcome = await runtime.run(SUM, {"a": 1})
    assert outcome == FlowResultSuccess({"total": 4})
    assert outcome.unwrap() == {"total": 4}


async def test_a_flow_fails_with_the_error_of_its_component(runtime: LocalRuntime) -> None:
    flow = {"steps": [{"id": "s", "component": "/fail", "input": {"message": "gone"}}], "output": {"$step": "s"}}
    outcome = await runtime.run(flow)
    assert isinstance(outcome, FlowResultFailed)
    assert (outcome.error.code, outcome.error.message) == (-32000, "gone")
    assert outcome.error.data == {"why": "gone"}
    with pytest.raises(FlowFailed, match="gone"):
        outcome.unwrap()


async def test_a_batch_keeps_the_order_of_its_inputs_and_isolates_failures(runtime: LocalRuntime) -> None:
    inputs = [{"a": 1}, {"a": "no number"}, {"a": 3}, {}]
    results = await runtime.run_batch(SUM, inputs, max_concurrency=2)
    assert [result.__class__.__name__ for result in results] == [
        "FlowResultSuccess",
        "FlowResultFailed",
        "FlowResultSuccess",
        "FlowResultFailed",
    ]
    assert [results[0].unwrap(), results[2].unwrap()] == [{"total": 4}, {"total": 8}]


async def test_an_empty_batch_has_no_results(runtime: LocalRuntime) -> None:
    assert await runtime.run_batch(SUM, []) == []


async def test_a_batch_takes_its_inputs_from_an_iterator(local: LocalRuntime) -> None:
    results = await local.run_batch(SUM, ({"a": n} for n in range(50)), max_concurrency=3)
    assert [result.unwrap()["total"] for result in results] == [2 * (n + 1) for n in range(50)]


async def test_an_iterator_that_breaks_fails_the_batch_with_its_own_error(local: LocalRuntime) -> None:
    def inputs() -> Any:
        yield {"a": 1}
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        await local.run_batch(SUM, inputs())


async def test_inputs_that_are_no_list_are_refused(local: LocalRuntime) -> None:
    with pytest.raises(InvalidValue, match="list with one input for each item"):
        await local.run_batch(SUM, {"a": 1})


async def test_a_component_is_told_run_flow_and_step(runtime: LocalRuntime) -> None:
    builder = FlowBuilder("ids")
    step = builder.step("who", component="/ids", input={})
    flow = builder.build(output=step)
    run_id = str(uuid.uuid4())
    outcome = await runtime.run(flow, run_id=run_id)
    assert outcome.unwrap() == {"run_id": run_id, "flow_id": flow.id, "step_id": "who", "attempt": 1}


async def test_a_component_stores_and_reads_blobs_of_the_runtime(runtime: LocalRuntime) -> None:
    kept = await runtime.execute("/keep", {"b": 1, "a": [1.0]})
    assert kept == {"id": blob_id({"b": 1, "a": [1.0]}), "data": {"b": 1, "a": [1.0]}}
    assert await runtime.get_blob(kept["id"]) == {"b": 1, "a": [1.0]}


async def test_a_component_runs_a_flow_of_its_own(runtime: LocalRuntime) -> None:
    assert await runtime.execute("/nested", {"flow": SUM, "input": {"a": 2}}) == {"total": 6}


async def test_nested_runs_do_not_wait_for_the_slots_of_their_parents(runtime: LocalRuntime) -> None:
    inner = {"steps": [{"id": "n", "component": "/nested", "input": {"$input": "$"}}], "output": {"$step": "n"}}
    input: dict[str, Any] = {"flow": SUM, "input": {"a": 2}}
    for _ in range(5):
        input = {"flow": inner, "input": input}
    outcome = await runtime.run(inner, input, max_concurrency=1)
    assert outcome.unwrap() == {"total": 6}


async def test_a_flow_that_runs_itself_for_ever_fails(local: LocalRuntime) -> None:
    forever = {
        "steps": [
            {"id": "e", "component": "/builtin/eval", "input": {"flow_id": {"$input": "$"}, "input": {"$input": "$"}}}
        ],
        "output": {"$step": "e", "path": "$.result"},
    }
    flow_id = await local.put_blob(forever, "flow")
    outcome = await local.run(forever, flow_id)
    assert "nested deeper than 64 levels" in repr(outcome)


async def test_components_are_listed_under_the_paths_that_flows_use(runtime: LocalRuntime) -> None:
    listed = {info.component: info for info in await runtime.list_components()}
    assert {"/add", "/echo", "/builtin/put_blob", "/builtin/map", "/builtin/openai"} <= set(listed)
    assert listed["/add"].description == "Add."
    assert listed["/add"].input_schema is not None


async def test_servers_with_names_answer_under_their_prefix() -> None:
    async with LocalRuntime({"one": server, "/two/": server}) as runtime:
        assert await runtime.execute("/one/add", {"a": 1, "b": 1}) == 2
        assert await runtime.execute("/two/add", {"a": 2, "b": 2}) == 4
        with pytest.raises(ComponentNotFound, match="No matching rule found for component: /add"):
            await runtime.execute("/add", {"a": 1, "b": 1})


@pytest.mark.parametrize(
    ("servers", "said"),
    [
        (("python -m x",), r"write \['python', '-m', 'x'\]"),
        ((server, server), "under which prefix"),
        (({"builtin": server},), "cannot be the prefix"),
        (({"a": server}, {"/a": server}), "cannot be the prefix"),
        (([],), "is empty"),
        ((3,), "an instance of int is not a server"),
    ],
)
def test_what_is_no_server_is_refused_with_the_fix(servers: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        LocalRuntime(*servers)


async def test_a_runtime_works_inside_its_block_alone() -> None:
    runtime = LocalRuntime(server)
    with pytest.raises(DefinitionError, match="async with"):
        await runtime.execute("/add", {"a": 1, "b": 1})
    for _ in range(2):  # and may be used again
        async with runtime:
            assert await runtime.execute("/add", {"a": 1, "b": 1}) == 2
            with pytest.raises(DefinitionError, match="running already"):
                await runtime.__aenter__()


async def test_an_exception_of_the_block_comes_out_as_it_is() -> None:
    async def block() -> None:
        async with LocalRuntime(server) as runtime:
            await runtime.execute("/add", {"a": 1, "b": 1})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await block()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"steps": [{"id": "a", "component": "/add", "input": {"$step": "b"}}]}, "'b'"),
        ({"steps": [{"id": "a"}]}, "component"),
        ({"steps": [{"id": "a", "component": "add"}], "output": {"$step": "a"}}, "add"),
        ({"inputSchema": {}, "output": {"$input": "$"}}, "inputSchema"),
        ("no/such/file.yaml", "no such file"),
    ],
)
async def test_a_flow_with_errors_is_refused_before_anything_runs(document: Any, said: str) -> None:
    events: list[Any] = []
    async with LocalRuntime(server, on_event=events.append) as runtime:
        with pytest.raises(InvalidFlow, match=said):
            await runtime.run(document)
    assert events == []


async def test_values_that_are_not_json_are_refused_before_anything_runs(local: LocalRuntime) -> None:
    with pytest.raises(InvalidValue):
        await local.run(SUM, {"a": float("nan")})
    with pytest.raises(InvalidValue):
        await local.execute("/echo", {"a": object()})
    with pytest.raises(InvalidValue):
        await local.put_blob({1: 2})


async def test_the_ids_of_blobs_are_those_of_the_flow_format(local: LocalRuntime) -> None:
    blob = await local.put_blob({"a": 1, "b": 2})
    assert blob == "43258cff783fe7036d8a43033f830adfc60ec037382473548ac742b888292777"
    assert await local.get_blob(blob) == {"a": 1, "b": 2}
    with pytest.raises(BlobNotFound, match="0000"):
        await local.get_blob("0" * 64)


async def test_changing_a_result_does_not_change_the_flow(local: LocalRuntime) -> None:
    flow = FlowBuilder("constant").build(output={"list": [1, 2]})
    first = (await local.run(flow)).unwrap()
    first["list"].append(3)
    assert (await local.run(flow)).unwrap() == {"list": [1, 2]}


def test_the_blocking_form_does_the_same() -> None:
    with LocalRuntime(server) as runtime:
        assert runtime.execute("/add", {"a": 1, "b": 2}) == 3
        assert runtime.run(SUM, {"a": 1}).unwrap() == {"total": 4}
        assert [result.unwrap() for result in runtime.run_batch(SUM, [{"a": 1}])] == [{"total": 4}]
        assert runtime.get_blob(runtime.put_blob([1])) == [1]
        assert "/add" in {info.component for info in runtime.list_components()}
        with pytest.raises(ComponentError, match="no luck"):
            runtime.execute("/fail", {})
    with pytest.raises(DefinitionError, match="with"):
        runtime.execute("/add", {"a": 1, "b": 2})


async def test_the_blocking_form_works_beside_a_running_event_loop() -> None:
    with LocalRuntime(server) as runtime:
        assert runtime.execute("/add", {"a": 1, "b": 2}) == 3


def test_an_exception_of_the_blocking_block_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError), LocalRuntime(server):
        raise ZeroDivisionError


async def test_a_built_flow_runs_like_its_document(local: LocalRuntime) -> None:
    builder = FlowBuilder("built", description="adds")
    step = builder.step("add", component="/add", input={"a": Value.input("$.a"), "b": Value.variable("b", default=5)})
    flow: Flow = builder.build(output={"sum": step})
    assert (await local.run(flow, {"a": 1})).unwrap() == {"sum": 6}
    assert (await local.run(flow.to_json(), {"a": 1}, variables={"b": 1})).unwrap() == {"sum": 2}
