"""Configurations of this runtime, in the words of the orchestrators."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepflow_sdk.errors import DefinitionError, InvalidConfig
from stepflow_sdk.flows import ValueKey, is_mock_behaviors, parse_yaml
from stepflow_sdk.runtime import OrchestratorRuntime, load_config
from stepflow_sdk.runtime.orchestrator import find_orchestrator
from stepflow_sdk.runtime.orchestrator_config import orchestrator_config

ROUTES = {"/{*component}": [{"plugin": "p", "conditions": [{"path": "$.x", "value": "ü\u2028"}]}]}


def rewritten(plugin: Any, **keys: Any) -> Any:
    config = load_config({"plugins": {"p": plugin}, "routes": ROUTES, **keys}, environ={"HERE": "a$b\\c"})
    return parse_yaml(orchestrator_config(config), value_keys=is_mock_behaviors).value


def plugin_of(plugin: Any) -> Any:
    return rewritten(plugin)["plugins"]["p"]


def test_a_server_on_stdio_is_started_with_http_and_the_environment_it_has_here() -> None:
    plugin = plugin_of(
        {
            "type": "stepflow",
            "transport": "stdio",
            "command": sys.executable,
            "args": ["-m", "x"],
            "env": {"A": "$HERE"},
        }
    )
    assert (plugin["type"], plugin["command"], plugin["args"]) == ("stepflow", sys.executable, ["-m", "x", "--http"])
    assert "transport" not in plugin
    # What was filled in is not filled in again: orchestrators read a dollar and a backslash behind a backslash.
    assert plugin["env"]["A"] == r"a\$b\\c"
    assert plugin["env"]["PATH"].split(":")[0] == str(Path(sys.executable).parent)


def test_a_server_that_is_told_http_already_is_told_it_once() -> None:
    plugin = plugin_of({"type": "stepflow", "transport": "stdio", "command": "python", "args": ["x.py", "--http"]})
    assert plugin["args"] == ["x.py", "--http"]
    assert Path(plugin["command"]).is_absolute()


def test_a_server_over_http_keeps_its_health_check() -> None:
    check = {"path": "/up", "timeoutMs": 1500, "retryDelayMs": 20}
    plugin = plugin_of({"type": "stepflow", "command": "./run", "healthCheck": check})
    assert plugin["healthCheck"] == check
    assert plugin["command"] == str(Path.cwd() / "run")


def test_a_server_in_process_becomes_a_program_that_finds_its_module() -> None:
    plugin = plugin_of({"type": "inprocess", "server": "stepflow_sdk_tests.runtime.components:server"})
    assert plugin["args"][0] == "-c"
    assert plugin["args"][-2:] == ["stepflow_sdk_tests.runtime.components:server", "--http"]
    assert str(Path(__file__).parents[2]) in plugin["env"]["PYTHONPATH"]


def test_nothing_is_kept_and_what_both_know_is_handed_on() -> None:
    retry = {"transportMaxRetries": 1, "backoff": {"type": "constant", "delayMs": 5}}
    document = rewritten({"type": "builtin"}, retry=retry, workingDirectory="/tmp")
    assert document["retry"] == retry
    assert document["storageConfig"] == document["stateStore"] == {"type": "inMemory"}
    assert (document["workingDirectory"], document["routes"]) == ("/tmp", ROUTES)
    assert document["plugins"]["p"] == {"type": "builtin"}


def test_a_mock_keeps_inputs_of_any_kind(tmp_path: Path) -> None:
    text = (
        "plugins: {p: {type: mock, components: {/a: {input_schema: {}, output_schema: {}, behaviors: "
        "{{k: [1, 'x']}: {outcome: success, result: 1}, null: {error: a}, 'null': {error: b}, 1.0: {error: c}}}}}}\n"
        "routes: {'/{*component}': [{plugin: p}]}\n"
    )
    file = tmp_path / "config.yml"
    file.write_text(text, "utf-8")
    config = load_config(file)
    (again := tmp_path / "again.yml").write_text(orchestrator_config(config), "utf-8")

    def behaviors(of: Any) -> list[Any]:
        kept = of.values["plugins"]["p"]["components"]["/a"]["behaviors"]
        return [(repr(key.value if isinstance(key, ValueKey) else str(key)), value) for key, value in kept.items()]

    assert behaviors(load_config(again)) == behaviors(config)
    assert len(behaviors(config)) == 4


@pytest.mark.parametrize(
    ("plugin", "told"),
    [
        ({"type": "mcp", "url": "http://127.0.0.1:1/mcp"}, "an MCP server at a 'url'"),
        ({"type": "stepflow", "url": "http://127.0.0.1:1", "headers": {"A": "b"}}, "'headers' are an addition"),
        ({"type": "stepflow", "command": "x", "headers": {"A": "b"}}, "'headers' are an addition"),
    ],
)
def test_what_orchestrators_do_not_have_is_refused_by_the_name_of_the_plugin(plugin: Any, told: str) -> None:
    with pytest.raises(InvalidConfig, match=r"^plugin 'p': ") as caught:
        rewritten(plugin)
    assert told in str(caught.value)


texts = st.text(st.characters(codec="utf-8"), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


@given(values)
@settings(max_examples=200, deadline=None)
def test_every_value_in_a_route_arrives_as_it_is(value: Any) -> None:
    routes = {"/{*component}": [{"plugin": "p", "conditions": [{"path": "$.x", "value": value}]}]}
    config = load_config({"plugins": {"p": {"type": "builtin"}}, "routes": routes})
    found = parse_yaml(orchestrator_config(config)).value["routes"]
    assert json.dumps(found) == json.dumps(routes)


def test_an_orchestrator_that_is_not_there_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STEPFLOW_ORCHESTRATOR", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(DefinitionError, match=r"install 'stepflow-orchestrator>=0\.9,<0\.12'"):
        find_orchestrator()
    monkeypatch.setenv("STEPFLOW_ORCHESTRATOR", "/not/there")
    with pytest.raises(DefinitionError, match="'/not/there', which is no program"):
        find_orchestrator()


async def test_a_program_that_is_no_orchestrator_is_told_with_its_last_words(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho 'Server error: no plugins today'\nexit 4\n", "utf-8")
    program.chmod(0o700)
    config = load_config({"plugins": {}, "routes": {}})
    with pytest.raises(Exception, match="could not be started: no plugins today"):
        async with OrchestratorRuntime(config, program=str(program)):
            pass
