import gc
import tracemalloc
from collections.abc import Iterator
from itertools import count
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepflow_sdk.errors import ComponentError, InvalidFlow, InvalidValue
from stepflow_sdk.protocol import FlowResult, FlowResultFailed, FlowResultSuccess
from stepflow_sdk.runtime import LocalRuntime, MemoryRunStore, progress
from stepflow_sdk.runtime.ordering import InOrder
from stepflow_sdk_tests.runtime.scripted import Scripted

FLOW = {"steps": [{"id": "s", "component": "/work", "input": {"$input": "$"}}], "output": {"$step": "s"}}
ECHO = {"output": {"$input": "$"}}


async def _work(input: Any) -> Any:
    if input == "bad":
        raise ComponentError("no")
    return input


async def test_outcomes_come_in_the_order_of_the_inputs_and_failures_are_counted() -> None:
    inputs = [1, "bad", None, "bad", {"a": [2]}]
    outcomes: list[FlowResult] = []
    async with LocalRuntime(Scripted(work=_work)) as runtime:
        failed = await runtime.run_stream(FLOW, inputs, outcomes.append)
        assert outcomes == await runtime.run_batch(FLOW, inputs)
    assert failed == 2
    assert [isinstance(outcome, FlowResultFailed) for outcome in outcomes] == [False, True, False, True, False]


def test_a_runtime_that_blocks_streams_too() -> None:
    outcomes: list[FlowResult] = []
    with LocalRuntime() as runtime:
        assert runtime.run_stream(ECHO, range(3), outcomes.append) == 0
    assert outcomes == [FlowResultSuccess(number) for number in range(3)]


async def test_an_outcome_is_delivered_while_later_items_run() -> None:
    first_delivered = anyio.Event()

    async def work(input: Any) -> Any:
        if input == 1:
            await first_delivered.wait()
        return input

    outcomes: list[FlowResult] = []

    def deliver(outcome: FlowResult) -> None:
        outcomes.append(outcome)
        first_delivered.set()

    with anyio.fail_after(60):
        async with LocalRuntime(Scripted(work=work)) as runtime:
            await runtime.run_stream(FLOW, [0, 1], deliver)
    assert outcomes == [FlowResultSuccess(0), FlowResultSuccess(1)]


async def test_an_item_that_takes_long_holds_up_only_so_many_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_WINDOW", 20)
    begun = 0
    delivered: list[FlowResult] = []
    seen: list[int] = []

    def inputs() -> Iterator[int]:
        nonlocal begun
        for number in range(100):
            begun += 1
            yield number

    async def work(input: Any) -> Any:
        if input % 50 == 0:
            await anyio.wait_all_tasks_blocked()
            seen.append(begun)
            assert len(delivered) == input
        return input

    async with LocalRuntime(Scripted(work=work)) as runtime:
        await runtime.run_stream(FLOW, inputs(), delivered.append, max_concurrency=4)
    assert delivered == [FlowResultSuccess(number) for number in range(100)]
    assert seen == [20, 70]


async def test_work_goes_on_at_full_width_behind_an_item_that_took_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_WINDOW", 5)
    together = anyio.Event()
    waiting = 0

    async def work(input: Any) -> Any:
        nonlocal waiting
        if input == 0:
            await anyio.wait_all_tasks_blocked()
        elif input >= 10:
            waiting += 1
            if waiting == 3:
                together.set()
            await together.wait()
        return input

    with anyio.fail_after(60):
        async with LocalRuntime(Scripted(work=work)) as runtime:
            await runtime.run_stream(FLOW, range(13), lambda _: None, max_concurrency=3)


async def test_memory_does_not_grow_with_the_number_of_inputs() -> None:
    async with LocalRuntime(runs=(store := MemoryRunStore())) as runtime:

        async def peak(items: int) -> int:
            gc.collect()
            tracemalloc.start()
            run_id = f"run of {items}"
            await runtime.run_stream(ECHO, ({"n": [n] * 100} for n in range(items)), lambda _: None, run_id=run_id)
            assert await store.items(run_id) == ()
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            return most

        await peak(100)
        assert await peak(3000) < 2 * await peak(300)


async def test_endless_inputs_can_be_cancelled() -> None:
    delivered = 0

    def deliver(outcome: FlowResult) -> None:
        nonlocal delivered
        delivered += 1
        if delivered == 1000:
            tasks.cancel_scope.cancel()

    with anyio.fail_after(60):
        async with LocalRuntime(Scripted(work=_work)) as runtime, anyio.create_task_group() as tasks:
            await runtime.run_stream(FLOW, count(), deliver)
    assert delivered >= 1000


async def test_what_takes_the_outcomes_ends_the_run_when_it_fails() -> None:
    def deliver(outcome: FlowResult) -> None:
        raise BrokenPipeError("nobody reads")

    async with LocalRuntime(Scripted(work=_work)) as runtime:
        with pytest.raises(BrokenPipeError, match="nobody reads"):
            await runtime.run_stream(FLOW, count(), deliver)
        assert (await runtime.run(FLOW, 1)).unwrap() == 1


async def test_wrong_flows_and_inputs_are_refused() -> None:
    async with LocalRuntime(Scripted(work=_work)) as runtime:
        with pytest.raises(InvalidFlow):
            await runtime.run_stream({"output": {"$step": "none"}}, [1], lambda _: None)
        with pytest.raises(InvalidValue, match="not an instance of str"):
            await runtime.run_stream(FLOW, "text", lambda _: None)
        with pytest.raises(InvalidValue):
            await runtime.run_stream(FLOW, [1, {1, 2}], lambda _: None)


@settings(max_examples=100, deadline=None)
@given(st.permutations(range(12)))
def test_any_order_of_ends_is_put_right(order: list[int]) -> None:
    delivered: list[FlowResult] = []
    in_order = InOrder(delivered.append)
    ended: set[int] = set()
    for index in order:
        ended.add(index)
        in_order(index, FlowResultSuccess(index))
        ready = next(number for number in count() if number not in ended)
        assert delivered == [FlowResultSuccess(number) for number in range(ready)]
