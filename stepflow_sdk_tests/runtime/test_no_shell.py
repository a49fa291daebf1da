"""Nothing that comes from a configuration, a flow or a command line is read by a shell."""

import ast
import json
from pathlib import Path

import pytest

import stepflow_sdk
from stepflow_sdk.errors import ServerLost
from stepflow_sdk.runtime import LocalRuntime
from stepflow_sdk_tests.cli.conftest import CommandLine, cli

__all__ = ["cli"]

NASTY = [
    "; touch pwned",
    "$(touch pwned)",
    "`touch pwned`",
    "| touch pwned",
    "&& touch pwned",
    "\n touch pwned",
    "%PATH%",
    "*",
]
PROGRAM = """
import sys
from stepflow_sdk import StepflowServer

server = StepflowServer("told")
server.component(path="arguments")(lambda: sys.argv[1:])
arguments, sys.argv[1:] = sys.argv[1:], []
server.run()
"""
FORBIDDEN = {"system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell", "eval", "exec", "startfile"}


def config_of(command: str, args: list[str]) -> dict[str, object]:
    # What stands for a variable of the environment is written so that it does not.
    written = [arg.replace("\\", "\\\\").replace("$", "\\$") for arg in args]
    plugin = {"type": "stepflow", "transport": "stdio", "command": command, "args": written}
    return {"plugins": {"p": plugin}, "routes": {"/{*component}": [{"plugin": "p"}]}}


@pytest.mark.promise("S12")
async def test_arguments_of_a_server_are_words_and_not_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "told.py").write_text(PROGRAM.replace("lambda: sys.argv[1:]", "lambda: arguments"))
    async with LocalRuntime.from_config(config_of("python", ["told.py", *NASTY])) as runtime:
        assert await runtime.execute("/arguments") == NASTY
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("nasty", [word for word in NASTY if "touch" in word])
@pytest.mark.promise("S12")
async def test_the_name_of_a_program_is_not_a_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nasty: str
) -> None:
    monkeypatch.chdir(tmp_path)
    async with LocalRuntime.from_config(config_of(f"true {nasty}", [])) as runtime:
        with pytest.raises(ServerLost, match="there is no such program"):
            await runtime.execute("/x")
    assert not (tmp_path / "pwned").exists()


def test_names_on_a_command_line_are_names(cli: CommandLine) -> None:
    flow = {"name": "$(touch pwned)", "steps": [{"id": "; touch pwned", "component": "/`touch pwned`"}]}
    cli.write("a; touch pwned.json", json.dumps(flow))
    for command in (["validate"], ["run", "--input-json", "1"], ["visualize", "--format", "dot"]):
        cli.process(*command, "--flow", "a; touch pwned.json")
        cli.process(*command, "--flow", "$(touch pwned).json")
    cli.process("list-components", "--server", "os; touch pwned:server")
    assert not (cli.directory / "pwned").exists()


@pytest.mark.promise("S12")
def test_the_package_calls_no_shell_and_runs_no_text() -> None:
    found = []
    for path in Path(stepflow_sdk.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in FORBIDDEN or any(keyword.arg == "shell" for keyword in node.keywords):
                    found.append(f"{path}:{node.lineno}: {name}")
    assert found == []
