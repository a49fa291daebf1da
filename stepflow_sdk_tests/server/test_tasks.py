"""`async def` components: most end before they wait and cost no task, and none can tell."""

import asyncio
import contextvars
import json
import os
import socket
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepflow_sdk import ComponentError, Input, StepflowContext, StepflowServer, current_context
from stepflow_sdk.dispatch import Dispatcher
from stepflow_sdk.errors import WireError
from stepflow_sdk.runtime import LocalRuntime
from stepflow_sdk.transports import Connection
from stepflow_sdk.transports.stdio import StdioTransport, WireDescriptors

MARK: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="nothing")


async def call(function: Any, times: int = 1) -> list[Any]:
    server: StepflowServer = StepflowServer()
    server.component("it")(function)
    async with LocalRuntime(server) as runtime:
        return [await runtime.execute("/it") for _ in range(times)]


async def test_a_component_has_one_task_from_its_first_line_to_its_last() -> None:
    async def it() -> bool:
        first = asyncio.current_task()
        await asyncio.sleep(0)
        second = asyncio.current_task()
        await asyncio.get_running_loop().run_in_executor(None, int)
        return first is not None and first is second is asyncio.current_task()

    assert await call(it, 3) == [True] * 3


async def test_components_that_wait_have_tasks_of_their_own() -> None:
    together = asyncio.Event()
    tasks: set[Any] = set()

    async def it() -> None:
        tasks.add(asyncio.current_task())
        if len(tasks) == 20:
            together.set()
        await together.wait()

    server: StepflowServer = StepflowServer()
    server.component(it)
    async with LocalRuntime(server) as runtime, asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(runtime.execute("/it"))
    assert len(tasks) == 20


async def test_timeouts_and_task_groups_work_from_the_first_line() -> None:
    async def it() -> list[str]:
        seen: list[str] = []
        try:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(60)
        except TimeoutError:
            seen.append("asyncio")
        with anyio.move_on_after(0.001):
            await anyio.sleep(60)
        seen.append("anyio")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(60))
                raise ValueError
        except* ValueError:
            seen.append("group")
        return seen

    assert await call(it, 2) == [["asyncio", "anyio", "group"]] * 2


async def test_nothing_that_a_component_sets_is_there_for_the_next() -> None:
    async def it() -> str:
        seen = MARK.get()
        MARK.set("set")
        return seen

    async def waits() -> list[str]:
        seen = [MARK.get()]
        MARK.set("set")
        await asyncio.sleep(0)
        return [*seen, MARK.get()]

    assert await call(it, 3) == ["nothing"] * 3
    assert await call(waits, 3) == [["nothing", "set"]] * 3
    assert MARK.get() == "nothing"


@pytest.mark.parametrize("kind", ["async", "waits", "thread", "inline"])
async def test_a_call_that_had_to_wait_for_its_turn_has_the_variables_of_its_request(kind: str) -> None:
    server: StepflowServer = StepflowServer()

    async def it() -> str:
        seen = MARK.get()
        MARK.set("set")
        if kind == "waits":
            await asyncio.sleep(0)
        return seen

    def blocking() -> str:
        seen = MARK.get()
        MARK.set("set")
        return seen

    is_async = kind in {"async", "waits"}
    server.component("it", max_concurrency=1, run_in_thread=kind != "inline")(it if is_async else blocking)
    reset = MARK.set("outside")
    try:
        async with LocalRuntime(server) as runtime:
            assert await asyncio.gather(*(runtime.execute("/it") for _ in range(3))) == ["outside"] * 3
    finally:
        MARK.reset(reset)


async def test_nothing_that_a_component_sets_is_there_when_reading_goes_on_after_its_answer() -> None:
    server: StepflowServer = StepflowServer()

    @server.component
    async def it(large: Input[bool]) -> str:
        seen = MARK.get()
        MARK.set("set")
        await asyncio.sleep(0)
        return "x" * 4_000_000 if large else seen

    ours, theirs = socket.socketpair()
    async with server.service() as service:
        wire = WireDescriptors(ours.fileno(), os.dup(ours.fileno()))
        ours.detach()
        transport = StdioTransport(Dispatcher(service), wire, ended=lambda: None)
        await transport.open()
        with theirs, theirs.makefile("rwb") as file:

            def ask(message: bytes) -> bytes:
                file.write(message + b"\n")
                file.flush()
                return file.readline()

            await asyncio.to_thread(ask, INITIALIZE)
            assert len(await asyncio.to_thread(ask, execute("/it", True))) > 4_000_000
            assert b'"nothing"' in await asyncio.to_thread(ask, execute("/it", False))
            await transport.close(timeout=1)


def _plain_task(loop: asyncio.AbstractEventLoop, coroutine: Any) -> asyncio.Task[Any]:
    return asyncio.Task(coroutine, loop=loop)


async def test_components_run_on_a_loop_whose_task_factory_knows_nothing_of_contexts() -> None:
    asyncio.get_running_loop().set_task_factory(_plain_task)

    async def it() -> str:
        return "ended"

    async def waits() -> str:
        await asyncio.sleep(0)
        return "waited"

    async def asks(ctx: StepflowContext) -> str:
        return ctx.component

    try:
        assert [await call(function) for function in (it, waits, asks)] == [["ended"], ["waited"], ["/it"]]
    finally:
        asyncio.get_running_loop().set_task_factory(None)


async def test_a_task_that_somebody_cancels_while_no_component_has_it_costs_none_its_answer() -> None:
    go = asyncio.Event()
    server: StepflowServer = StepflowServer()

    @server.component
    async def cancels() -> None:
        before = asyncio.all_tasks()
        await go.wait()
        for task in asyncio.all_tasks() - before:
            task.cancel()

    @server.component
    async def ends() -> None:
        pass

    @server.component
    async def waits() -> str:
        await asyncio.sleep(0)
        return "waited"

    async with LocalRuntime(server) as runtime:
        for turns in range(4):
            go.clear()
            cancelling = asyncio.ensure_future(runtime.execute("/cancels"))
            await asyncio.sleep(0)
            await runtime.execute("/ends")
            go.set()
            await cancelling
            for _ in range(turns):
                await asyncio.sleep(0)
            with anyio.fail_after(60):
                assert await runtime.execute("/waits") == "waited"


async def test_a_component_that_cancels_its_own_task_harms_nobody() -> None:
    async def it() -> str:
        task = asyncio.current_task()
        if task is not None:
            task.cancel()
        return "ended"

    async def waits() -> str:
        await it()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "cancelled"
        return "not cancelled"

    assert await call(it, 3) == ["ended"] * 3
    assert await call(waits, 3) == ["cancelled"] * 3


INITIALIZE = b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"runtime_protocol_version":1}}'


def execute(component: str, input: bool) -> bytes:
    params = {"component": component, "input": input, "attempt": 1, "observability": {}}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "components/execute", "params": params}).encode()


@pytest.mark.parametrize("component", ["/plain", "/with_context"])
async def test_calls_that_are_cancelled_in_the_turn_in_which_they_began_make_room_for_others(component: str) -> None:
    server: StepflowServer = StepflowServer()

    @server.component(max_concurrency=1)
    async def plain(waits: Input[bool]) -> None:
        if waits:
            await asyncio.sleep(60)

    @server.component(max_concurrency=1)
    async def with_context(waits: Input[bool], ctx: StepflowContext) -> None:
        if waits:
            await asyncio.sleep(60)

    answered = asyncio.Event()
    async with server.service() as service:
        for _ in range(3):
            connection = Connection(Dispatcher(service), lambda _: None)
            connection.receive([INITIALIZE, execute(component, True), execute(component, True)])
            connection.close()
        connection = Connection(
            Dispatcher(service), lambda frames: answered.set() if b'"output"' in frames[0] else None
        )
        connection.receive([INITIALIZE])
        connection.receive([execute(component, False)])
        with anyio.fail_after(60):
            await answered.wait()


async def test_a_component_that_is_started_by_another_does_not_disturb_it() -> None:
    inner: StepflowServer = StepflowServer()

    @inner.component
    async def leaf(wait: bool) -> str:
        if wait:
            await asyncio.sleep(0)
        return current_context().component

    server: StepflowServer = StepflowServer()
    async with LocalRuntime(inner) as runtime:

        @server.component
        async def outer(wait: bool) -> list[Any]:
            task = asyncio.current_task()
            got = await asyncio.gather(*(runtime.execute("/leaf", {"wait": wait}) for _ in range(3)))
            return [got, task is asyncio.current_task(), current_context().component]

        async with LocalRuntime(server) as around:
            for wait in (True, False):
                assert await around.execute("/outer", {"wait": wait}) == [["/leaf"] * 3, True, "/outer"]


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(
    "kind", [SystemExit, KeyboardInterrupt, asyncio.CancelledError, StopAsyncIteration, GeneratorExit]
)
async def test_whatever_is_raised_before_or_after_the_first_wait_ends_the_call_alone(
    waits: bool, kind: type[BaseException]
) -> None:
    server: StepflowServer = StepflowServer()

    @server.component
    async def it() -> None:
        if waits:
            await asyncio.sleep(0)
        raise kind

    @server.component
    async def echo(input: Any) -> Any:
        return input

    async with LocalRuntime(server) as runtime:
        with pytest.raises(WireError):
            await runtime.execute("/it")
        assert await runtime.execute("/echo", 5) == 5


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=40), st.integers(1, 5))
def test_calls_that_end_at_once_later_or_not_at_all_are_each_answered_once(
    calls: list[tuple[int, bool]], limit: int
) -> None:
    server: StepflowServer = StepflowServer()

    @server.component(max_concurrency=limit)
    async def it(index: int, waits: int, fails: bool, ctx: StepflowContext) -> int:
        for _ in range(waits):
            await asyncio.sleep(0)
        if fails:
            raise ComponentError(str(index))
        return index

    async def run() -> list[Any]:
        async with LocalRuntime(server) as runtime:
            inputs = [{"index": i, "waits": waits, "fails": fails} for i, (waits, fails) in enumerate(calls)]
            return await asyncio.gather(*(runtime.execute("/it", input) for input in inputs), return_exceptions=True)

    outcomes = asyncio.run(run())
    assert [str(index) if fails else index for index, (_, fails) in enumerate(calls)] == [
        outcome.message if isinstance(outcome, WireError) else outcome for outcome in outcomes
    ]


async def test_a_crowd_behind_a_limit_of_one_gets_its_turns() -> None:
    first = asyncio.Event()
    server: StepflowServer = StepflowServer()

    @server.component(max_concurrency=1)
    async def it(index: int) -> int:
        if index == 0:
            await first.wait()
        return index

    async with LocalRuntime(server) as runtime:
        calls = [asyncio.ensure_future(runtime.execute("/it", {"index": index})) for index in range(3000)]
        await asyncio.sleep(0)
        first.set()
        assert await asyncio.gather(*calls) == list(range(3000))
