import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepflow_sdk.errors import InvalidConfig, RequestTimeout
from stepflow_sdk.protocol import FlowResultFailed
from stepflow_sdk.runtime import LocalRuntime, find_config, load_config
from stepflow_sdk.runtime.config import BuiltinConfig, HttpConfig, StdioConfig
from stepflow_sdk.runtime.routes import Rule
from stepflow_sdk_tests.runtime.scripted import stack_of

CONFIG = """\
workingDirectory: work
plugins:
  builtin:
    type: builtin
  python:
    type: stepflow
    transport: stdio
    command: python
    args: ["-m", "parts", "--level=${LEVEL:-3}", 5]
    env:
      KEY: $SECRET
      NUMBER: 1
routes:
  /builtin/{*component}:
    - plugin: builtin
  /python/{*component}:
    - plugin: python
      conditions: [{path: $.tier, value: 1}]
      componentDeny: [hidden]
    - plugin: python
      component: /other
"""


def write(folder: Path, text: str, name: str = "stepflow-config.yml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_configuration_is_read(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, CONFIG), environ={"SECRET": "s"})
    assert config.plugins["builtin"] == BuiltinConfig()
    python = StdioConfig(("python", "-m", "parts", "--level=3", "5"), {"KEY": "s", "NUMBER": "1"})
    assert config.plugins["python"] == python
    assert config.working_directory == tmp_path / "work"
    rules = {route.pattern: route.rules for route in config.routes}
    assert rules["/builtin/{*component}"] == (Rule("builtin"),)
    assert rules["/python/{*component}"][0].deny == {"/hidden"}
    assert rules["/python/{*component}"][1] == Rule("python", "/other")


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("plugins:", "plugns:", 2, "unknown key 'plugns' of the configuration; did you mean 'plugins'"),
        ("    type: builtin", "    type: bultin", 4, "'bultin': did you mean 'builtin'"),
        ("    type: builtin", "    typ: builtin", 3, "needs 'type'"),
        ("    type: builtin", "    type: 3", 4, "is a string, not the number 3"),
        ("    transport: stdio", "    transport: pipe", 7, "is 'stdio' or 'http', not 'pipe'"),
        ("    command: python", "    comand: python", 8, "did you mean 'command'"),
        ("    command: python", "    command: [python]", 8, "is a string, not an array"),
        ("${LEVEL:-3}", "${LEVEL}", 9, "'LEVEL' is not set"),
        ("$SECRET", "$", 11, "no variable name"),
        ("NUMBER: 1", "NUMBER: true", 12, "holds strings, not true; quote it"),
        ("    - plugin: builtin", "    - plugin: builtins", 15, "no plugin 'builtins'; did you mean 'builtin'"),
        ("    - plugin: builtin", "    - builtin", 15, "is an object, not the string 'builtin'"),
        ("/builtin/{*component}:", "/builtin/{*rest}:", 14, "needs a key 'component'"),
        ("/builtin/{*component}:", "/builtin/{*component:", 14, "no partner"),
        ("/builtin/{*component}:", "/python/{*other}:", None, "component"),
        ("path: $.tier", "path: $x", 18, "not a path"),
        ("value: 1}", "valeu: 1}", 18, "did you mean 'value'"),
        ("componentDeny: [hidden]", "componentDeny: hidden", 19, "is a list"),
        ("workingDirectory: work", "stateStore: {type: sqlite}", 1, "needs 'databaseUrl'"),
        ("workingDirectory: work", "- 1", None, "not YAML"),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_fix(
    tmp_path: Path, old: str, new: str, line: int | None, said: str
) -> None:
    assert CONFIG.count(old) >= 1
    path = write(tmp_path, CONFIG.replace(old, new, 1))
    with pytest.raises(InvalidConfig) as caught:
        load_config(path, environ={"SECRET": "s"})
    message = str(caught.value)
    assert message.startswith(str(path) if line is None else f"{path}:{line}: ")
    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "needs 'plugins'"),
        ({"plugins": {}}, "needs 'routes'"),
        ({"plugins": [], "routes": {}}, "is an object, not an array"),
        ({"plugins": {"p": None}, "routes": {}}, "plugin 'p' is an object, not null"),
        ({"plugins": {"p": {"type": "inprocess", "server": "x"}}, "routes": {}}, "'module:name'"),
        ({"plugins": {"p": {"type": "builtin", "x": 1}}, "routes": {}}, "unknown key 'x'"),
        ({"plugins": {}, "routes": {"/a": [{"plugin": "p"}]}}, "plugins are: none"),
    ],
)
def test_a_configuration_from_python_is_checked_too(config: Any, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        load_config(config)


def test_keys_without_effect_are_warned_of() -> None:
    config = load_config({"plugins": {}, "routes": {}, "recovery": {"enabled": False}})
    assert config.warnings == ("'recovery' has no effect in this runtime yet",)


def test_a_file_that_is_not_there_is_named_with_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, CONFIG)
    with pytest.raises(InvalidConfig, match=r"stepflow-config\.yaml.*did you mean 'stepflow-config\.yml'"):
        load_config(tmp_path / "stepflow-config.yaml")


def test_a_configuration_is_found_beside_the_flow_and_then_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    assert find_config(there / "flow.yaml") is None
    mine = write(here, CONFIG, "stepflow_config.yaml")
    assert find_config(there / "flow.yaml") == Path(mine.name)
    beside = write(there, CONFIG)
    assert find_config(there / "flow.yaml") == beside
    assert find_config() == Path(mine.name)
    write(there, CONFIG, "stepflow-config.yaml")
    with pytest.raises(InvalidConfig, match=r"stepflow-config\.yml, stepflow-config\.yaml"):
        find_config(there / "flow.yaml")


async def test_a_configured_runtime_starts_its_servers_in_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "parts.py").write_text(
        "import os\n"
        "from stepflow_sdk.server import StepflowServer\n"
        "server = StepflowServer('parts')\n"
        "@server.component\n"
        "def where() -> list[str | None]:\n"
        "    return [os.getcwd(), os.environ.get('KEY'), os.environ.get('STEPFLOW_TEST_HIDDEN')]\n"
        "if __name__ == '__main__':\n"
        "    server.run()\n"
    )
    (tmp_path / "work" / "data.yaml").write_text("yes: 010\n")
    config = {
        "workingDirectory": "work",
        "plugins": {
            "b": {"type": "builtin"},
            "p": {
                "type": "stepflow",
                "transport": "stdio",
                "command": "python",
                "args": ["-m", "parts"],
                "env": {"KEY": "$STEPFLOW_TEST_HIDDEN"},
            },
        },
        "routes": {"/p/{*component}": [{"plugin": "p"}], "/b/{*component}": [{"plugin": "b"}]},
    }
    loaded = load_config(config, working_directory=tmp_path, environ={"STEPFLOW_TEST_HIDDEN": "k"})
    async with LocalRuntime.from_config(loaded) as runtime:
        assert await runtime.execute("/p/where") == [str(tmp_path / "work"), "k", None]
        loaded_file = await runtime.execute("/b/load_file", {"path": "data.yaml"})
        assert loaded_file["data"] == {"yes": "010"}
        listed = [info.component for info in await runtime.list_components()]
        assert "/p/where" in listed
        assert "/b/eval" in listed


async def test_a_server_in_process_is_imported_by_name() -> None:
    module = "stepflow_sdk_tests.runtime.components"
    config: dict[str, Any] = {
        "plugins": {"p": {"type": "inprocess", "server": f"{module}:server"}},
        "routes": {"/p/{*component}": [{"plugin": "p"}]},
    }
    async with LocalRuntime.from_config(config) as runtime:
        assert await runtime.execute("/p/add", {"a": 1, "b": 2}) == 3
    for path, said in (
        (f"{module}:servr", "did you mean 'server'"),
        ("no_such_module_here:server", "cannot import 'no_such_module_here'"),
        ("sys:path", "is an instance of list, not a server"),
    ):
        config["plugins"]["p"]["server"] = path
        with pytest.raises(InvalidConfig, match=said):
            LocalRuntime.from_config(config)


async def test_a_server_in_process_is_found_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "beside_the_config.py").write_text(
        "from stepflow_sdk import StepflowServer\n"
        "server = StepflowServer('beside')\n"
        "@server.component\n"
        "def one() -> int:\n"
        "    return 1\n"
    )
    (tmp_path / "broken_beside_the_config.py").write_text("1 / 0\n")
    config = tmp_path / "stepflow-config.yml"
    plugin = "{type: inprocess, server: 'beside_the_config:server'}"
    text = f"plugins: {{p: {plugin}}}\nroutes: {{'/{{*component}}': [{{plugin: p}}]}}\n"
    config.write_text(text)
    async with LocalRuntime.from_config(config) as runtime:
        assert await runtime.execute("/one") == 1
    config.write_text(text.replace("'beside", "'broken_beside"))
    with pytest.raises(InvalidConfig, match="cannot import 'broken_beside_the_config': ZeroDivisionError"):
        LocalRuntime.from_config(config)


json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["builtin", "stepflow", "stdio", "/{*component}", "$A", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "plugins",
                    "routes",
                    "type",
                    "transport",
                    "command",
                    "args",
                    "env",
                    "plugin",
                    "conditions",
                    "path",
                    "/a/{*x}",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(["plugins", "routes"]), json, min_size=2, max_size=2))
def test_any_configuration_is_read_or_refused(config: dict[str, Any]) -> None:
    try:
        loaded = load_config(config, environ={})
    except InvalidConfig:
        return
    assert set(loaded.plugins) == set(config["plugins"] or ())


@pytest.mark.skipif(sys.platform == "win32", reason="files without permission are a POSIX thing")
def test_a_folder_is_not_a_configuration(tmp_path: Path) -> None:
    folder = tmp_path / "config.yml"
    folder.mkdir()
    with pytest.raises(InvalidConfig, match="cannot be read"):
        load_config(folder)


def test_variables_are_filled_in_args_and_env_and_nowhere_else() -> None:
    config: dict[str, Any] = {
        "workingDirectory": "$A",
        "plugins": {
            "$A": {"type": "stepflow", "transport": "stdio", "command": "$A", "args": ["$A"], "env": {"$A": "$A"}},
            "url": {"type": "stepflow", "url": "http://host/$A"},
        },
        "routes": {"/$A/{*component}": [{"plugin": "$A", "component": "/$A"}]},
    }
    loaded = load_config(config, environ={"A": "filled"})
    assert loaded.plugins["$A"] == StdioConfig(("$A", "filled"), {"$A": "filled"})
    assert loaded.plugins["url"] == HttpConfig("http://host/$A")
    assert loaded.working_directory.name == "$A"
    assert [(route.pattern, route.rules[0].component) for route in loaded.routes] == [("/$A/{*component}", "/$A")]


TIERS = """\
plugins:
  fast:
    type: mock
    components:
      /ask: {input_schema: {}, output_schema: {}, behaviors: {{tier: 1}: {outcome: success, result: fast}}}
      /secret: {input_schema: {}, output_schema: {}, behaviors: {}}
  slow:
    type: mock
    components:
      /slowly/ask: {input_schema: {}, output_schema: {}, behaviors: {{tier: 2}: {outcome: success, result: slow}}}
routes:
  "/m/{*component}":
    - {plugin: fast, conditions: [{path: $.tier, value: 1}], componentAllow: [ask], componentDeny: [/secret]}
    - {plugin: slow, component: "/slowly/{component}", componentDeny: [/slowly/secret]}
  "/{*component}":
    - {plugin: fast}
"""


@pytest.mark.parametrize(
    ("component", "input", "end"),
    [
        ("/m/ask", {"tier": 1}, "fast"),
        ("/m/ask", {"tier": 2}, "slow"),
        ("/ask", {"tier": 1}, "fast"),
        ("/m/secret", {"tier": 1}, "No matching rule found for component: /m/secret"),
        ("/m/ask", {}, r"a route's condition looks at $.tier, which the input does not have"),
    ],
)
async def test_rules_choose_the_plugin_by_the_input_and_their_lists(
    tmp_path: Path, component: str, input: Any, end: str
) -> None:
    flow = {"steps": [{"id": "s", "component": component, "input": {"$input": "$"}}], "output": {"$step": "s"}}
    async with LocalRuntime.from_config(write(tmp_path, TIERS)) as runtime:
        outcome = await runtime.run(flow, input)
    if isinstance(outcome, FlowResultFailed):
        assert (outcome.error.code, outcome.error.message) == (-32202, "error routing component")
        assert end in stack_of(outcome)[-1]["error"]
    else:
        assert outcome.unwrap() == end


WAITS: dict[str, Any] = {
    "stepTimeoutSecs": 0.05,
    "plugins": {"p": {"type": "inprocess", "server": "stepflow_sdk_tests.runtime.components:server"}},
    "routes": {"/{*component}": [{"plugin": "p"}]},
}


async def test_a_configuration_says_how_long_a_component_may_take() -> None:
    async with LocalRuntime.from_config(WAITS) as runtime:
        with pytest.raises(RequestTimeout, match=r"/wait_forever was not answered within 0\.05 s"):
            await runtime.execute("/wait_forever")
    async with LocalRuntime(config=load_config(WAITS), step_timeout=0.02) as runtime:
        with pytest.raises(RequestTimeout, match=r"within 0\.02 s"):
            await runtime.execute("/wait_forever")


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "more than 0"), (-1, "a number from 0 up"), ("5s", "a number"), (True, "a number")]
)
def test_a_time_that_no_component_could_keep_is_refused(seconds: Any, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        load_config({**WAITS, "stepTimeoutSecs": seconds})


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("python", "upstream has no such type either; use 'stepflow'"),
        ("grpc", "gRPC came with 0.12 and is not supported"),
        ("http", "supported are 'builtin', 'stepflow', 'mcp', 'mock' and 'inprocess'"),
    ],
)
def test_a_type_of_plugin_that_there_is_not_is_told_with_what_there_is(kind: str, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        load_config({"plugins": {"p": {"type": kind}}, "routes": {}})
