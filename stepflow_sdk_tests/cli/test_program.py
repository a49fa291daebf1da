"""The program itself, and its small commands."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import stepflow_sdk
from stepflow_sdk.flows import parse_yaml
from stepflow_sdk_tests.cli.conftest import CONFIG, FLOW, CommandLine

SHOP = ("--server", "shop:server")


def test_the_console_script_and_the_module_are_one_program(cli: CommandLine) -> None:
    script = Path(sys.executable).with_name("stepflow-sdk")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == cli.process("--version").out == f"stepflow-sdk {stepflow_sdk.__version__}\n"


@pytest.mark.parametrize(
    "command", [[], ["run"], ["call"], ["list-components"], ["validate"], ["infer"], ["test"], ["visualize"]]
)
def test_help_names_what_there_is(cli: CommandLine, command: list[str]) -> None:
    done = cli.process(*command, "--help")
    assert done.code == 0
    assert "usage: stepflow-sdk" in done.out
    assert "--flow" in done.out or "--server" in done.out or "FLOW" in done.out


def test_no_command_at_all_shows_the_help_and_is_a_usage_error(cli: CommandLine) -> None:
    done = cli()
    assert done.code == 2
    assert "list-components" in done.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["rnu"], "did you mean 'run'?"),
        (["components"], "list-components"),
        (["run"], "--flow FILE"),
        (["run", "--flwo", "flow.yaml"], "did you mean --flow?"),
        (["run", "--input-jsn=1", "--flow", "flow.yaml"], "did you mean --input-json?"),
        (["run", "flow.yaml"], "did you mean --flow flow.yaml?"),
        (["run", "--max-concurrency", "0"], "--max-concurrency: a whole number from 1 up is wanted, not '0'"),
        (["test", "--max-concurrency", "ten"], "--max-concurrency: a whole number from 1 up is wanted, not 'ten'"),
        (["serve", "--port", "70000"], "--port: a whole number from 0 to 65535 is wanted, not '70000'"),
        (["serve", "--drain", "nan"], "--drain: a number from 0 to 3600 is wanted, not 'nan'"),
        (["run", "--state-wait", "soon"], "--state-wait: a number from 0 to 86400 is wanted, not 'soon'"),
        (["run", "--flow"], "--flow"),
        (["run", "--flow", "flow.yaml", "--max-concurrency", "0"], "--max-concurrency"),
        (["run", "--flow", "flow.yaml", "--max-concurrency", "many"], "--max-concurrency"),
        (["run", "--flow", "flow.yaml", "--stdin-format", "xml"], "xml"),
        (["run", "--flow", "flow.yaml", "--config", "c.yml", "--server", "shop:server"], "give one of them"),
        (["run", "--flow", "flow.yaml", "--config", "none.yml"], "none.yml"),
        (["call"], "COMPONENT"),
        (["validate"], "--flow FILE"),
        (["infer"], "--flow FILE"),
        (["list-components", "--format", "xml"], "xml"),
    ],
)
def test_a_wrong_command_line_exits_with_2_and_one_line(cli: CommandLine, arguments: list[str], told: str) -> None:
    done = cli(*arguments)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("server", "told"),
    [
        ("shop", "MODULE:NAME"),
        (":server", "MODULE:NAME"),
        ("shpo:server", "did you mean 'shop'?"),
        ("no_such_module_at_all:server", "there is no module 'no_such_module_at_all'"),
        ("shop:sever", "shop:server"),
        ("shop:number", "an instance of int"),
        ("broken:server", "ZeroDivisionError"),
        ("broken_import:server", "broken_import.py, line 1"),
        ("wrong_syntax:server", "SyntaxError"),
        ("leaving:server", "SystemExit"),
        ("builtin=shop:server", "builtin"),
    ],
)
def test_a_server_that_cannot_be_imported_is_told_with_the_reason(cli: CommandLine, server: str, told: str) -> None:
    cli.write("broken.py", "x = 1\ny = 1 / 0\n")
    cli.write("broken_import.py", "import no_such_module_at_all\n")
    cli.write("wrong_syntax.py", "def\n")
    cli.write("leaving.py", "import sys\nsys.exit(0)\n")
    done = cli("list-components", "--server", server)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert len(done.err.splitlines()) == 1


def test_several_servers_have_a_prefix_each(cli: CommandLine) -> None:
    servers = ("--server", "a=shop:server", "--server", "b=shop:other")
    assert cli("call", "/a/double", *servers, "--input-json", '{"number": 2}').json == 4
    assert cli("call", "/b/triple", *servers, "--input-json", '{"number": 2}').json == 6
    nameless = cli("call", "/double", *SHOP, "--server", "shop:other")
    assert nameless.code == 2
    assert "PREFIX" in nameless.err


@pytest.mark.parametrize("config", [True, False])
def test_components_are_listed_with_the_paths_that_flows_use(cli: CommandLine, config: bool) -> None:
    if config:
        cli.write("stepflow-config.yml", CONFIG.replace('"/{*component}"', '"/my/{*component}"'))
    done = cli("list-components", *([] if config else SHOP))
    path = "/my/double" if config else "/double"
    (line,) = [line for line in done.out.splitlines() if line.startswith(path)]
    assert line.removeprefix(path).strip() == "Double a number."
    assert "/builtin/map" in done.out


@pytest.mark.parametrize("form", ["json", "yaml"])
@pytest.mark.parametrize("schemas", [True, False])
def test_components_are_listed_for_programs(cli: CommandLine, form: str, schemas: bool) -> None:
    done = cli("list-components", *SHOP, "--format", form, *(["--schemas"] if schemas else []))
    document = json.loads(done.out) if form == "json" else parse_yaml(done.out).value
    components = {each["component"]: each for each in document["components"]}
    assert ("input_schema" in components["/double"]) == schemas
    if schemas:
        assert components["/double"]["input_schema"]["properties"]["number"]["type"] == "integer"


def test_a_list_for_people_shows_schemas_too(cli: CommandLine) -> None:
    assert '"number"' in cli("list-components", *SHOP, "--schemas").out


def test_the_configuration_is_found_beside_a_flow_for_lists(cli: CommandLine, tmp_path: Path) -> None:
    cli.write("stepflow-config.yml", CONFIG)
    (tmp_path / "deeper").mkdir()
    os.chdir(tmp_path / "deeper")
    assert "/double" in cli("list-components", "--flow", "../flow.yaml").out


def test_a_call_prints_the_output(cli: CommandLine) -> None:
    done = cli("call", "/double", *SHOP, "--input-json", '{"number": 21}')
    assert (done.code, done.out, done.err) == (0, "42\n", "")


def test_a_call_over_stdio_gives_the_same(cli: CommandLine) -> None:
    cli.write("stepflow-config.yml", CONFIG)
    assert cli("call", "double", "--input-yaml", "number: 21").json == 42


def test_a_call_without_an_input_option_sends_null_and_reads_nothing(cli: CommandLine) -> None:
    assert cli("call", "/noise", *SHOP).json == "quiet"


def test_a_call_that_is_skipped_gives_null(cli: CommandLine) -> None:
    done = cli("call", "/skip", *SHOP)
    assert (done.code, done.json) == (0, None)
    assert "nothing to do" in done.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["/dubble", "--input-json", "{}"], "did you mean '/double'?"),
        (["/double", "--input-json", '{"number": "x"}'], "$.number"),
        (["/fail", "--input-json", '{"message": "no luck"}'], "[-32004] no luck"),
    ],
)
def test_a_call_that_fails_exits_with_1_and_the_reason(cli: CommandLine, arguments: list[str], told: str) -> None:
    done = cli("call", *arguments, *SHOP)
    assert (done.code, done.out) == (1, "")
    assert told in done.err


def test_a_valid_flow_validates(cli: CommandLine) -> None:
    done = cli("validate", "--flow", "flow.yaml")
    assert done.code == 0
    assert "the flow is valid" in done.out


def test_a_flow_with_mistakes_does_not(cli: CommandLine) -> None:
    cli.write("flow.yaml", FLOW.replace("/double", "double").replace("$step: twice", "$step: twise"))
    done = cli("validate", "--flow", "flow.yaml")
    assert done.code == 1
    for told in (
        "error   2500  flow.yaml:9: $.steps[0].component:",
        "fatal   3003  flow.yaml:11",
        "the flow is refused",
    ):
        assert told in done.out


def test_a_flow_of_two_languages_is_refused_with_the_replacement(cli: CommandLine) -> None:
    cli.write("flow.yaml", "steps: [{id: a, component: /a, input: {$from: {workflow: input}}}]\noutput: {$step: a}")
    done = cli("validate", "--flow", "flow.yaml")
    assert done.code == 1
    assert "use {$input: $}" in done.out


def test_diagnostics_for_programs_are_json(cli: CommandLine) -> None:
    cli.write("flow.yaml", FLOW.replace("name: doubling", "nmae: doubling"))
    done = cli("validate", "--flow", "flow.yaml", "--json")
    assert (done.code, done.json["valid"]) == (0, True)
    assert {1001, 4100} <= {each["code"] for each in done.json["diagnostics"]}


def test_validate_refuses_a_wrong_configuration(cli: CommandLine) -> None:
    cli.write("stepflow-config.yml", "plugins: {a: {type: nonne}}\nroutes: {/a: [{plugin: a}]}")
    done = cli("validate", "--flow", "flow.yaml")
    assert (done.code, done.out) == (2, "")
    assert "'nonne'" in done.err


def test_a_reader_that_goes_away_is_no_traceback(cli: CommandLine) -> None:
    command = [sys.executable, "-m", "stepflow_sdk", "list-components", *SHOP, "--schemas"]
    with subprocess.Popen(
        command, cwd=cli.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(60) == 1
    assert "Traceback" not in err
    assert "Exception" not in err


def test_help_imports_no_engine_and_no_yaml() -> None:
    code = (
        "import sys; from stepflow_sdk.cli import run_program; run_program(['--help']); "
        "heavy = {'yaml', 'jsonschema', 'stepflow_sdk.runtime'}; print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


WORDS = st.one_of(
    st.sampled_from(
        [
            *(
                "run",
                "call",
                "list-components",
                "validate",
                "--help",
                "--flow",
                "--config",
                "--server",
                "--output",
                "-",
            ),
            *("--input", "--input-json", "--input-yaml", "--json", "--schemas", "--format", "--max-concurrency", "--"),
            *("flow.yaml", "shop.py", "shop:server", "x=shop:server", "stepflow-config.yml", "/double", "{}", "null"),
        ]
    ),
    st.text(st.characters(exclude_characters="\0/"), max_size=5),
    st.sampled_from(["a" * 5000, "a/" * 5000, "\udcff", "--" + "x" * 5000]),
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.sampled_from(["run", "call", "list-components", "validate", "infer", "x"]), st.lists(WORDS, max_size=6))
def test_no_command_line_gets_an_exception_out(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, command: str, words: list[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"{}")))
    assert cli(command, *words).code in (0, 1, 2)
