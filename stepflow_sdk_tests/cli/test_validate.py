"""``stepflow-sdk validate`` and ``infer``."""

import sys
from pathlib import Path
from typing import Any

import pytest

from stepflow_sdk.flows import load_flow, parse_yaml
from stepflow_sdk_tests.cli.conftest import CommandLine

SHOP = ("--server", "shop:server")
WRONG = """\
name: n
description: d
steps:
- id: twice
  component: /double
  input:
    number: "3"
output: {$step: twice}
"""


def codes(done: Any) -> list[int]:
    return [finding["code"] for finding in done.json["diagnostics"]]


def test_types_are_checked_on_demand_against_what_servers_report(cli: CommandLine) -> None:
    cli.write("flow.yaml", WRONG)
    assert cli("validate", "--flow", "flow.yaml", *SHOP).code == 0
    done = cli("validate", "--flow", "flow.yaml", *SHOP, "--type-check")
    assert done.code == 1
    told = "flow.yaml:7: $.steps[0].input.number: the input of component '/double', at $.number: "
    assert f"error   2100  {told}an integer is wanted, and the string '3' comes" in done.out


def test_types_are_checked_against_a_server_of_a_configuration(cli: CommandLine) -> None:
    cli.write("flow.yaml", WRONG)
    command = [sys.executable, "shop.py"]
    plugin = f"{{type: stepflow, transport: stdio, command: {command[0]!r}, args: {command[1:]!r}}}"
    cli.write("stepflow-config.yml", f"plugins: {{shop: {plugin}}}\nroutes: {{'/{{*component}}': [{{plugin: shop}}]}}")
    done = cli("validate", "--flow", "flow.yaml", "--type-check", "--json")
    assert (done.code, codes(done)) == (1, [2100])


def test_a_flow_that_fits_is_valid_in_the_strict_sense_too(cli: CommandLine) -> None:
    cli.write("flow.yaml", WRONG.replace('"3"', "3"))
    done = cli("validate", "--flow", "flow.yaml", *SHOP, "--type-check", "--strict", "--json")
    assert (done.code, done.json) == (0, {"valid": True, "diagnostics": []})


def test_a_path_that_types_cover_is_not_told_as_unchecked(cli: CommandLine) -> None:
    cli.write("flow.yaml", WRONG.replace('"3"', "{$input: n}").replace("{$step: twice}", "{$step: twice, path: a}"))
    assert codes(cli("validate", "--flow", "flow.yaml", *SHOP, "--json")) == [1003, 1003]
    assert codes(cli("validate", "--flow", "flow.yaml", *SHOP, "--json", "--type-check")) == [2101]


def test_without_servers_nothing_is_known_and_that_is_said_on_demand(cli: CommandLine) -> None:
    cli.write("flow.yaml", WRONG)
    (cli.directory / "stepflow-config.yml").unlink(missing_ok=True)
    done = cli("validate", "--flow", "flow.yaml", "--type-check", "--json")
    assert (done.code, codes(done)) == (0, [1100])
    assert "no configuration found" in done.err
    done = cli("validate", "--flow", "flow.yaml", "--type-check", "--strict", "--json")
    assert (done.code, codes(done)) == (1, [1101, 1100])


def test_a_component_without_a_route_is_an_error(cli: CommandLine) -> None:
    cli.write("flow.yaml", WRONG)
    cli.write("c.yml", "plugins: {b: {type: builtin}}\nroutes: {'/builtin/{*component}': [{plugin: b}]}")
    done = cli("validate", "--flow", "flow.yaml", "--config", "c.yml")
    assert done.code == 1
    assert "error   2500  flow.yaml:5: $.steps[0].component: No matching rule found for component: /double" in done.out


def test_plugins_and_routes_that_lead_nowhere_are_told_with_their_line(cli: CommandLine) -> None:
    cli.write("c.yml", "plugins:\n  b: {type: builtin}\nroutes:\n  /double:\n  - plugin: a\n")
    done = cli("validate", "--flow", "flow.yaml", "--config", "c.yml")
    assert done.code == 1
    assert "warning 1202  c.yml:2: $.plugins.b: no route leads to plugin 'b'" in done.out
    assert "error   2200  c.yml:5: $.routes./double[0].plugin: there is no plugin 'a'; plugins are: b" in done.out


@pytest.mark.parametrize("command", ["validate", "infer"])
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--flow", "flow.yaml", "--config", "none.yml"), "there is no such file"),
        (("--flow", "flow.yaml", "--config", "flow.yaml"), "unknown key"),
        (("--flow", "flow.yaml", "--server", "shop:server", "--config", "c.yml"), "give one of them"),
        (("--flow", "flow.yaml", "--server", "shop:sever"), "shop:server"),
        ((), "--flow FILE"),
    ],
)
def test_a_wrong_command_line_or_configuration_is_one_line(
    cli: CommandLine, command: str, arguments: tuple[str, ...], told: str
) -> None:
    done = cli(command, *arguments)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert len(done.err.splitlines()) == 1


def test_strict_is_about_types(cli: CommandLine) -> None:
    done = cli("validate", "--flow", "flow.yaml", "--strict")
    assert done.code == 2
    assert "--type-check" in done.err


def test_a_server_that_cannot_be_reached_is_one_error(cli: CommandLine) -> None:
    cli.write("flow.yaml", WRONG)
    cli.write(
        "stepflow-config.yml",
        "plugins: {p: {type: stepflow, transport: stdio, command: /no/such/program}}\n"
        "routes: {'/{*component}': [{plugin: p}]}",
    )
    done = cli("validate", "--flow", "flow.yaml", "--type-check")
    assert done.code == 1
    assert "/no/such/program" in done.err
    assert "Traceback" not in done.err


# ---- infer --------------------------------------------------------------------------------------------------------

GOOD = WRONG.replace('"3"', "3")


def schema_of(text: str) -> Any:
    return parse_yaml(text).value["schemas"]["properties"]["steps"]["properties"]["twice"]


def test_infer_writes_the_schemas_of_steps_to_stdout(cli: CommandLine) -> None:
    cli.write("flow.yaml", GOOD)
    done = cli("infer", "--flow", "flow.yaml", *SHOP)
    assert (done.code, done.err) == (0, "")
    assert schema_of(done.out) == {"type": "integer"}
    assert parse_yaml(done.out).value["schemas"]["properties"]["output"] == {"type": "integer"}


@pytest.mark.parametrize(
    ("arguments", "name"),
    [(("-o",), "flow.inferred.yaml"), (("-o=x.yaml",), "x.yaml"), (("--output", "y.json"), "y.json")],
)
def test_infer_writes_to_a_file_that_is_a_flow_of_its_own(
    cli: CommandLine, arguments: tuple[str, ...], name: str
) -> None:
    cli.write("flow.yaml", GOOD)
    done = cli("infer", "--flow", "flow.yaml", *SHOP, *arguments)
    assert (done.code, done.out) == (0, "")
    written = Path(cli.directory, name)
    assert load_flow(written).to_json()["steps"] == load_flow(cli.directory / "flow.yaml").to_json()["steps"]
    assert cli("validate", "--flow", name, *SHOP, "--type-check", "--strict").code == 0


def test_what_steps_are_called_with_is_shown_on_demand(cli: CommandLine) -> None:
    cli.write("flow.yaml", GOOD)
    done = cli("infer", "--flow", "flow.yaml", *SHOP, "--show-step-inputs")
    assert done.code == 0
    assert "step twice calls /double with an object with 'number':" in done.err
    assert '"number": 3' in done.err


def test_infer_writes_nothing_for_a_flow_with_errors(cli: CommandLine) -> None:
    cli.write("flow.yaml", WRONG)
    done = cli("infer", "--flow", "flow.yaml", *SHOP, "-o")
    assert (done.code, done.out) == (1, "")
    assert "2100" in done.err
    assert "nothing is written" in done.err
    assert not (cli.directory / "flow.inferred.yaml").exists()


def test_strict_infer_refuses_results_without_a_schema(cli: CommandLine) -> None:
    cli.write("flow.yaml", GOOD)
    (cli.directory / "stepflow-config.yml").unlink(missing_ok=True)
    assert cli("infer", "--flow", "flow.yaml").code == 0
    done = cli("infer", "--flow", "flow.yaml", "--strict")
    assert done.code == 1
    assert "error   1100" in done.err


def test_infer_takes_the_name_of_a_flow_only(cli: CommandLine) -> None:
    for name in (".", "", "flow.txt"):
        done = cli("infer", "--flow", name, "-o")
        assert (done.code, done.out) == (2, "")
        assert "a flow is a .yaml, .yml or .json file" in done.err
