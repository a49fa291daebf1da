"""One trace across the application, the runtime, its servers and nested flows."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("traced.py")
MODES = ("in process", "stdio", "http")


def spans_of(mode: str, flow: Any, directory: Path) -> list[dict[str, Any]]:
    """The spans of a run, those of the server's process among them."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "run", mode, json.dumps(flow)],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    spans: list[dict[str, Any]] = json.loads(done.stdout)
    file = directory / "spans.jsonl"
    if file.exists():
        spans += [json.loads(line) for line in file.read_text().splitlines()]
    return spans


def one(spans: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (found,) = [span for span in spans if span["name"] == name]
    return found


def flow_of(component: str, input: Any = None) -> dict[str, Any]:
    step = {"id": "s", "component": component, "input": {} if input is None else input}
    return {"name": "outer", "steps": [step], "output": {"$step": "s"}}


@pytest.mark.parametrize("component", ["branch", "blocking"])
@pytest.mark.parametrize("mode", MODES)
def test_a_nested_flow_is_one_trace_across_every_process(mode: str, component: str, tmp_path: Path) -> None:
    spans = spans_of(mode, flow_of(f"/{component}"), tmp_path)
    chain = [
        "application",
        "flow outer",
        "step s",
        f"component /{component}",
        "flow inner",
        "step i",
        "component /leaf",
        "user's own",
    ]
    assert sorted(span["name"] for span in spans) == sorted(chain)
    assert len({span["trace"] for span in spans}) == 1
    parent = None
    for name in chain:
        span = one(spans, name)
        assert span["parent"] == parent, name
        parent = span["id"]
    own = one(spans, "step s")["pid"]
    in_server = {span["pid"] for span in spans if span["name"].startswith(("component", "user"))}
    assert (in_server == {own}) == (mode == "in process")


def test_spans_say_which_run_step_and_component_they_are_of(tmp_path: Path) -> None:
    spans = spans_of("stdio", flow_of("/leaf"), tmp_path)
    run = one(spans, "flow outer")["attributes"]
    assert (run["stepflow.flow_name"], run["stepflow.items"]) == ("outer", 1)
    step = one(spans, "step s")["attributes"]
    assert (step["stepflow.component"], step["stepflow.item"], step["stepflow.attempt"]) == ("/leaf", 0, 1)
    component = one(spans, "component /leaf")["attributes"]
    for name in ("stepflow.run_id", "stepflow.flow_id"):
        assert run[name] == step[name] == component[name]
    assert step["stepflow.step_id"] == component["stepflow.step_id"] == "s"
    assert not any(span["failed"] for span in spans)


def test_a_failure_marks_the_spans_that_it_goes_through(tmp_path: Path) -> None:
    spans = spans_of("stdio", flow_of("/fail"), tmp_path)
    failed = {span["name"] for span in spans if span["failed"]}
    assert failed == {"flow outer", "step s", "component /fail"}


def test_an_input_that_is_refused_ends_the_span_too(tmp_path: Path) -> None:
    spans = spans_of("in process", flow_of("/strict", {"number": "x"}), tmp_path)
    assert one(spans, "component /strict")["failed"]


def test_the_span_of_a_component_does_not_quote_what_it_was_given(tmp_path: Path) -> None:
    # A server does not know what is secret in a run; the span of the step tells more, and secrets are taken out of it.
    spans = spans_of("stdio", flow_of("/strict", {"number": "pl4nted"}), tmp_path)
    assert one(spans, "component /strict")["description"] == "InvalidInput"
    assert "pl4nted" in one(spans, "step s")["description"]


def test_a_step_that_is_skipped_has_not_failed(tmp_path: Path) -> None:
    spans = spans_of("in process", flow_of("/skip"), tmp_path)
    assert not any(span["failed"] for span in spans)


def test_a_builtin_component_runs_its_flow_below_its_own_step(tmp_path: Path) -> None:
    inner = {"name": "each", "steps": [{"id": "e", "component": "/leaf", "input": {}}], "output": {"$step": "e"}}
    flow = flow_of("/builtin/map", {"workflow": {"$literal": inner}, "items": [1, 2]})
    spans = spans_of("in process", flow, tmp_path)
    each = one(spans, "flow each")
    assert each["parent"] == one(spans, "step s")["id"]
    steps = [span for span in spans if span["name"] == "step e"]
    assert [span["parent"] for span in steps] == [each["id"]] * 2
    assert sorted(span["attributes"]["stepflow.item"] for span in steps) == [0, 1]


def test_without_a_provider_nothing_is_imported(tmp_path: Path) -> None:
    code = """
import sys
from typing import Any
from stepflow_sdk import StepflowContext, StepflowServer
from stepflow_sdk.runtime import LocalRuntime

server = StepflowServer("s")

@server.component
def echo(input: Any) -> Any:
    return input

flow = {"steps": [{"id": "a", "component": "/echo", "input": 1}], "output": {"$step": "a"}}
with LocalRuntime(server) as runtime:
    print(runtime.run(flow).unwrap())
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines() == ["1", "[]"]
