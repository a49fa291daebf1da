import itertools
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepflow_sdk.context import StepflowContext
from stepflow_sdk.errors import ComponentError, DefinitionError, NotFound, StateError
from stepflow_sdk.flows import Failure, load_flow
from stepflow_sdk.protocol import FlowResultFailed, FlowResultSuccess
from stepflow_sdk.runtime import (
    LocalRuntime,
    MemoryBlobStore,
    ResumedRun,
    RunEnded,
    RunQuery,
    StepEnded,
    StepRecord,
    resuming,
)
from stepflow_sdk.runtime.journal import replay
from stepflow_sdk.runtime.plans import make_plan
from stepflow_sdk.server import StepflowServer
from stepflow_sdk_tests.runtime.scripted import Scripted
from stepflow_sdk_tests.runtime.state_tools import chain, crash_image, submit


class Gate:
    """Components that wait at a step until they are let through."""

    def __init__(self, at: str | None = None) -> None:
        self.calls: list[tuple[str, Any, int]] = []
        self.reached = anyio.Event()
        self._at = at

    name = "gate"
    wraps_errors = False

    def start(self, host: Any) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def list_components(self) -> list[Any]:
        return []

    async def execute(self, call: Any) -> Any:
        step = call.observability.step_id
        self.calls.append((step, call.input, call.attempt))
        if step == self._at:
            self.reached.set()
            await anyio.sleep_forever()
        if call.component == "/fail":
            raise ComponentError("no", data={"input": call.input})
        return call.input


async def _interrupted(path: Path, document: dict[str, Any], *inputs: Any, at: str, **options: Any) -> tuple[Path, str]:
    """The state file of a process that was killed when a step was under way, and the id of its run."""
    async with LocalRuntime(gate := Gate(at), state=path) as runtime:
        run_id = await submit(runtime, document, *inputs, **options)
        with anyio.fail_after(60):
            await gate.reached.wait()
        return crash_image(path), run_id


@pytest.mark.promise("D2")
async def test_a_finished_step_does_not_run_again_and_one_under_way_does_as_the_next_attempt(tmp_path: Path) -> None:
    image, run_id = await _interrupted(tmp_path / "state.db", chain(4), "x", at="s2")
    async with LocalRuntime(gate := Gate(), state=image) as runtime:
        (run,) = await runtime.resume()
        assert run == ResumedRun(run_id, "chain", "completed")
        assert gate.calls == [("s2", "x", 2), ("s3", "x", 1)]
        (item,) = await runtime.engine.runs.items(run_id)
        assert item.result == FlowResultSuccess("x")
        steps = {step.step_id: (step.status, step.attempt) for step in await runtime.engine.runs.steps(run_id)}
        assert steps == {"s0": ("completed", 1), "s1": ("completed", 1), "s2": ("completed", 2), "s3": ("completed", 1)}
        assert await runtime.resume() == []


async def test_a_run_interrupted_again_and_again_counts_its_attempts(tmp_path: Path) -> None:
    image, _ = await _interrupted(tmp_path / "state.db", chain(2), 1, at="s1")
    for attempt in (2, 3):
        async with LocalRuntime(gate := Gate("s1"), state=image) as runtime, anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.resume)
            await gate.reached.wait()
            assert gate.calls == [("s1", 1, attempt)]
            image = crash_image(image, f"crashed-{attempt}.db")
            tasks.cancel_scope.cancel()
    async with LocalRuntime(gate := Gate(), state=image) as runtime:
        assert [run.status for run in await runtime.resume()] == ["completed"]
    assert gate.calls == [("s1", 1, 4)]


async def test_items_that_have_ended_stay_as_they_are(tmp_path: Path) -> None:
    flow = {
        "steps": [
            {"id": "quick", "component": "/work", "input": {"$input": "$"}},
            {"id": "slow", "component": "/work", "input": {"$input": "$"}},
        ],
        "output": {"$if": {"$input": "$.wait"}, "then": {"$step": "slow"}, "else": {"$step": "quick"}},
    }
    inputs = [{"wait": False, "n": n} for n in range(5)] + [{"wait": True}]
    image, run_id = await _interrupted(tmp_path / "state.db", flow, *inputs, at="slow", max_concurrency=1)
    async with LocalRuntime(gate := Gate(), state=image) as runtime:
        assert [run.status for run in await runtime.resume()] == ["completed"]
        assert gate.calls == [("slow", {"wait": True}, 2)]
        items = sorted(await runtime.engine.runs.items(run_id), key=lambda item: item.item)
        assert [item.result for item in items] == [FlowResultSuccess(input) for input in inputs]


async def test_failures_that_are_stored_fail_what_depends_on_them_after_a_restart(tmp_path: Path) -> None:
    flow = chain(3)
    flow["steps"][0]["component"] = "/fail"
    # A condition that fails is false, so this one begins behind the failure.
    behind = {"$if": {"$step": "s0"}, "then": 1, "else": 2}
    flow["steps"].append({"id": "other", "component": "/work", "input": behind, "mustExecute": True})
    image, run_id = await _interrupted(tmp_path / "state.db", flow, "x", at="other")
    async with LocalRuntime(gate := Gate(), state=image) as runtime:
        assert [run.status for run in await runtime.resume()] == ["failed"]
        assert [call[0] for call in gate.calls] == ["other"]
        (item,) = await runtime.engine.runs.items(run_id)
        assert isinstance(item.result, FlowResultFailed)
        assert (item.result.error.message, item.result.error.data) == ("no", {"input": "x"})


async def test_a_resumed_run_has_its_variables_its_overrides_and_its_secrets(tmp_path: Path) -> None:
    flow = chain(2)
    flow["schemas"] = {
        "type": "object",
        "properties": {
            "variables": {"type": "object", "properties": {"key": {"type": "string", "is_secret": True}, "n": {}}}
        },
    }
    flow["steps"][1]["input"] = [{"$variable": "key"}, {"$variable": "n"}, {"$step": "s0"}]
    overrides = {"s0": {"value": {"input": "changed"}}}
    variables = {"key": "hush", "n": 3}
    image, run_id = await _interrupted(
        tmp_path / "state.db", flow, "x", at="s0", variables=variables, overrides=overrides
    )
    async with LocalRuntime(gate := Gate(), state=image) as runtime:
        shown = await runtime.engine.runs.get(run_id)
        assert shown is not None
        assert shown.variables == {"key": "<secret>", "n": 3}
        assert [found.variables for found in await runtime.engine.runs.find(RunQuery())] == [shown.variables]
        await runtime.resume()
    assert gate.calls == [("s0", "changed", 2), ("s1", ["hush", 3, "changed"], 1)]


async def test_a_run_that_a_step_waits_for_is_started_again_by_the_step_alone(tmp_path: Path) -> None:
    inner = chain(1, "/hold")
    state = tmp_path / "state.db"
    held: list[str] = []
    reached = anyio.Event()
    hold = True
    server: StepflowServer = StepflowServer("nested")

    @server.component("hold")
    async def hold_(input: Any, ctx: StepflowContext) -> Any:
        held.append(ctx.run_id or "")
        if hold:
            reached.set()
            await anyio.sleep_forever()
        return input

    @server.component("outer")
    async def outer(input: Any, ctx: StepflowContext) -> Any:
        return {"inner": await ctx.evaluate_flow(inner, input), "attempt": ctx.attempt}

    async with LocalRuntime(server, state=state) as runtime:
        parent = await submit(runtime, chain(1, "/outer"), 7)
        await reached.wait()
        image = crash_image(state)
    hold = False
    async with LocalRuntime(server, state=image) as runtime:
        ended = {run.run_id: run.status for run in await runtime.resume()}
        assert ended == {parent: "completed", held[0]: "cancelled"}
        (item,) = await runtime.engine.runs.items(parent)
        assert item.result == FlowResultSuccess({"inner": 7, "attempt": 2})
        assert len(set(held)) == 2


async def test_a_run_that_a_component_submitted_is_finished_on_its_own(tmp_path: Path) -> None:
    inner = chain(1, "/hold")
    state = tmp_path / "state.db"
    reached = anyio.Event()
    hold = True
    server: StepflowServer = StepflowServer("nested")

    @server.component("hold")
    async def hold_(input: Any) -> Any:
        if hold:
            reached.set()
            await anyio.sleep_forever()
        return input

    @server.component("outer")
    async def outer(input: Any, ctx: StepflowContext) -> Any:
        return (await ctx.submit_run(inner, [input])).run_id

    async with LocalRuntime(server, state=state) as runtime:
        child = (await runtime.run(chain(1, "/outer"), 7)).unwrap()
        await reached.wait()
        image = crash_image(state)
    hold = False
    async with LocalRuntime(server, state=image) as runtime:
        assert [(run.run_id, run.status) for run in await runtime.resume()] == [(child, "completed")]
        record = await runtime.engine.runs.get(child)
        assert record is not None
        assert record.depth == 1
        assert record.parent_run_id == record.root_run_id != child


async def test_inputs_that_come_one_by_one_are_all_stored_before_the_run_begins(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    taken = 0

    def inputs() -> Any:
        nonlocal taken
        for n in range(5000):
            taken += 1
            yield n

    async with LocalRuntime(gate := Gate("s0"), state=state) as runtime, anyio.create_task_group() as tasks:
        run_id = "00000000-0000-0000-0000-000000000001"

        async def run() -> None:
            await runtime.run_stream(chain(1), inputs(), lambda _: None, run_id=run_id)

        tasks.start_soon(run)
        await gate.reached.wait()
        assert taken == 5000
        image = crash_image(state)
        tasks.cancel_scope.cancel()
    async with LocalRuntime(Gate(), state=image) as runtime:
        await runtime.resume()
        record = await runtime.engine.runs.get(run_id)
        assert record is not None
        assert (record.status, record.items, record.completed) == ("completed", 5000, 5000)


async def test_inputs_that_break_off_leave_no_run(tmp_path: Path) -> None:
    def inputs() -> Any:
        yield from range(10_000)
        raise ValueError("the line is cut")

    async with LocalRuntime(Gate(), state=tmp_path / "state.db") as runtime:
        with pytest.raises(ValueError, match="the line is cut"):
            await runtime.run_stream(chain(1), inputs(), lambda _: None)
        assert await runtime.engine.runs.find(RunQuery()) == []
        assert await runtime.resume() == []


@pytest.mark.promise("D1", "D2")
async def test_a_run_whose_inputs_were_being_stored_at_the_crash_was_never_accepted(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    images: list[Path] = []

    def inputs() -> Any:
        for n in range(10_000):
            if n == 9_000:
                images.append(crash_image(state))
            yield n

    async with LocalRuntime(Gate(), state=state) as runtime:
        await runtime.run_stream(chain(1), inputs(), lambda _: None)
    async with LocalRuntime(gate := Gate(), state=images[0]) as runtime:
        assert await runtime.engine.runs.find(RunQuery()) == []
        assert await runtime.resume() == []
        assert gate.calls == []


async def test_cancelling_the_call_leaves_a_run_to_be_resumed_and_cancelling_the_run_ends_it(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    told: list[str] = []

    def observe(event: Any) -> None:
        if isinstance(event, RunEnded):
            told.append(event.status)

    async with LocalRuntime(gate := Gate("s1"), state=state, on_event=observe) as runtime:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.run, chain(2), "left")
            await gate.reached.wait()
            tasks.cancel_scope.cancel()
        gate.reached = anyio.Event()
        ended = await submit(runtime, chain(2), "ended")
        await gate.reached.wait()
        assert runtime.engine.cancel(ended)
        await runtime.engine.wait(ended)
        assert told == ["interrupted", "cancelled"]
    async with LocalRuntime(gate := Gate(), state=state) as runtime:
        (run,) = await runtime.resume()
        assert run.status == "completed"
        assert gate.calls == [("s1", "left", 2)]
        record = await runtime.engine.runs.get(ended)
        assert record is not None
        assert record.status == "cancelled"


@pytest.mark.promise("D2")
async def test_a_run_of_this_process_that_ends_while_others_are_resumed_is_left_as_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server: StepflowServer[None] = StepflowServer("test")
    gate = anyio.Event()

    @server.component
    async def wait() -> int:
        await gate.wait()
        return 1

    flow = {"steps": [{"id": "s", "component": "/wait"}], "output": {"$step": "s"}}
    async with LocalRuntime(server, state=tmp_path / "state.db") as runtime:
        run_id = await submit(runtime, flow, None)
        store = runtime.engine.runs
        read = store.unfinished

        async def read_late(*, after: str | None = None, limit: int = 100) -> Any:
            found = await read(after=after, limit=limit)
            gate.set()
            await runtime.engine.wait(run_id)
            return found

        monkeypatch.setattr(store, "unfinished", read_late)
        assert await runtime.resume() == []
        found = await store.get(run_id)
        assert found is not None
        assert found.status == "completed"


async def test_only_the_runs_that_are_asked_for_are_resumed(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    async with LocalRuntime(gate := Gate("s0"), state=state) as runtime:
        runs = [await submit(runtime, chain(1), n) for n in range(3)]
        await gate.reached.wait()
        image = crash_image(state)
    async with LocalRuntime(gate := Gate(), state=image) as runtime:
        with pytest.raises(NotFound, match="no run with the id 'other'"):
            await runtime.resume(["other"])
        ended: list[ResumedRun] = []
        assert [run.run_id for run in await runtime.resume([runs[1]], ended.append)] == [runs[1]]
        assert [run.run_id for run in ended] == [runs[1]]
        assert {run.run_id for run in await runtime.resume()} == {runs[0], runs[2]}


def test_a_runtime_that_blocks_resumes_too(tmp_path: Path) -> None:
    with LocalRuntime(state=tmp_path / "state.db") as runtime:
        assert runtime.run({"output": 1}).unwrap() == 1
        assert runtime.resume() == []


async def test_many_runs_are_resumed_with_few_in_memory(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    async with LocalRuntime(gate := Gate("s0"), state=state) as runtime:
        for n in range(350):
            await submit(runtime, chain(1), n)
        await gate.reached.wait()
        image = crash_image(state)

    running = most = 0

    async def work(input: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.lowlevel.checkpoint()
        running -= 1
        return input

    async with LocalRuntime(Scripted(work=work), state=image) as runtime:
        ended = await runtime.resume()
    assert len(ended) == 350
    assert {run.status for run in ended} == {"completed"}
    assert most <= 100


async def test_runs_that_wait_for_their_turn_can_be_waited_for_and_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resuming, "_AT_ONCE", 1)
    async with LocalRuntime(gate := Gate("s0"), state=tmp_path / "state.db") as runtime:
        runs = [await submit(runtime, chain(1), n) for n in range(4)]
        await gate.reached.wait()
        image = crash_image(tmp_path / "state.db")
    go_on = anyio.Event()
    reached = anyio.Event()

    async def work(input: Any) -> Any:
        reached.set()
        await go_on.wait()
        return input

    async with (
        LocalRuntime(scripted := Scripted(work=work), state=image) as runtime,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(runtime.resume)
        await reached.wait()
        assert not await runtime.engine.wait(runs[3], 0.01)
        assert runtime.engine.cancel(runs[2])
        go_on.set()
        with anyio.fail_after(60):
            assert await runtime.engine.wait(runs[2])
            assert await runtime.engine.wait(runs[3])
        found = {run.run_id: run.status for run in await runtime.engine.runs.find(RunQuery())}
        assert [found[run] for run in runs] == ["completed", "completed", "cancelled", "completed"]
        assert len(scripted.calls) == 3
    assert not runtime.engine.cancel(runs[0])


async def test_observers_are_told_of_a_step_when_its_end_is_safe(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    images: list[Path] = []

    def observe(event: Any) -> None:
        if isinstance(event, StepEnded):
            images.append(crash_image(state, f"after-{event.step_id}.db"))

    async with LocalRuntime(Gate(), state=state, on_event=observe) as runtime:
        await runtime.run(chain(3), "x")
    assert len(images) == 3
    for ended, image in enumerate(images, 1):
        async with LocalRuntime(gate := Gate(), state=image) as runtime:
            await runtime.resume()
        assert {step for step, _, _ in gate.calls}.isdisjoint({f"s{n}" for n in range(ended)})


async def test_state_is_kept_in_one_place(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="state file"):
        LocalRuntime(state=tmp_path / "state.db", blobs=MemoryBlobStore())
    with pytest.raises(StateError, match="cannot be opened"):
        async with LocalRuntime(state=tmp_path / "none" / "state.db"):
            pass


LAZY: dict[str, Any] = {
    "steps": [
        {"id": "a", "component": "/c", "input": {"$input": "$"}},
        {"id": "b", "component": "/c", "input": {"$step": "a"}},
        {"id": "c", "component": "/c", "input": {"$coalesce": [{"$step": "a"}, {"$step": "b"}]}},
        {"id": "d", "component": "/c", "input": [{"$step": "b"}, {"$step": "c"}], "mustExecute": True},
        {"id": "e", "component": "/c", "input": {"$if": {"$step": "a"}, "then": {"$step": "c"}, "else": 1}},
    ],
    "output": {"$if": {"$step": "c"}, "then": [{"$step": "e"}, {"$step": "d"}], "else": {"$step": "d"}},
}
outcomes = st.sampled_from([None, False, 0, 1, "x", [1], Failure(1, "no")])


@settings(max_examples=200, deadline=None)
@given(st.lists(outcomes, min_size=5, max_size=5), st.integers(0, 31), st.randoms(use_true_random=False))
@pytest.mark.promise("D8")
def test_what_an_item_does_next_depends_on_stored_outcomes_alone(values: list[Any], stored: int, random: Any) -> None:
    plan = make_plan(load_flow(LAZY))
    given_ends = dict(zip("abcde", values, strict=True))

    def play(known: dict[str, StepRecord]) -> tuple[Any, set[str]]:
        item = plan.item(0, 1, {})
        called: set[str] = set()
        ready = replay(item, item.start(), known, plan)
        while ready:
            index = ready.pop(random.randrange(len(ready)))
            step = plan.steps[index].id
            called.add(step)
            item.take_input(index)
            ready += replay(item, item.settle(index, given_ends[step]), known, plan)
        assert item.done
        return item.outcome, called

    outcome, called = play({})
    known = {
        step: StepRecord(0, step, "failed" if isinstance(value, Failure) else "completed", value, 1)
        for bit, (step, value) in enumerate(given_ends.items())
        if stored >> bit & 1 and step in called
    }
    again, called_again = play(known)
    assert again == outcome
    assert called_again == called - set(known)


@pytest.mark.promise("D8")
def test_every_order_of_ends_comes_to_the_same_outcome() -> None:
    plan = make_plan(load_flow(LAZY))
    seen = set()
    for order in itertools.permutations(range(5)):
        item = plan.item(0, 1, {})
        ready = item.start()
        while ready:
            index = min(ready, key=order.__getitem__)
            ready.remove(index)
            item.take_input(index)
            ready += item.settle(index, plan.steps[index].id)
        seen.add(repr(item.outcome))
    assert len(seen) == 1


async def test_a_flow_of_0_7_goes_on_with_its_skips_and_defaults(tmp_path: Path) -> None:
    def ref(step: str, **more: Any) -> dict[str, Any]:
        return {"$from": {"step": step}, **more}

    steps = [
        {"id": "skipped", "component": "/work", "skipIf": True},
        {"id": "spread", "component": "/work", "input": ref("skipped")},
        {"id": "failed", "component": "/fail", "onError": {"action": "skip"}},
        {"id": "default", "component": "/fail", "onError": {"action": "useDefault", "defaultValue": [7]}},
        {"id": "last", "component": "/work", "input": [ref("default"), ref("failed", onSkip={"action": "useDefault"})]},
    ]
    document = {"schema": "s", "steps": steps, "output": [ref("last"), ref("spread", onSkip={"action": "useDefault"})]}
    image, run_id = await _interrupted(tmp_path / "state.db", document, None, at="last")
    async with LocalRuntime(gate := Gate(), state=image) as runtime:
        (run,) = await runtime.resume()
        assert run.status == "completed"
        assert gate.calls == [("last", [[7], None], 2)]
        (item,) = await runtime.engine.runs.items(run_id)
        assert item.result == FlowResultSuccess([[[7], None], None])
