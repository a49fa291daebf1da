"""``stepflow-sdk visualize``."""

from xml.etree import ElementTree as ET

import pytest

from stepflow_sdk_tests.cli.conftest import CommandLine


def test_the_drawing_is_alone_on_stdout_and_is_svg(cli: CommandLine) -> None:
    done = cli("visualize", "flow.yaml")
    assert (done.code, done.err) == (0, "")
    root = ET.fromstring(done.out)
    assert root.tag.endswith("svg")
    assert {"doubling", "twice", "/double"} <= {text.text for text in root.iter("{http://www.w3.org/2000/svg}text")}


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("flow.svg", "<svg "),
        ("flow.SVG", "<svg "),
        ("flow.mmd", "flowchart TD"),
        ("flow.mermaid", "flowchart TD"),
        ("flow.dot", 'digraph "doubling"'),
        ("flow.gv", 'digraph "doubling"'),
    ],
)
def test_the_name_of_the_file_says_the_format(cli: CommandLine, name: str, start: str) -> None:
    done = cli("visualize", "flow.yaml", "-o", name)
    assert (done.code, done.out) == (0, "")
    assert (cli.directory / name).read_text("utf-8").startswith(start)


def test_the_format_can_be_said(cli: CommandLine) -> None:
    assert cli("visualize", "flow.yaml", "--format", "mermaid").out.startswith("flowchart TD")
    assert cli("visualize", "flow.yaml", "--format", "dot", "--output", "drawing").code == 0
    assert (cli.directory / "drawing").read_text("utf-8").startswith("digraph")


@pytest.mark.parametrize("form", ["svg", "mermaid", "dot"])
def test_without_details_a_step_is_its_id_alone(cli: CommandLine, form: str) -> None:
    assert "/double" in cli("visualize", "flow.yaml", "--format", form, "--no-servers").out
    plain = cli("visualize", "flow.yaml", "--format", form, "--no-servers", "--no-details")
    assert plain.code == 0
    assert "twice" in plain.out
    assert "/double" not in plain.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "FLOW"),
        (("none.yaml",), "there is no such file"),
        (("flow.yml",), "did you mean 'flow.yaml'?"),
        (("flow.yaml", "-o", "flow.png"), "write an .svg, and convert that"),
        (("flow.yaml", "-o", "flow.gif"), ".svg, .mmd, .mermaid, .dot, .gv"),
        (("flow.yaml", "--format", "merrmaid"), "did you mean 'mermaid'?"),
        (("flow.yaml", "--format", "pdf"), "formats are svg, mermaid, dot"),
        (("flow.yaml", "-o", "no/such/directory/flow.svg"), "directory"),
        (("flow.yaml", "--format", "png"), "png"),
        (("flow.yaml", "more.yaml"), "unexpected argument 'more.yaml'"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(cli: CommandLine, arguments: tuple[str, ...], told: str) -> None:
    done = cli("visualize", *arguments)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert len(done.err.splitlines()) == 1


def test_a_flow_that_cannot_be_run_is_refused_and_nothing_is_written(cli: CommandLine) -> None:
    cli.write("flow.yaml", "output: {$step: twcie}\nsteps: [{id: twice, component: /double}]\n")
    done = cli("visualize", "flow.yaml", "-o", "flow.svg")
    assert done.code == 1
    assert "did you mean 'twice'?" in done.err
    assert not (cli.directory / "flow.svg").exists()
