"""Steps whose components are called without a task: on a server in this process, and on one behind a pipe."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import anyio
import pytest

from stepflow_sdk import ComponentError, SkipStep, StepflowServer
from stepflow_sdk.flows import parse_flow
from stepflow_sdk.protocol import Call, FlowResult, FlowResultFailed
from stepflow_sdk.runtime import Backoff, LocalRuntime, MemoryRunStore, RetryPolicy, RunEvent, StepEnded, StepStarted
from stepflow_sdk_tests.garbage import garbage

_AT_ONCE = RetryPolicy(backoff=Backoff.constant(0.0))
_seen: ContextVar[str] = ContextVar("_seen", default="nothing")


def _chain(component: str, length: int) -> dict[str, Any]:
    steps = [
        {"id": f"s{n}", "component": component, "input": {"$step": f"s{n - 1}"} if n else {"$input": "$"}}
        for n in range(length)
    ]
    return {"steps": steps, "output": {"$step": f"s{length - 1}"}}


def _wide(component: str, width: int, **more: Any) -> dict[str, Any]:
    steps = [{"id": f"s{n}", "component": component, "input": {"$input": "$"}, **more} for n in range(width)]
    return {"steps": steps, "output": [{"$step": step["id"]} for step in steps]}


def _server(**components: Callable[..., Any]) -> StepflowServer:
    server = StepflowServer("direct")
    for name, component in components.items():
        server.component(name)(component)
    return server


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "later"])
async def test_what_one_component_sets_in_its_context_the_next_does_not_see(waits: bool) -> None:
    async def look(data: Any) -> list[str]:
        seen = [*(data if isinstance(data, list) else []), _seen.get()]  # pyright: ignore[reportUnknownVariableType]
        _seen.set("what the last one left")
        if waits:
            await asyncio.sleep(0)
        return seen

    async with LocalRuntime(_server(look=look)) as runtime:
        outcome = await runtime.run(_chain("/look", 4), None)
    assert outcome.unwrap() == ["nothing"] * 4


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "later"])
async def test_a_component_has_a_task_of_its_own_for_its_timeouts(waits: bool) -> None:
    async def timed(data: Any) -> Any:
        if waits:
            await asyncio.sleep(0)
        with anyio.move_on_after(0):
            await anyio.sleep_forever()
        return data

    async with LocalRuntime(_server(timed=timed)) as runtime:
        assert (await runtime.run(_chain("/timed", 5), 1)).unwrap() == 1


async def test_never_more_calls_are_under_way_than_the_limit_allows() -> None:
    now, most = 0, 0

    async def busy(data: Any) -> Any:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return data

    async with LocalRuntime(_server(busy=busy)) as runtime:
        await runtime.list_components()
        await runtime.run(_wide("/busy", 50), 1, max_concurrency=7)
        assert most == 7
        await runtime.run_batch(_chain("/busy", 3), list(range(40)), max_concurrency=9)
    assert most == 9


async def test_a_long_chain_of_answers_at_once_lets_others_have_turns() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def echo(data: Any) -> Any:
        return data

    async with LocalRuntime(_server(echo=echo)) as runtime, anyio.create_task_group() as tasks:
        await runtime.run(_chain("/echo", 1), 1)
        tasks.start_soon(count)
        assert (await runtime.run(_chain("/echo", 1000), 1)).unwrap() == 1
        tasks.cancel_scope.cancel()
    assert turns >= 1000 // 64


async def test_what_whoever_is_told_raises_ends_the_run_although_no_task_is_told() -> None:
    async def later(data: Any) -> Any:
        await asyncio.sleep(0)
        return data

    def refuse(outcome: FlowResult) -> None:
        raise LookupError("enough")

    async with LocalRuntime(_server(later=later)) as runtime:
        with pytest.raises(LookupError, match="enough"):
            await runtime.run_stream(_chain("/later", 3), range(5), refuse)
        assert (await runtime.run(_chain("/later", 3), 1)).unwrap() == 1


async def test_inputs_that_fail_between_two_answers_end_the_run() -> None:
    async def later(data: Any) -> Any:
        await asyncio.sleep(0)
        return data

    def inputs() -> Any:
        yield from range(3)
        raise LookupError("no more of them")

    async with LocalRuntime(_server(later=later)) as runtime:
        with pytest.raises(LookupError, match="no more of them"):
            await runtime.run_stream(_chain("/later", 2), inputs(), lambda _: None, max_concurrency=1)


async def test_an_answer_that_comes_after_the_run_was_cancelled_is_nobodys() -> None:
    begun, may_end, all_ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
    ended = 0

    async def held(data: Any) -> Any:
        nonlocal ended
        begun.set()
        await may_end.wait()
        ended += 1
        if ended == 7:
            all_ended.set()
        return data

    events: list[RunEvent] = []
    async with LocalRuntime(_server(held=held), on_event=events.append) as runtime:
        await runtime.list_components()  # the server is there from now on
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.run, _wide("/held", 5), 1)
            await begun.wait()
            tasks.cancel_scope.cancel()
        may_end.set()
        assert (await runtime.run(_wide("/held", 2), 2)).unwrap() == [2, 2]
        with anyio.fail_after(60):
            await all_ended.wait()
    assert sum(isinstance(event, StepEnded) for event in events) == 2


async def test_a_call_that_fails_is_tried_again_and_told_as_if_a_task_had_waited() -> None:
    tries = 0

    async def flaky(data: Any) -> Any:
        nonlocal tries
        tries += 1
        await asyncio.sleep(0)
        if tries < 3:
            raise ComponentError("not yet", retryable=True)
        return data

    flow = _chain("/flaky", 1)
    flow["steps"][0]["onError"] = {"action": "retry"}
    events: list[RunEvent] = []
    async with LocalRuntime(_server(flaky=flaky), on_event=events.append, retry=_AT_ONCE) as runtime:
        assert (await runtime.run(flow, "x")).unwrap() == "x"
    assert [type(event).__name__ for event in events] == [
        "RunStarted",
        *("StepStarted", "StepRetried") * 2,
        "StepStarted",
        "StepEnded",
        "ItemEnded",
        "RunEnded",
    ]
    assert [event.attempt for event in events if isinstance(event, StepStarted)] == [1, 2, 3]


async def test_skips_and_failures_among_many_calls_are_those_of_their_steps() -> None:
    async def some(data: Any) -> Any:
        if data % 3 == 1:
            raise SkipStep("one of three")
        if data % 3 == 2:
            raise ComponentError(f"number {data}")
        return data

    flow = {"steps": [{"id": "a", "component": "/some", "input": {"$input": "$"}}], "output": {"$step": "a"}}
    async with LocalRuntime(_server(some=some)) as runtime:
        results = await runtime.run_batch(flow, list(range(30)), max_concurrency=8)
    for number, result in enumerate(results):
        if number % 3 == 2:
            assert isinstance(result, FlowResultFailed)
            assert result.error.message == f"number {number}"
        else:
            assert result.unwrap() == (None if number % 3 else number)


async def test_a_store_that_keeps_steps_keeps_those_that_no_task_waited_for() -> None:
    async def echo(data: Any) -> Any:
        return data

    runs = MemoryRunStore(keep_steps=True)
    run_id = "8a1c9b62-6a5f-4a58-9d1c-0e6b4b4b9f11"
    async with LocalRuntime(_server(echo=echo), runs=runs) as runtime:
        await runtime.run(_chain("/echo", 3), 5, run_id=run_id)
    kept = [(step.step_id, step.status, step.outcome, step.attempt) for step in await runs.steps(run_id)]
    assert kept == [(f"s{n}", "completed", 5, 1) for n in range(3)]
    assert all(step.started_at is not None for step in await runs.steps(run_id))


async def test_steps_leave_nothing_to_the_garbage_collector() -> None:
    async def echo(data: Any) -> Any:
        return data

    async def later(data: Any) -> Any:
        await asyncio.sleep(0)
        return data

    async def skip(data: Any) -> Any:
        raise SkipStep("no need")

    async def fail(data: Any) -> Any:
        raise ComponentError("no", retryable=True)

    async def hang(data: Any) -> Any:
        await asyncio.sleep(3600)

    default = {"action": "useDefault", "defaultValue": 1}
    flows = [shape(f"/{name}", 20) for shape in (_chain, _wide) for name in ("echo", "later", "skip")]
    flows += [_wide("/fail", 20, onError=handling) for handling in (default, {"action": "retry"})]
    server = _server(echo=echo, later=later, skip=skip, fail=fail, hang=hang)
    async with LocalRuntime(server, retry=_AT_ONCE) as runtime:

        async def cancelled() -> None:
            with anyio.move_on_after(0.05):
                await runtime.run(_wide("/hang", 20), 1, max_concurrency=20)

        runs: list[Callable[[], Awaitable[Any]]] = [
            partial(runtime.run, parse_flow(flow), {"a": [1]}) for flow in flows
        ]
        for run in [*runs, cancelled]:
            await run()
            with garbage() as left:
                await run()
            # What is left of a run is no concern: there are many steps for each.
            assert len([kind for kind in left if kind.__module__.startswith("stepflow_sdk")]) < 10, run


async def test_calls_that_were_under_way_when_the_first_inputs_failed_are_given_up() -> None:
    async def hang(data: Any) -> Any:
        await asyncio.sleep(3600)

    def inputs() -> Any:
        yield from range(2)
        raise LookupError("no more of them")

    server = _server(hang=hang)
    async with LocalRuntime(server) as runtime:
        await runtime.list_components()
        gc.collect()
        # What another test may have left is none of this one's.
        before = [thing for thing in gc.get_objects() if type(thing) is Call]
        with pytest.raises(LookupError, match="no more of them"):
            await runtime.run_stream(_wide("/hang", 3), inputs(), lambda _: None)
        gc.collect()
        waited_for = [thing for thing in gc.get_objects() if type(thing) is Call and thing not in before]
        assert waited_for == []
