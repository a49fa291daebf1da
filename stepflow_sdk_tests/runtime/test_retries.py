import sys
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepflow_sdk.context import StepflowContext
from stepflow_sdk.errors import (
    ComponentError,
    InvalidConfig,
    InvalidInput,
    RemoteError,
    RequestTimeout,
    ResourceUnavailable,
    ServerLost,
)
from stepflow_sdk.protocol import FlowResult, FlowResultFailed, FlowResultSuccess
from stepflow_sdk.runtime import (
    Backoff,
    LocalRuntime,
    MemoryRunStore,
    RetryPolicy,
    RunEvent,
    StepEnded,
    StepRetried,
    StepStarted,
    load_config,
)
from stepflow_sdk.server import StepflowServer
from stepflow_sdk_tests.runtime.scripted import Scripted

AT_ONCE = RetryPolicy(backoff=Backoff.constant(0))
RETRY = {"action": "retry"}


def flow_of(on_error: Any = None, component: str = "/work", input: Any = None) -> dict[str, Any]:
    step = {"id": "s", "component": component, "input": input, "onError": on_error}
    return {"steps": [step], "output": {"$step": "s"}}


def failing_with(*errors: Exception) -> Callable[[Any], Awaitable[Any]]:
    """A component that raises one error after the other, and then succeeds."""
    left = list(errors)

    async def work(input: Any) -> Any:
        if left:
            raise left.pop(0)
        return "done"

    return work


async def run(
    errors: Sequence[Exception], on_error: Any = None, retry: RetryPolicy = AT_ONCE
) -> tuple[FlowResult, list[RunEvent]]:
    events: list[RunEvent] = []
    async with LocalRuntime(Scripted(work=failing_with(*errors)), on_event=events.append, retry=retry) as runtime:
        return await runtime.run(flow_of(on_error)), events


def attempts(events: Sequence[RunEvent]) -> list[int]:
    return [event.attempt for event in events if isinstance(event, StepStarted)]


@pytest.mark.parametrize("error", [ServerLost("gone"), RemoteError("broken", code=-32303)])
async def test_a_lost_server_is_tried_again_whatever_the_step_says(error: Exception) -> None:
    for on_error in (None, {"action": "fail"}, RETRY):
        outcome, events = await run([error] * 3, on_error)
        assert outcome == FlowResultSuccess("done")
        assert attempts(events) == [1, 2, 3, 4]
        outcome, events = await run([error] * 4, on_error)
        assert isinstance(outcome, FlowResultFailed)
        assert attempts(events) == [1, 2, 3, 4]


async def test_the_budget_for_lost_servers_is_that_of_the_policy() -> None:
    for retries in (0, 1, 5):
        policy = RetryPolicy(transport_max_retries=retries, backoff=Backoff.constant(0))
        _, events = await run([ServerLost("gone")] * 9, retry=policy)
        assert attempts(events)[-1] == retries + 1


@pytest.mark.parametrize(
    "error",
    [
        ComponentError("x", retryable=True),
        ComponentError("ValueError: x", data={"exception": "ValueError"}),
        ResourceUnavailable("x"),
        RequestTimeout("x"),
        RemoteError("x", code=-32100),
        RemoteError("x", code=-32199),
    ],
)
async def test_a_failed_component_is_tried_again_where_the_step_asks_for_it(error: Exception) -> None:
    outcome, events = await run([error] * 3, RETRY)
    assert (outcome, attempts(events)) == (FlowResultSuccess("done"), [1, 2, 3, 4])
    outcome, events = await run([error] * 4, RETRY)
    assert (type(outcome), attempts(events)) == (FlowResultFailed, [1, 2, 3, 4])
    outcome, events = await run([error] * 2, {**RETRY, "maxRetries": 1})
    assert (type(outcome), attempts(events)) == (FlowResultFailed, [1, 2])
    for on_error in (None, {"action": "fail"}, {**RETRY, "maxRetries": 0}):
        outcome, events = await run([error], on_error)
        assert (type(outcome), attempts(events)) == (FlowResultFailed, [1])


@pytest.mark.parametrize(
    "error",
    [
        ComponentError("x"),
        ComponentError("x", data={"why": 1}),
        InvalidInput("x"),
        RemoteError("x", code=42),
        RemoteError("x", code=-32099),
        RemoteError("x", code=-32200),
        RemoteError("x", code=-32299),
        RemoteError("x", code=-32400),
        ValueError("a bug of the plugin"),
    ],
)
async def test_what_would_fail_again_is_not_tried_again(error: Exception) -> None:
    outcome, events = await run([error], RETRY)
    assert (type(outcome), attempts(events)) == (FlowResultFailed, [1])


async def test_the_two_budgets_are_separate_and_attempts_count_through() -> None:
    lost, failed = ServerLost("gone"), ComponentError("x", retryable=True)
    outcome, events = await run([lost, failed, lost, failed, lost], {**RETRY, "maxRetries": 2})
    assert outcome == FlowResultSuccess("done")
    assert attempts(events) == [1, 2, 3, 4, 5, 6]
    outcome, events = await run([lost, failed, failed, lost, failed], {**RETRY, "maxRetries": 2})
    assert isinstance(outcome, FlowResultFailed)
    assert outcome.error.message == "x"
    assert attempts(events) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("error", [ServerLost("gone"), ComponentError("x", retryable=True)])
async def test_a_default_takes_effect_at_the_first_failure(error: Exception) -> None:
    outcome, events = await run([error], {"action": "useDefault", "defaultValue": 7})
    assert (outcome, attempts(events)) == (FlowResultSuccess(7), [1])


async def test_a_wrong_input_of_a_builtin_component_fails_at_once() -> None:
    events: list[RunEvent] = []
    async with LocalRuntime(on_event=events.append) as runtime:
        outcome = await runtime.run(flow_of(RETRY, "/builtin/put_blob", {"blob_type": "no"}))
    assert isinstance(outcome, FlowResultFailed)
    assert (outcome.error.code, attempts(events)) == (-32300, [1])


async def test_a_component_without_a_route_fails_at_once() -> None:
    events: list[RunEvent] = []
    async with LocalRuntime({"a": Scripted()}, on_event=events.append) as runtime:
        outcome = await runtime.run(flow_of(RETRY, "/b/work"))
    assert isinstance(outcome, FlowResultFailed)
    assert attempts(events) == [1]


async def test_an_observer_is_told_of_each_attempt_and_the_wait_behind_it() -> None:
    policy = RetryPolicy(backoff=Backoff(least=0.001, most=0.004))
    lost, failed = ServerLost("gone"), ComponentError("x", retryable=True)
    _, events = await run([failed, lost, failed, lost, failed, lost], {**RETRY, "maxRetries": 9}, policy)
    retried = [event for event in events if isinstance(event, StepRetried)]
    assert [event.attempt for event in retried] == [1, 2, 3, 4, 5, 6]
    # One backoff for both kinds of failure.
    assert [event.delay for event in retried] == pytest.approx([0.001, 0.001, 0.002, 0.003, 0.004, 0.004])
    assert [event.failure.code for event in retried] == [-32100, -32300] * 3
    assert [event.attempt for event in events if isinstance(event, StepEnded)] == [7]


async def test_the_run_store_knows_how_many_attempts_there_were() -> None:
    store = MemoryRunStore(keep_steps=True)
    async with LocalRuntime(Scripted(work=failing_with(ServerLost("gone"))), runs=store, retry=AT_ONCE) as runtime:
        await runtime.run(flow_of(), run_id="run")
    (step,) = await store.steps("run")
    assert (step.status, step.attempt) == ("completed", 2)


async def test_a_run_can_be_cancelled_while_it_waits_for_the_next_attempt() -> None:
    policy = RetryPolicy(backoff=Backoff.constant(3600))
    waits = anyio.Event()

    def observe(event: RunEvent) -> None:
        if isinstance(event, StepRetried):
            waits.set()

    plugin = Scripted(work=failing_with(ServerLost("gone")))
    with anyio.fail_after(60):
        async with LocalRuntime(plugin, on_event=observe, retry=policy) as runtime, anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.run, flow_of())
            await waits.wait()
            tasks.cancel_scope.cancel()
    assert plugin.calls == ["s"]


async def test_a_component_sees_which_attempt_it_is_and_its_exceptions_are_tried_again() -> None:
    server: StepflowServer = StepflowServer("flaky")

    @server.component
    async def flaky(kind: str, ctx: StepflowContext) -> int:
        if ctx.attempt < 3:
            raise ComponentError("not yet", retryable=kind == "retryable") if kind != "bug" else ValueError("not yet")
        return ctx.attempt

    async with LocalRuntime(server, retry=AT_ONCE) as runtime:
        for kind, expected in (("bug", 3), ("retryable", 3), ("final", None)):
            outcome = await runtime.run(flow_of(RETRY, "/flaky", {"kind": kind}))
            assert (outcome.unwrap() if isinstance(outcome, FlowResultSuccess) else None) == expected


DIES_ONCE = """
import os
from pathlib import Path
from stepflow_sdk import StepflowContext, StepflowServer

server = StepflowServer("dies")


@server.component
async def work(file: str, times: int, ctx: StepflowContext) -> dict[str, int]:
    tally = Path(file)
    with tally.open("a") as stream:
        stream.write("x")
    if tally.stat().st_size <= times:
        os._exit(3)
    return {"attempt": ctx.attempt, "calls": tally.stat().st_size}


server.run()
"""


async def test_a_server_that_died_is_started_again_and_the_step_tried_again(tmp_path: Path) -> None:
    program = tmp_path / "dies.py"
    program.write_text(DIES_ONCE)
    input = {"file": str(tmp_path / "tally"), "times": 2}
    async with LocalRuntime([sys.executable, str(program)], retry=AT_ONCE) as runtime:
        outcome = await runtime.run(flow_of(None, "/work", input))
    assert outcome.unwrap() == {"attempt": 3, "calls": 3}


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [
        (Backoff(), [1, 1, 2, 3, 5, 8, 10, 10]),
        (Backoff("exponential"), [1, 2, 4, 8, 10, 10]),
        (Backoff("exponential", 0.5, 100, 3), [0.5, 1.5, 4.5, 13.5, 40.5, 100]),
        (Backoff.constant(4), [4, 4, 4]),
    ],
)
def test_the_delays_are_those_of_the_format(backoff: Backoff, delays: list[float]) -> None:
    assert list(islice(backoff.delays(), len(delays))) == delays


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(["fibonacci", "exponential", "constant"]),
    least=st.floats(0, 1e6),
    more=st.floats(0, 1e6),
    factor=st.floats(1, 1e300),
)
def test_delays_never_shrink_and_stay_between_their_bounds(kind: Any, least: float, more: float, factor: float) -> None:
    delays = list(islice(Backoff(kind, least, least + more, factor).delays(), 300))
    assert delays == sorted(delays)
    assert least <= delays[0]
    assert delays[-1] <= least + more


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({}, RetryPolicy()),
        (None, RetryPolicy()),
        ({"transportMaxRetries": 0}, RetryPolicy(0)),
        ({"backoff": {"type": "constant", "delayMs": 250}}, RetryPolicy(backoff=Backoff.constant(0.25))),
        ({"backoff": {"type": "constant"}}, RetryPolicy(backoff=Backoff.constant(1))),
        ({"backoff": {"type": "fibonacci", "maxDelayMs": 2000}}, RetryPolicy(backoff=Backoff("fibonacci", 1, 2))),
        (
            {"transportMaxRetries": 7, "backoff": {"type": "exponential", "minDelayMs": 1, "factor": 1.5}},
            RetryPolicy(7, Backoff("exponential", 0.001, 10, 1.5)),
        ),
    ],
)
def test_a_configuration_says_how_often_and_how_soon(written: Any, read: RetryPolicy) -> None:
    config = load_config({"plugins": {}, "routes": {}, "retry": written})
    assert (config.retry, config.warnings) == (read, ())


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (3, r"retry: 'retry' is an object, not"),
        ({"transportMaxRetrys": 3}, "did you mean 'transportMaxRetries'"),
        ({"maxAttempts": 3}, "write transportMaxRetries"),
        ({"transportMaxRetries": -1}, r"retry\.transportMaxRetries: .*integer from 0 up"),
        ({"transportMaxRetries": "3"}, "integer from 0 up"),
        ({"backoff": {}}, "needs 'type'"),
        ({"backoff": {"type": "fibonaci"}}, "did you mean 'fibonacci'"),
        ({"backoff": {"type": 1}}, "'fibonacci', 'exponential' or 'constant', not"),
        ({"backoff": {"type": "constant", "minDelayMs": 1}}, r"retry\.backoff\.minDelayMs: unknown key"),
        ({"backoff": {"type": "fibonacci", "factor": 2}}, "unknown key 'factor'"),
        ({"backoff": {"type": "exponential", "factor": 0.5}}, "'factor' is 1 or more, not 0.5"),
        ({"backoff": {"type": "exponential", "factor": True}}, "a number from 0 up"),
        ({"backoff": {"type": "fibonacci", "minDelayMs": 20000}}, r"'maxDelayMs' \(10000\) is less than"),
    ],
)
def test_a_wrong_retry_configuration_is_refused_with_its_place(written: Any, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        load_config({"plugins": {}, "routes": {}, "retry": written})


async def test_the_policy_of_the_configuration_counts() -> None:
    server = {"type": "stepflow", "transport": "stdio", "command": "no-such-program"}
    retry = {"transportMaxRetries": 1, "backoff": {"type": "constant", "delayMs": 0}}
    events: list[RunEvent] = []
    config = {"plugins": {"s": server}, "routes": {"/{*component}": [{"plugin": "s"}]}, "retry": retry}
    async with LocalRuntime.from_config(config, on_event=events.append) as runtime:
        outcome = await runtime.run(flow_of())
    assert isinstance(outcome, FlowResultFailed)
    assert attempts(events) == [1, 2]
