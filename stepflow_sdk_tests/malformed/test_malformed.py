"""Whatever is done to a document, it works or is refused with one clear error: no other exception, and no wait."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepflow_sdk import ComponentError, StepflowServer
from stepflow_sdk.cli import run_program
from stepflow_sdk.errors import InvalidConfig, InvalidFlow, InvalidValue
from stepflow_sdk.flows import Flow, check_flow, load_flow, parse_flow
from stepflow_sdk.protocol import FlowResultFailed, FlowResultSuccess
from stepflow_sdk.runtime import LocalRuntime, load_config
from stepflow_sdk_tests.malformed.documents import CONFIG, CONFIG_TEXT, FLOW, OLD_FLOW, OVERRIDES, TEXTS
from stepflow_sdk_tests.malformed.mutations import garbled, mutated

LONG_SECONDS = 60
"""Nothing here takes so long, unless it hangs."""

SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

server = StepflowServer("malformed")


@server.component
def echo(input: Any) -> Any:
    return input


@server.component
def fail(input: Any) -> Any:
    raise ComponentError("no")


def assert_placed(error: InvalidValue) -> None:
    assert re.match(r"overrides: \$", error.message), error.message


def assert_explained(error: InvalidFlow, *, file: Path | None = None, said: str = "") -> None:
    assert error.diagnostics, str(error)
    assert said in str(error).splitlines()[0]
    for finding in error.diagnostics:
        assert isinstance(finding["code"], int)
        assert finding["kind"]
        assert finding["level"] in ("warning", "error", "fatal")
        assert finding["formatted"]
        # What cannot be read at all has a line, and no place in a document.
        assert finding.get("path", "$").startswith("$")
        assert file is None or finding["file"] == str(file)
    assert any(finding["level"] != "warning" for finding in error.diagnostics)
    assert len(str(error)) < 20_000


def checked(flow: Flow) -> None:
    for finding in check_flow(flow):
        assert finding.path is None or finding.path.startswith("$")
    assert parse_flow(flow.to_json()).id == flow.id


def test_the_documents_are_right() -> None:
    for document in (FLOW, OLD_FLOW):
        checked(parse_flow(document))
    load_config(CONFIG, environ={"A": "a"})


@given(mutated(st.sampled_from([FLOW, FLOW, OLD_FLOW])))
@settings(SETTINGS, max_examples=600)
def test_a_changed_flow_is_read_or_refused_with_its_places(document: Any) -> None:
    try:
        flow = parse_flow(document)
    except InvalidFlow as error:
        assert_explained(error)
    else:
        checked(flow)


@given(garbled(st.sampled_from(TEXTS)))
@settings(SETTINGS, max_examples=200)
def test_a_garbled_flow_is_read_or_refused_with_file_and_line(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "flow.yaml"
    file.write_bytes(text)
    try:
        flow = load_flow(file)
    except InvalidFlow as error:
        assert_explained(error, file=file, said=str(file))
    else:
        checked(flow)


@given(mutated(st.just(FLOW)), st.sampled_from([None, {"x": 1}, {"x": {}}, "text"]))
@settings(SETTINGS, max_examples=150)
async def test_a_changed_flow_runs_to_an_outcome_or_is_refused(document: Any, input: Any) -> None:
    async with LocalRuntime(server) as runtime:
        with anyio.fail_after(LONG_SECONDS):
            try:
                outcome = await runtime.run(document, input, variables={"key": "k"})
            except InvalidFlow as error:
                assert_explained(error)
            else:
                assert isinstance(outcome, FlowResultSuccess | FlowResultFailed)


@given(mutated(st.sampled_from([OVERRIDES, {"steps": OVERRIDES}])))
@settings(SETTINGS, max_examples=150)
async def test_changed_overrides_are_applied_or_refused_with_their_place(overrides: Any) -> None:
    async with LocalRuntime(server) as runtime:
        with anyio.fail_after(LONG_SECONDS):
            try:
                outcome = await runtime.run(FLOW, {"x": 1}, variables={"key": "k"}, overrides=overrides)
            except InvalidFlow as error:
                assert_explained(error, said="after the overrides: ")
            except InvalidValue as error:
                assert_placed(error)
            else:
                assert isinstance(outcome, FlowResultSuccess | FlowResultFailed)


def config_or_refusal(source: Mapping[str, Any] | Path) -> str | None:
    try:
        LocalRuntime(config=load_config(source, environ={"A": "a"}))
    except InvalidConfig as error:
        return str(error)
    return None


@given(mutated(st.just(CONFIG)))
@settings(SETTINGS, max_examples=600)
def test_a_changed_configuration_is_read_or_refused_with_its_key(config: Any) -> None:
    refusal = config_or_refusal(config)
    assert refusal is None or re.search(r"\$|'[^']*'", refusal), refusal


@given(garbled(st.just(CONFIG_TEXT)))
@settings(SETTINGS, max_examples=200)
def test_a_garbled_configuration_is_read_or_refused_with_its_file(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "stepflow-config.yml"
    file.write_bytes(text)
    refusal = config_or_refusal(file)
    assert refusal is None or refusal.startswith(f"{file}:"), refusal


PATHS = st.text(alphabet="$.[]\"' ab01-\\é\n", max_size=10)


@given(PATHS, st.sampled_from(["$input", "$step", "$variable"]))
@settings(SETTINGS, max_examples=300)
def test_any_path_is_followed_or_refused_where_it_stands(path: str, kind: str) -> None:
    reference: dict[str, Any] = {"$step": "a", "path": path} if kind == "$step" else {kind: path}
    document = {"steps": [{"id": "a", "component": "/echo"}], "output": [reference]}
    try:
        checked(parse_flow(document))
    except InvalidFlow as error:
        (finding,) = error.diagnostics
        assert finding["path"] == f"$.output[0].{'path' if kind == '$step' else kind}"
        assert "is not a path" in finding["formatted"]


@given(PATHS)
@settings(SETTINGS, max_examples=200)
def test_any_path_of_a_condition_is_read_or_refused(path: str) -> None:
    rule = {"plugin": "mock", "conditions": [{"path": path, "value": 1}]}
    refusal = config_or_refusal({**CONFIG, "routes": {"/m/{component}": [rule]}})
    assert refusal is None or "is not a path" in refusal


@pytest.mark.parametrize("option", ["--overrides-json", "--variables-json", "--input-json"])
@given(garbled(st.just(json.dumps(OVERRIDES))))
@settings(SETTINGS, max_examples=30)
def test_a_garbled_option_of_the_command_line_is_taken_or_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, text: bytes
) -> None:
    file = tmp_path / "flow.json"
    file.write_text(json.dumps({"name": "n", "description": "d", "output": {"$input": "$"}}))
    given = text.decode("utf-8", "replace")
    more = [] if option == "--input-json" else ["--input-json", "1"]
    code = run_program(["run", "--flow", str(file), option, given, *more])
    said = capsys.readouterr().err
    assert code in (0, 1, 2), said
    assert "Traceback" not in said
    if code == 2:
        assert option in said
