"""The runtime against a plain reading of section c.10: one step after the other, in document order."""

from typing import Any

import anyio
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from stepflow_sdk.protocol import FlowResultFailed, FlowResultSkipped, FlowResultSuccess
from stepflow_sdk_tests.runtime.test_upgraded_flows import FLAGS, old_flows, run_flow

pytestmark = pytest.mark.filterwarnings("ignore:.*stepflow-sdk upgrade:DeprecationWarning")


class RunError(Exception):
    """The whole run fails."""


class NoValue(Exception):
    """``skipped`` or ``failed``."""


def follow(value: Any, path: str) -> Any:
    parts: list[Any] = {"$": [], "$.list[0]": ["list", 0]}.get(path, [path])
    try:
        for part in parts:
            value = value[part]
    except (KeyError, IndexError, TypeError):
        raise RunError from None
    return value


class Model:
    def __init__(self, document: dict[str, Any], input: dict[str, Any]) -> None:
        self.document = document
        self.input = input
        self.ends: dict[str, tuple[str, Any]] = {}
        self.called: set[str] = set()

    def value(self, expression: Any) -> Any:
        if isinstance(expression, list):
            return [self.value(item) for item in expression]
        if not isinstance(expression, dict):
            return expression
        if "$literal" in expression:
            return expression["$literal"]
        if "$from" not in expression:
            return {key: self.value(item) for key, item in expression.items()}
        source, path = expression["$from"], expression.get("path", "$")
        if "workflow" in source:
            return follow(self.input, path)
        if "variable" in source:
            return self.input["f"] if source["variable"] == "v" else 2
        state, value = self.ends[source["step"]]
        on_skip = expression.get("onSkip")
        if state == "skipped" and on_skip is not None:
            return on_skip.get("defaultValue")
        if state != "done":
            raise NoValue(state)
        return follow(value, path)

    def run(self) -> tuple[str, Any]:
        wanted = self.wanted()
        try:
            for step in self.document["steps"]:
                if step["id"] in wanted:
                    self.ends[step["id"]] = self.step(step)
            for step in self.document["steps"]:
                if step.get("mustExecute") and self.ends[step["id"]][0] == "failed":
                    return "failed", None
            return "done", self.value(self.document["output"])
        except RunError:
            return "failed", None
        except NoValue as none:
            return str(none), None

    def step(self, step: dict[str, Any]) -> tuple[str, Any]:
        if "skipIf" in step:
            try:
                condition = self.value(step["skipIf"])
                if condition in (None, [], {}) or condition:
                    return "skipped", None
            except NoValue:
                pass
        try:
            input = self.value(step["input"])
        except NoValue as none:
            if str(none) == "failed":
                raise RunError from None
            return "skipped", None
        self.called.add(step["id"])
        if step["component"] == "/ok":
            return "done", {"x": input, "list": [1]}
        if step["component"] == "/truth":
            return "done", bool(input)
        match step.get("onError", {}).get("action"):
            case "skip":
                return "skipped", None
            case "useDefault":
                return "done", self.value(step["onError"]["defaultValue"])
            case _:
                return "failed", None

    def wanted(self) -> set[str]:
        steps = {step["id"]: step for step in self.document["steps"]}
        if self.document["variables"] is None and "'variable'" not in str(self.document):
            return set(steps)
        named = named_in(self.document["output"]) | {name for name, step in steps.items() if step.get("mustExecute")}
        while True:
            more = {inner for name in named for inner in named_in([steps[name]["input"], steps[name].get("skipIf")])}
            if more <= named:
                return named
            named |= more


def named_in(expression: Any) -> set[str]:
    if isinstance(expression, list):
        return {name for item in expression for name in named_in(item)}
    if not isinstance(expression, dict):
        return set()
    if "$from" in expression:
        return {expression["$from"]["step"]} if "step" in expression["$from"] else set()
    return {name for item in expression.values() for name in named_in(item)}


@settings(max_examples=300, deadline=None)
@given(old_flows(), st.booleans(), st.booleans(), st.sampled_from([{}, {"n": 0}, {"n": ""}, {"n": []}]), st.booleans())
def test_old_flows_end_as_a_plain_reading_of_the_format_says(
    document: dict[str, Any], f: bool, g: bool, more: dict[str, Any], by_number: bool
) -> None:
    if by_number:
        # Conditions on a number, a text, a list, or on nothing.
        for step in document["steps"]:
            if step.get("skipIf") == FLAGS[0]:
                step["skipIf"] = {"$from": {"workflow": "input"}, "path": "n"}
    # How it is told from 0.7 is another test's matter.
    if document["variables"] is not None:
        document["steps"][0].setdefault("mustExecute", False)
    elif "'variable'" in str(document):
        document["steps"][0]["mustExecute"] = False
    input = {"f": f, "g": g, **more}
    model = Model(document, input)
    state, value = model.run()
    result, called = anyio.run(run_flow, document, input)
    event(f"{state} {'with' if len(model.ends) < len(document['steps']) else 'without'} steps left out")
    kinds = {"done": FlowResultSuccess, "skipped": FlowResultSkipped, "failed": FlowResultFailed}
    assert isinstance(result, kinds[state])
    if isinstance(result, FlowResultSuccess):
        assert result.result == value
    if state != "failed":
        assert called == model.called
