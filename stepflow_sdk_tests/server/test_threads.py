"""`def` components and the threads they share."""

import threading
from typing import Any

from stepflow_sdk import BlockingContext, StepflowServer
from stepflow_sdk.runtime import LocalRuntime


def step_of(component: str, input: Any) -> dict[str, Any]:
    return {"steps": [{"id": "s", "component": component, "input": input}], "output": {"$step": "s"}}


ECHO = step_of("/echo", {"$input": "$"})
INNER = step_of("/nested", {"flow": {"$literal": ECHO}, "input": {"$input": "$"}})
OUTER = step_of("/nested", {"flow": {"$literal": INNER}, "input": {"$input": "$"}})


def server_with(threads: int) -> StepflowServer:
    server: StepflowServer = StepflowServer(threads=threads)

    @server.component
    def echo(input: Any) -> Any:
        return input

    @server.component
    def nested(flow: dict[str, Any], input: Any, ctx: BlockingContext) -> Any:
        return ctx.evaluate_flow(flow, input)

    return server


async def test_components_that_wait_for_flows_leave_room_for_the_steps_of_these() -> None:
    async with LocalRuntime(server_with(threads=2)) as runtime:
        outcomes = await runtime.run_batch(OUTER, range(50), max_concurrency=50)
        assert [outcome.unwrap() for outcome in outcomes] == list(range(50))


async def test_no_more_threads_work_at_once_than_the_server_allows() -> None:
    server = server_with(threads=2)
    pair = threading.Barrier(2, timeout=60)
    lock = threading.Lock()
    working, most = 0, 0

    @server.component
    def work() -> None:
        nonlocal working, most
        with lock:
            working += 1
            most = max(most, working)
        pair.wait()
        with lock:
            working -= 1
        pair.wait()

    async with LocalRuntime(server) as runtime:
        # Threads that stood in for others must be gone again.
        await runtime.run_batch(OUTER, range(20), max_concurrency=20)
        outcomes = await runtime.run_batch(step_of("/work", {}), range(20), max_concurrency=20)
        assert [outcome.unwrap() for outcome in outcomes] == [None] * 20
    assert most == 2
