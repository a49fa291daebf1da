"""Which run, step and component log records belong to."""

import json
import logging
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from stepflow_sdk import StepflowServer
from stepflow_sdk.context.logs import JsonFormatter
from stepflow_sdk.protocol.messages import ComponentExecuteParams, ComponentInfo
from stepflow_sdk.runtime import LocalRuntime
from stepflow_sdk.runtime.plugins.plugin import Host
from stepflow_sdk_tests.cli.conftest import CommandLine, cli

__all__ = ["cli"]

RUN_ID = "0a6dbd8e-0d3f-4fd5-9d0f-1f6f0a2c7e12"


class Broken:
    """A plugin with a bug."""

    name = "broken"
    wraps_errors = False

    def start(self, host: Host) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def execute(self, call: ComponentExecuteParams) -> Any:
        raise RuntimeError("a bug")

    async def list_components(self) -> list[ComponentInfo]:
        return []


async def test_a_record_of_the_runtime_carries_the_ids_of_the_step(caplog: pytest.LogCaptureFixture) -> None:
    flow = {"steps": [{"id": "s", "component": "/x"}], "output": {"$step": "s"}}
    async with LocalRuntime(Broken()) as runtime:
        await runtime.run(flow, run_id=RUN_ID)
    (record,) = [record for record in caplog.records if "failed on step" in record.getMessage()]
    fields = vars(record)
    assert (fields["run_id"], fields["step_id"], fields["component"], fields["attempt"]) == (RUN_ID, "s", "/x", 1)
    assert len(fields["flow_id"]) == 64


async def test_a_record_outside_of_any_step_has_the_same_fields_without_values(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with LocalRuntime(StepflowServer("s")):
        logging.getLogger("stepflow_sdk.runtime").warning("nothing runs")
    fields = vars(caplog.records[-1])
    assert [fields[name] for name in ("run_id", "flow_id", "step_id", "component", "attempt")] == [None] * 5


def test_the_log_of_a_command_says_which_step_wrote_a_line(cli: CommandLine) -> None:
    cli.write(
        "noisy.py",
        "import logging\nfrom stepflow_sdk import StepflowServer\nserver = StepflowServer('noisy')\n"
        "@server.component\ndef speak() -> None:\n    logging.getLogger('mine').warning('heard')\n",
    )
    cli.write("flow.yaml", "steps: [{id: loud, component: /speak}]\noutput: {$step: loud}\n")
    done = cli.process("run", "--flow", "flow.yaml", "--server", "noisy:server", "--input-json", "1")
    (line,) = [line for line in done.err.splitlines() if "heard" in line]
    run_id = next(line.split()[1] for line in done.err.splitlines() if line.startswith("run "))
    assert line == f"WARNING mine [/speak run={run_id} step=loud]: heard"


def test_a_record_within_a_span_carries_the_id_of_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    with TracerProvider().get_tracer("test").start_as_current_span("outer") as span:
        logging.getLogger("stepflow_sdk.runtime").warning("within")
    logging.getLogger("stepflow_sdk.runtime").warning("without")
    within, without = (json.loads(JsonFormatter().format(record)) for record in caplog.records)
    assert within["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert "trace_id" not in without
