"""A flow of 0.7 or 0.8 that was upgraded without a loss does what it did."""

from typing import Any

import anyio
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from stepflow_sdk import ComponentError, StepflowServer
from stepflow_sdk.flows.upgrade import upgrade_flow
from stepflow_sdk.protocol import FlowResult, FlowResultFailed, FlowResultSuccess
from stepflow_sdk.runtime import LocalRuntime, StepEnded

pytestmark = pytest.mark.filterwarnings("ignore:.*stepflow-sdk upgrade:DeprecationWarning")

server = StepflowServer("upgraded")


@server.component
def ok(input: Any) -> Any:
    return {"x": input, "list": [1]}


@server.component
def truth(input: Any) -> bool:
    return bool(input)


@server.component
def fail(input: Any) -> Any:
    raise ComponentError("no luck", data=input)


STEPS = ("a", "b", "c", "d")
COMPONENTS = st.sampled_from(["/ok", "/ok", "/ok", "/truth", "/fail"])
INPUT_SCHEMA = {
    "type": "object",
    "properties": {"f": {"type": "boolean"}, "g": {"type": "boolean"}},
    "required": ["f", "g"],
}
VARIABLES = {"type": "object", "properties": {"v": {"type": "boolean"}, "w": {"type": "integer", "default": 2}}}
FLAGS = [{"$from": {"workflow": "input"}, "path": flag} for flag in ("f", "g")]
SCALARS: st.SearchStrategy[Any] = st.sampled_from([None, True, 1, "text", {"k": []}])
ON_SKIP = st.sampled_from(
    [
        None,
        {"action": "useDefault"},
        {"action": "useDefault", "defaultValue": 0},
        {"action": "useDefault", "defaultValue": {"$step": "a"}},
    ]
)


def _references(steps: tuple[str, ...]) -> st.SearchStrategy[Any]:
    found = [st.sampled_from([*FLAGS, {"$from": {"workflow": "input"}}, {"$from": {"workflow": "input"}, "path": "n"}])]
    found.append(st.sampled_from([{"$from": {"variable": "v"}}, {"$from": {"variable": "w", "default": 2}}]))
    if steps:
        source = st.sampled_from(steps).map(lambda step: {"step": step})
        paths = st.sampled_from(["$", "$", "x", "$.list[0]"])
        # Drawn more often than the others.
        found += [st.fixed_dictionaries({"$from": source, "path": paths, "onSkip": ON_SKIP})] * 2
    return st.one_of(found)


def _values(steps: tuple[str, ...]) -> st.SearchStrategy[Any]:
    leaves = SCALARS | _references(steps)
    return leaves | st.lists(leaves, max_size=3) | st.fixed_dictionaries({"p": leaves, "q": leaves})


@st.composite
def old_flows(draw: st.DrawFn) -> dict[str, Any]:
    """Flows of 0.7 and 0.8 over these components, half of which can be upgraded without a loss."""
    steps: list[dict[str, Any]] = []
    is_new = draw(st.booleans())
    for index, name in enumerate(STEPS[: draw(st.integers(1, 4))]):
        component = draw(COMPONENTS)
        conditions = [*FLAGS, True, False, 0, {"$from": {"variable": "v"}}]
        conditions += [{"$from": {"step": each["id"]}} for each in steps if each["component"] == "/truth"]
        step: dict[str, Any] = {"id": name, "component": component, "input": draw(_values(STEPS[:index]))}
        if component == "/truth":
            step["outputSchema"] = {"type": "boolean"}
        if draw(st.booleans()):
            step["skipIf"] = draw(st.sampled_from(conditions))
        if draw(st.booleans()):
            defaults = st.sampled_from([{"x": None, "list": [2]}, 7, {"$literal": {"$from": 1}}])
            used = defaults.map(lambda value: {"action": "useDefault", "defaultValue": value})
            step["onError"] = draw(st.sampled_from([{"action": "skip"}, {"action": "fail"}]) | used)
        if is_new and draw(st.booleans()):
            step["mustExecute"] = draw(st.booleans())
        steps.append(step)
    output = draw(_values(STEPS[: len(steps)]))
    return {"schema": "s", "inputSchema": INPUT_SCHEMA, "variables": VARIABLES, "steps": steps, "output": output} | (
        {} if is_new else {"variables": None}
    )


async def run_flow(document: Any, input: Any) -> tuple[FlowResult, set[str]]:
    """The outcome, and the steps whose components were called."""
    called: set[str] = set()

    def watch(seen: Any) -> None:
        if isinstance(seen, StepEnded) and seen.attempt:
            called.add(seen.step_id)

    async with LocalRuntime(server, on_event=watch) as runtime:
        return await runtime.run(document, input, variables={"v": input["f"]}), called


@settings(max_examples=300, deadline=None)
@given(old_flows(), st.booleans(), st.booleans(), st.sampled_from([{}, {"n": 1}]))
def test_an_upgrade_without_a_loss_keeps_outcomes_and_steps(
    document: dict[str, Any], f: bool, g: bool, more: dict[str, Any]
) -> None:
    upgrade = upgrade_flow(document)
    if not upgrade.is_kept:
        event("with a loss")
        return
    input = {"f": f, "g": g, **more}
    before, called_before = anyio.run(run_flow, document, input)
    after, called_after = anyio.run(run_flow, upgrade.document, input)
    event(f"kept, {type(before).__name__}")
    assert isinstance(before, (FlowResultSuccess, FlowResultFailed))
    if isinstance(before, FlowResultSuccess):
        assert after == before
        assert called_after == called_before
    else:
        assert isinstance(after, FlowResultFailed)
