from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepflow_sdk.errors import ComponentError, InvalidFlow, InvalidValue, RemoteError, ServerLost, SkipStep
from stepflow_sdk.protocol import FlowResult, FlowResultFailed, FlowResultSuccess
from stepflow_sdk.runtime import LocalRuntime, RetryPolicy, RunEnded, RunStarted, StepEnded
from stepflow_sdk_tests.runtime.components import server
from stepflow_sdk_tests.runtime.scripted import Scripted, stack_of


async def _echo(input: Any) -> Any:
    return input


async def _fail(input: Any) -> Any:
    raise ComponentError(f"failed on {input}", data={"input": input})


async def _skip(input: Any) -> Any:
    raise SkipStep("no need")


def step(id: str, input: Any = None, component: str = "/echo", **more: Any) -> dict[str, Any]:
    return {"id": id, "component": component, "input": input, **more}


def ref(id: str, path: str | None = None) -> dict[str, Any]:
    return {"$step": id} if path is None else {"$step": id, "path": path}


def message_of(event: StepEnded) -> str | None:
    return None if event.failure is None else event.failure.message


async def run(
    steps: list[dict[str, Any]], output: Any, input: Any = None, plugin: Scripted | None = None, **options: Any
) -> tuple[FlowResult, list[str]]:
    """The outcome, and the steps that were called in the order of the calls."""
    plugin = plugin or Scripted(echo=_echo, fail=_fail, skip=_skip)
    async with LocalRuntime(plugin) as runtime:
        outcome = await runtime.run({"steps": steps, "output": output}, input, **options)
    return outcome, plugin.calls


async def test_a_step_that_nobody_needs_does_not_run() -> None:
    outcome, calls = await run([step("a"), step("b", component="/fail")], ref("a"))
    assert outcome == FlowResultSuccess(None)
    assert calls == ["a"]


@pytest.mark.parametrize("more", [[], [{"$coalesce": [1]}]], ids=["all known", "values decide"])
async def test_what_only_a_failed_output_would_need_is_not_called(more: list[Any]) -> None:
    steps = [step("check", {"$input": "$.missing"}, mustExecute=True), step("charge")]
    outcome, calls = await run(steps, [ref("check"), ref("charge"), *more], {})
    assert isinstance(outcome, FlowResultFailed)
    assert calls == []


async def test_an_empty_flow_gives_null() -> None:
    outcome, calls = await run([], None)
    assert outcome == FlowResultSuccess(None)
    assert calls == []


async def test_a_step_runs_once_however_many_need_it() -> None:
    steps = [step("a", 1), step("b", ref("a")), step("c", [ref("a"), ref("a")])]
    outcome, calls = await run(steps, [ref("a"), ref("b"), ref("c")])
    assert outcome == FlowResultSuccess([1, 1, [1, 1]])
    assert sorted(calls) == ["a", "b", "c"]


async def test_only_the_branch_taken_runs_also_when_the_condition_is_a_step() -> None:
    # The two defects of c.1: upstream leaves such a branch unscheduled in the output, and hangs in a step's input.
    choice = {"$if": ref("condition"), "then": ref("yes"), "else": ref("no")}
    steps = [step("condition", {"$input": "$"}), step("yes", "y"), step("no", "n"), step("last", choice)]
    for value, chosen in ((True, "yes"), (False, "no"), (None, "no"), (0, "yes")):
        outcome, calls = await run(steps[:3], choice, value)
        assert outcome == FlowResultSuccess(chosen[0])
        assert calls == ["condition", chosen]
        outcome, calls = await run(steps, ref("last"), value)
        assert outcome == FlowResultSuccess(chosen[0])
        assert calls == ["condition", chosen, "last"]


async def test_coalesce_runs_one_operand_after_the_other() -> None:
    operands = {"$coalesce": [ref("a"), ref("b"), ref("c")]}
    steps = [step("a", None), step("b", {"$input": "$"}), step("c", "c"), step("last", operands)]
    outcome, calls = await run(steps, ref("last"), "b")
    assert outcome == FlowResultSuccess("b")
    assert calls == ["a", "b", "last"]
    outcome, calls = await run(steps[:3], operands, None)
    assert outcome == FlowResultSuccess("c")
    assert calls == ["a", "b", "c"]


async def test_a_failing_condition_counts_as_false() -> None:
    choice = {"$if": ref("bad"), "then": 1, "else": 2}
    outcome, _ = await run([step("bad", component="/fail")], choice)
    assert outcome == FlowResultSuccess(2)


async def test_dependants_fail_with_the_same_error_and_are_not_called() -> None:
    steps = [step("bad", 1, "/fail"), step("b", ref("bad")), step("c", ref("b")), step("fine", 2)]
    outcome, calls = await run(steps, [ref("c"), ref("fine")])
    assert isinstance(outcome, FlowResultFailed)
    assert (outcome.error.code, outcome.error.message, outcome.error.data) == (-32000, "failed on 1", {"input": 1})
    assert calls == ["bad", "fine"]


async def test_the_first_failing_element_in_document_order_is_the_failure() -> None:
    steps = [step("slow", 1, "/slow"), step("quick", 2, "/fail")]
    quick_failed = anyio.Event()

    async def slow(input: Any) -> Any:
        await quick_failed.wait()
        raise ComponentError("slow")

    async def fail(input: Any) -> Any:
        quick_failed.set()
        raise ComponentError("quick")

    outcome, _ = await run(steps, [ref("slow"), ref("quick")], plugin=Scripted(slow=slow, fail=fail))
    assert isinstance(outcome, FlowResultFailed)
    assert outcome.error.message == "slow"


@pytest.mark.parametrize("code", [-32100, 42, -32003, -32603, 7])
async def test_any_code_of_a_component_arrives_untouched(code: int) -> None:
    async def fail(input: Any) -> Any:
        raise RemoteError("mine", code=code, data=[1])

    outcome, _ = await run([step("s", component="/fail")], ref("s"), plugin=Scripted(fail=fail))
    assert isinstance(outcome, FlowResultFailed)
    assert (outcome.error.code, outcome.error.message, outcome.error.data) == (code, "mine", [1])


async def test_a_lost_server_is_a_transport_error_that_names_step_and_component() -> None:
    async def lost(input: Any) -> Any:
        raise ServerLost("it ended with exit code 9")

    flow = {"steps": [step("s", component="/lost")], "output": ref("s")}
    async with LocalRuntime(Scripted(lost=lost), retry=RetryPolicy(0)) as runtime:
        outcome = await runtime.run(flow)
    assert isinstance(outcome, FlowResultFailed)
    assert (outcome.error.code, outcome.error.message) == (-32300, 'step "s" failed')
    stack = stack_of(outcome)
    assert stack[0]["attachments"] == ["Component: /lost", "Component execution failed for step 's'"]
    assert stack[-1]["error"] == "it ended with exit code 9"


async def test_a_bug_of_a_plugin_fails_the_step_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def bug(input: Any) -> Any:
        raise ZeroDivisionError("a bug")

    outcome, _ = await run([step("s", component="/bug")], ref("s"), plugin=Scripted(bug=bug))
    assert isinstance(outcome, FlowResultFailed)
    assert outcome.error.code == -32202
    assert "ZeroDivisionError: a bug" in repr(outcome.error.data)


async def test_a_component_without_a_route_is_a_routing_error() -> None:
    async with LocalRuntime({"x": Scripted(echo=_echo)}) as runtime:
        flow = {"steps": [step("s", component="/y/echo", onError={"action": "useDefault"})], "output": ref("s")}
        outcome = await runtime.run(flow)
    assert isinstance(outcome, FlowResultFailed)
    assert (outcome.error.code, outcome.error.message) == (-32202, "error routing component")
    assert stack_of(outcome)[-1]["error"].startswith("No matching rule found for component: /y/echo")


@pytest.mark.parametrize("default", [None, 0, {"$input": "$"}, [1]])
async def test_use_default_makes_a_success_of_a_failed_execution(default: Any) -> None:
    on_error = {"action": "useDefault", "defaultValue": default}
    outcome, _ = await run([step("s", 1, "/fail", onError=on_error)], {"got": ref("s")}, "unused")
    assert outcome == FlowResultSuccess({"got": default})


async def test_use_default_does_not_cover_the_steps_own_input() -> None:
    on_error = {"action": "useDefault", "defaultValue": 0}
    outcome, calls = await run([step("s", {"$input": "$.missing"}, onError=on_error)], ref("s"), {})
    assert isinstance(outcome, FlowResultFailed)
    assert (outcome.error.code, outcome.error.message) == (-32200, "Input path $.missing not found")
    assert calls == []


async def test_a_step_that_must_execute_runs_and_its_failure_does_not_fail_the_flow() -> None:
    steps = [step("a", 1), step("log", ref("a"), "/fail", mustExecute=True), step("unused", mustExecute=False)]
    outcome, calls = await run(steps, "done")
    assert outcome == FlowResultSuccess("done")
    assert calls == ["a", "log"]


async def test_a_skipped_step_has_the_value_null() -> None:
    outcome, _ = await run([step("s", component="/skip")], {"$coalesce": [ref("s", "$.x"), "instead"]})
    assert outcome == FlowResultSuccess("instead")


async def test_a_path_into_a_null_result_is_null_and_into_anything_else_must_exist() -> None:
    outcome, _ = await run([step("n"), step("o", {"a": 1})], [ref("n", "$.x"), ref("o", "$.a")])
    assert outcome == FlowResultSuccess([None, 1])
    outcome, _ = await run([step("o", {"a": 1})], ref("o", "$.b"))
    assert isinstance(outcome, FlowResultFailed)
    assert (outcome.error.code, outcome.error.message) == (-32200, "Path $.b not found")


async def test_literals_are_handed_on_untouched() -> None:
    outcome, _ = await run([step("s", {"$literal": ref("x")})], ref("s"))
    assert outcome == FlowResultSuccess({"$step": "x"})


VARIABLES = {
    "type": "object",
    "properties": {
        "variables": {
            "type": "object",
            "properties": {
                "stated": {"type": "string", "default": "stated"},
                "implied": {"type": "integer"},
                "needed": {"type": "string"},
            },
            "required": ["needed"],
        }
    },
}


async def test_variables_are_given_then_declared_then_defaulted_inline() -> None:
    flow = {
        "schemas": VARIABLES,
        "steps": [
            step(
                "s", {name: {"$variable": f"$.{name}", "default": "inline"} for name in ("stated", "implied", "needed")}
            )
        ],
        "output": ref("s"),
    }
    async with LocalRuntime(Scripted(echo=_echo)) as runtime:
        assert (await runtime.run(flow)).unwrap() == {"stated": "stated", "implied": 0, "needed": "inline"}
        given = {"stated": None, "implied": 1, "needed": "given"}
        assert (await runtime.run(flow, variables=given)).unwrap() == given


async def test_a_variable_that_is_not_given_fails_who_reads_it() -> None:
    outcome, _ = await run([], {"$variable": "$.v"})
    assert isinstance(outcome, FlowResultFailed)
    assert (outcome.error.code, outcome.error.message) == (-32200, "Undefined variable: v")


async def test_overrides_change_steps_for_one_run_in_both_shapes() -> None:
    steps = [step("s", {"a": 1, "b": 2})]
    patch = {"s": {"value": {"input": {"a": {"$input": "$"}, "b": None}}}}
    for overrides in (patch, {"steps": patch}):
        outcome, _ = await run(steps, ref("s"), 5, overrides=overrides)
        assert outcome == FlowResultSuccess({"a": 5})
    outcome, _ = await run(steps, ref("s"), overrides={"s": {"$type": "merge_patch", "value": {"component": "/skip"}}})
    assert outcome == FlowResultSuccess(None)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"t": {"value": {}}}, "no step 't'"),
        ({"step_1": {"value": {}}}, "did you mean 'step-1'"),
        ({"steps": []}, "a map from step ids"),
        ({"s": {"component": "/x"}}, '"value": patch'),
        ({"s": {"$type": "json_patch", "value": []}}, "merge_patch"),
        ({"s": {"value": []}}, "is an object, not an array"),
        ({"s": {"value": {"id": "step-1"}}}, r"\$\.s\.value\.id: a step keeps its id"),
    ],
)
async def test_wrong_overrides_are_refused_before_the_run(overrides: Mapping[str, Any], said: str) -> None:
    plugin = Scripted(echo=_echo)
    with pytest.raises(InvalidValue, match=said):
        await run([step("s"), step("step-1")], ref("s"), plugin=plugin, overrides=overrides)
    assert plugin.calls == []


@pytest.mark.parametrize("name", ["variables", "overrides"])
async def test_variables_and_overrides_that_are_no_objects_are_refused_by_name(name: str) -> None:
    options: dict[str, Any] = {name: [1]}
    async with LocalRuntime() as runtime:
        with pytest.raises(InvalidValue, match=f"^{name}: an object is wanted, not an array"):
            await runtime.run({"output": 1}, **options)


async def test_overrides_that_break_the_flow_are_refused() -> None:
    with pytest.raises(InvalidFlow, match=r"after the overrides.*component"):
        await run([step("s")], ref("s"), overrides={"s": {"value": {"component": 5}}})


class Gauge:
    """Counts who is inside, and lets them out when the test says so, or when a number of them has come."""

    def __init__(self, until: int) -> None:
        self.inside = self.most = 0
        self._until = until
        self._open = anyio.Event()

    async def __call__(self, input: Any) -> Any:
        self.inside += 1
        self.most = max(self.most, self.inside)
        if self.inside >= self._until:
            self._open.set()
        await self._open.wait()
        await anyio.lowlevel.checkpoint()
        self.inside -= 1
        return input


@pytest.mark.parametrize(("limit", "most"), [(None, 10), (1, 1), (3, 3), (0, 1)])
async def test_at_most_so_many_steps_of_a_run_are_called_at_once(limit: int | None, most: int) -> None:
    gauge = Gauge(until=most)
    steps = [step(f"s{n}", n, "/gauge") for n in range(20)]
    output = [ref(f"s{n}") for n in range(20)]
    outcome, _ = await run(steps, output, plugin=Scripted(gauge=gauge), max_concurrency=limit)
    assert outcome == FlowResultSuccess(list(range(20)))
    assert gauge.most == most


async def test_the_limit_counts_over_all_items_of_a_batch() -> None:
    gauge = Gauge(until=4)
    flow = {"steps": [step("a", {"$input": "$"}, "/gauge"), step("b", 0, "/gauge")], "output": [ref("a"), ref("b")]}
    async with LocalRuntime(Scripted(gauge=gauge)) as runtime:
        results = await runtime.run_batch(flow, list(range(30)), max_concurrency=4)
    assert [result.unwrap() for result in results] == [[n, 0] for n in range(30)]
    assert gauge.most == 4


async def test_earlier_items_go_first() -> None:
    order: list[Any] = []

    async def note(input: Any) -> Any:
        order.append(input)

    steps = [step("a", {"$input": "$"}, "/note"), step("b", [ref("a"), {"$input": "$"}], "/note")]
    async with LocalRuntime(Scripted(note=note)) as runtime:
        await runtime.run_batch({"steps": steps, "output": ref("b")}, [1, 2], max_concurrency=1)
    assert order == [1, [None, 1], 2, [None, 2]]


async def test_a_long_chain_is_no_deeper_than_a_short_one() -> None:
    count = 3000
    steps = [step("s0", 0), *[step(f"s{n}", ref(f"s{n - 1}")) for n in range(1, count)]]
    outcome, calls = await run(steps, ref(f"s{count - 1}"))
    assert outcome == FlowResultSuccess(0)
    assert len(calls) == count
    steps[0]["component"] = "/fail"
    outcome, calls = await run(steps, ref(f"s{count - 1}"))
    assert isinstance(outcome, FlowResultFailed)
    assert calls == ["s0"]


async def test_a_run_over_many_inputs_takes_them_as_it_goes() -> None:
    taken = ended = 0

    def inputs() -> Any:
        nonlocal taken
        for n in range(500):
            taken += 1
            yield n

    async def lag(input: Any) -> Any:
        nonlocal ended
        ended += 1
        assert taken - ended < 10
        return input

    async with LocalRuntime(Scripted(lag=lag)) as runtime:
        flow = {"steps": [step("s", {"$input": "$"}, "/lag")], "output": ref("s")}
        results = await runtime.run_batch(flow, inputs(), max_concurrency=4)
    assert [result.unwrap() for result in results] == list(range(500))


async def test_cancelling_a_run_cancels_its_component_calls() -> None:
    started, cancelled = anyio.Event(), anyio.Event()

    async def hang(input: Any) -> Any:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    events: list[Any] = []
    async with LocalRuntime(Scripted(hang=hang), on_event=events.append) as runtime:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.run, {"steps": [step("s", component="/hang")], "output": ref("s")})
            await started.wait()
            tasks.cancel_scope.cancel()
        assert cancelled.is_set()
    assert events[-1].status == "cancelled"


async def test_a_failed_step_is_told_with_its_error_even_when_the_flow_goes_on() -> None:
    events: list[Any] = []
    steps = [
        step("s", 1, "/fail", onError={"action": "useDefault"}),
        step("t", {"$input": "$.x"}),
        step("u", 0, "/skip"),
    ]
    async with LocalRuntime(Scripted(echo=_echo, fail=_fail, skip=_skip), on_event=events.append) as runtime:
        await runtime.run({"name": "told", "steps": steps, "output": [ref("s"), ref("u"), ref("t")]}, {})
    kinds = [type(event).__name__ for event in events]
    assert kinds[0] == "RunStarted"
    assert kinds[-2:] == ["ItemEnded", "RunEnded"]
    assert (events[0].flow_name, events[0].items) == ("told", 1)
    ends = {event.step_id: event for event in events if isinstance(event, StepEnded)}
    assert (ends["s"].status, message_of(ends["s"])) == ("completed", "failed on 1")
    assert (ends["t"].status, message_of(ends["t"])) == ("failed", "Input path $.x not found")
    assert (ends["u"].status, ends["u"].reason) == ("skipped", "no need")
    assert events[-1].status == "failed"


async def test_an_observer_that_fails_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    def observer(event: Any) -> None:
        raise KeyError("observer")

    async with LocalRuntime(Scripted(echo=_echo), on_event=observer) as runtime:
        assert (await runtime.run({"steps": [step("s", 1)], "output": ref("s")})).unwrap() == 1
    assert "observer failed" in caplog.text


# ---- any flow, against an evaluator that knows no scheduling ---------------------------------------------------------


@st.composite
def flows(draw: st.DrawFn) -> dict[str, Any]:
    ids: list[str] = []
    steps: list[dict[str, Any]] = []
    # What is needed can be known before anything runs where no value decides on it, and that is a way of its own.
    nested = draw(st.sampled_from([["list"], ["if", "coalesce", "list"]]))

    def expression(depth: int = 2) -> Any:
        kinds = ["constant", "input", *(["step"] * 3 if ids else []), *(nested if depth else [])]
        match draw(st.sampled_from(kinds)):
            case "constant":
                return draw(st.sampled_from([None, False, 0, 1, "x"]))
            case "input":
                return {"$input": draw(st.sampled_from(["$", "$.a", "$.missing"]))}
            case "step":
                return {"$step": draw(st.sampled_from(ids)), **draw(st.sampled_from([{}, {}, {"path": "$.a"}]))}
            case "if":
                return {"$if": expression(depth - 1), "then": expression(depth - 1), "else": expression(depth - 1)}
            case "coalesce":
                return {"$coalesce": [expression(depth - 1) for _ in range(draw(st.integers(0, 3)))]}
            case _:
                return [expression(depth - 1) for _ in range(draw(st.integers(0, 3)))]

    for number in range(draw(st.integers(0, 8))):
        component = draw(st.sampled_from(["/echo", "/echo", "/wrap", "/fail", "/skip"]))
        more: dict[str, Any] = draw(st.sampled_from([{}, {}, {"mustExecute": True}]))
        if draw(st.integers(0, 4)) == 0:
            more = {**more, "onError": {"action": "useDefault", "defaultValue": 7}}
        steps.append(step(f"s{number}", expression(), component, **more))
        ids.append(f"s{number}")
    return {"steps": steps, "output": expression()}


class Failed(Exception):
    pass


def simply(  # noqa: C901  (the whole language on one page)
    flow: dict[str, Any], input: Any
) -> tuple[Any, set[str]]:
    """What the flow comes to, found by recursion over the document, and the steps that are called for it."""
    steps = {step["id"]: step for step in flow["steps"]}
    values: dict[str, Any] = {}
    called: set[str] = set()

    def follow(value: Any, path: str | None) -> Any:
        if path in (None, "$"):
            return value
        if not isinstance(value, dict) or path[2:] not in value:
            raise Failed("path")
        return value[path[2:]]

    def result(id: str) -> Any:
        if id not in values:
            try:
                values[id] = execute(steps[id])
            except Failed as failure:
                values[id] = failure
        if isinstance(values[id], Failed):
            raise values[id]
        return values[id]

    def execute(step: dict[str, Any]) -> Any:
        value = evaluate(step["input"])
        called.add(step["id"])
        match step["component"]:
            case "/echo":
                return value
            case "/wrap":
                return {"a": value}
            case "/skip":
                return None
            case _:
                if "onError" in step:
                    return step["onError"]["defaultValue"]
                raise Failed("component")

    def evaluate(value: Any) -> Any:
        match value:
            case {"$input": path}:
                return follow(input, path)
            case {"$step": id}:
                found = result(id)
                return None if found is None else follow(found, value.get("path"))
            case {"$if": condition}:
                try:
                    truth = evaluate(condition) is not None and evaluate(condition) is not False
                except Failed:
                    truth = False
                return evaluate(value["then" if truth else "else"])
            case {"$coalesce": operands}:
                return next((found for operand in operands if (found := evaluate(operand)) is not None), None)
            case list():
                return [evaluate(item) for item in value]
        return value

    for step_ in flow["steps"]:
        if step_.get("mustExecute"):
            try:
                result(step_["id"])
            except Failed:
                continue
    try:
        return evaluate(flow["output"]), called
    except Failed:
        return Failed, called


@settings(max_examples=250, deadline=None)
@given(flows(), st.sampled_from([None, {"a": 1}, {"a": None}, "text"]), st.integers(1, 4))
def test_any_flow_comes_to_what_a_simple_evaluator_finds(flow: dict[str, Any], input: Any, limit: int) -> None:
    async def wrap(input: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        return {"a": input}

    plugin = Scripted(echo=_echo, wrap=wrap, fail=_fail, skip=_skip)

    async def both() -> tuple[FlowResult, list[FlowResult]]:
        async with LocalRuntime(plugin) as runtime:
            one = await runtime.run(flow, input, max_concurrency=limit)
            called.extend(plugin.calls)
            return one, await runtime.run_batch(flow, [input] * 3, max_concurrency=limit)

    called: list[str] = []
    expected, needed = simply(flow, input)
    outcome, batch = anyio.run(both)
    assert [repr(result) for result in batch] == [repr(outcome)] * 3
    if expected is Failed:
        assert isinstance(outcome, FlowResultFailed)
    else:
        assert repr(outcome) == repr(FlowResultSuccess(expected))
    assert len(called) == len(set(called))
    # All elements of a list are wanted at once, so more may run than a failure before them leaves needed.
    assert needed <= set(called)
    if expected is not Failed and not _fails_anywhere(flow):
        assert needed == set(called)


def _fails_anywhere(flow: dict[str, Any]) -> bool:
    return "/fail" in repr(flow) or "path" in repr(flow) or "$." in repr(flow)


async def test_cancelling_a_run_cancels_the_runs_that_it_has_started() -> None:
    started = anyio.Event()

    async def hang(input: Any) -> Any:
        started.set()
        await anyio.sleep_forever()

    inner = {"steps": [step("s", component="/g/hang")], "output": ref("s")}
    outer = {"steps": [step("s", {"flow": {"$literal": inner}, "input": 1}, "/x/nested")], "output": ref("s")}
    events: list[Any] = []
    ended = anyio.Event()

    def observer(event: Any) -> None:
        events.append(event)
        if [type(event).__name__ for event in events].count("RunEnded") == 2:
            ended.set()

    async with LocalRuntime({"x": server, "g": Scripted(hang=hang)}, on_event=observer) as runtime:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.run, outer)
            await started.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(60):
            await ended.wait()
    starts = [event for event in events if isinstance(event, RunStarted)]
    assert [start.parent_run_id for start in starts] == [None, starts[0].run_id]
    assert {event.run_id: event.status for event in events if isinstance(event, RunEnded)} == {
        start.run_id: "cancelled" for start in starts
    }
