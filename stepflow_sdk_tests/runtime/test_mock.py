import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepflow_sdk.errors import ComponentNotFound, InvalidConfig
from stepflow_sdk.flows import dump_yaml
from stepflow_sdk.protocol import FlowResultFailed
from stepflow_sdk.runtime import LocalRuntime, load_config
from stepflow_sdk_tests.runtime.scripted import stack_of

CONFIG = """\
plugins:
  mock:
    type: mock
    components:
      /one:
        input_schema: {type: object}
        output_schema: {type: string}
        behaviors:
          {k: ok}: {outcome: success, result: an object}
          ? {a: [1, {b: null}], c: x}
          : {outcome: success, result: a large object}
          [1, 2]: {outcome: success, result: a list}
          null: {outcome: success, result: nothing}
          1: {outcome: success, result: an integer}
          1.0: {outcome: success, result: a float}
          "1": {outcome: success, result: a string}
          true: {outcome: success, result: a truth}
          k: {outcome: failed, error: {code: 42, message: no k, data: {x: 1}}}
          s: {outcome: skipped, reason: not today}
          e: {error: it broke}
routes:
  "/mock/{*component}":
    - plugin: mock
"""
FLOW = {"steps": [{"id": "s", "component": "/mock/one", "input": {"$input": "$"}}], "output": {"$step": "s"}}


def write(folder: Path, text: str, name: str = "stepflow-config.yml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("input", "result"),
    [
        ({"k": "ok"}, "an object"),
        ({"c": "x", "a": [1, {"b": None}]}, "a large object"),
        ([1, 2], "a list"),
        (None, "nothing"),
        (1, "an integer"),
        (1.0, "a float"),
        ("1", "a string"),
        (True, "a truth"),
    ],
)
async def test_the_result_is_looked_up_by_the_value_of_the_input(tmp_path: Path, input: Any, result: str) -> None:
    async with LocalRuntime.from_config(write(tmp_path, CONFIG)) as runtime:
        assert await runtime.execute("/mock/one", input) == result
        assert (await runtime.run(FLOW, input)).unwrap() == result


async def test_a_failure_is_the_steps_as_it_is_written(tmp_path: Path) -> None:
    async with LocalRuntime.from_config(write(tmp_path, CONFIG)) as runtime:
        failed = await runtime.run(FLOW, "k")
        assert isinstance(failed, FlowResultFailed)
        assert (failed.error.code, failed.error.message, failed.error.data) == (42, "no k", {"x": 1})
        assert (await runtime.run(FLOW, "s")).unwrap() is None


@pytest.mark.parametrize(
    ("input", "said"),
    [("e", "it broke"), ({"b": 1, "a": "é"}, 'No behavior defined for /one on {"b":1,"a":"é"}')],
)
async def test_an_internal_error_names_the_step_and_the_component(tmp_path: Path, input: Any, said: str) -> None:
    async with LocalRuntime.from_config(write(tmp_path, CONFIG)) as runtime:
        failed = await runtime.run(FLOW, input)
        assert isinstance(failed, FlowResultFailed)
        assert (failed.error.code, failed.error.message) == (-32300, 'step "s" failed')
        attachments = stack_of(failed)[0]["attachments"]
        assert attachments == ["Component: /one", "Component execution failed for step 's'", said]


async def test_a_mock_lists_its_components_with_their_schemas_and_names_the_nearest(tmp_path: Path) -> None:
    async with LocalRuntime.from_config(write(tmp_path, CONFIG)) as runtime:
        [info] = await runtime.list_components()
        assert (info.component, info.input_schema, info.output_schema) == (
            "/mock/one",
            {"type": "object"},
            {"type": "string"},
        )
        with pytest.raises(ComponentNotFound, match=r"no component '/onne'; did you mean '/one'"):
            await runtime.execute("/mock/onne")


def mock(behaviors: Any) -> dict[str, Any]:
    component = {"input_schema": {}, "output_schema": {}, "behaviors": behaviors}
    return {
        "plugins": {"m": {"type": "mock", "components": {"/c": component}}},
        "routes": {"/{*component}": [{"plugin": "m"}]},
    }


async def test_keys_of_json_are_strings(tmp_path: Path) -> None:
    behaviors = {"1": {"outcome": "success", "result": "text"}, '{"a":1}': {"outcome": "success", "result": "braces"}}
    path = write(tmp_path, json.dumps(mock(behaviors)), "config.json")
    async with LocalRuntime.from_config(path) as runtime:
        assert await runtime.execute("/c", "1") == "text"
        assert await runtime.execute("/c", '{"a":1}') == "braces"
        for input in (1, {"a": 1}):
            outcome = await runtime.run(
                {"steps": [{"id": "s", "component": "/c", "input": input}], "output": {"$step": "s"}}
            )
            assert isinstance(outcome, FlowResultFailed)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(-1e6, 1e6).map(lambda x: x + 0.0)
    | st.text("ab1 {é", max_size=4)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(VALUES, VALUES)
async def test_a_behavior_is_found_for_its_input_and_for_no_other(
    tmp_path_factory: pytest.TempPathFactory, key: Any, other: Any
) -> None:
    text = dump_yaml(mock({"KEY": {"outcome": "success", "result": "found"}}))
    path = write(tmp_path_factory.mktemp("mock"), text.replace("KEY", f"? {json.dumps(key)}\n          ", 1))
    async with LocalRuntime.from_config(path) as runtime:
        flow = {"steps": [{"id": "s", "component": "/c", "input": {"$literal": other}}], "output": {"$step": "s"}}
        assert await runtime.execute("/c", key) == "found"
        same = json.dumps(key, sort_keys=True) == json.dumps(other, sort_keys=True)
        assert isinstance(await runtime.run(flow), FlowResultFailed) is not same


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("        input_schema: {type: object}\n", "", 5, "needs 'input_schema'"),
        ("input_schema: {type: object}", "input_schema: 1", 6, "is an object, not the number 1"),
        ("        behaviors:", "        behaviours:", 8, "did you mean 'behaviors'"),
        ("{k: ok}: {outcome: success,", "{k: ok}: {outcome: sucess,", 9, "did you mean 'success'"),
        ("{outcome: success, result: nothing}", "{outcome: success}", 13, "needs 'result'"),
        ("{outcome: success, result: nothing}", "{result: 1}", 13, "{outcome: success, result: …}"),
        ("{outcome: success, result: nothing}", "{outcome: success, result: 1, reslt: 2}", 13, "'reslt'"),
        ("{code: 42,", "{code: 4.2,", 18, "an integer of 64 bits"),
        ("message: no k,", "", 18, "needs 'message'"),
        ("e: {error: it broke}", "e: {error: 1}", 20, "is a string, not the number 1"),
        ("  mock:\n    type", "  ? [mock]\n  :\n    type", 2, "a key is a mapping or a list"),
    ],
)
def test_what_is_wrong_with_a_mock_is_told_with_its_place(
    tmp_path: Path, old: str, new: str, line: int, said: str
) -> None:
    assert CONFIG.count(old) == 1
    path = write(tmp_path, CONFIG.replace(old, new))
    with pytest.raises(InvalidConfig) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}:{line}:")
    assert said in str(caught.value)
