"""The same flow on every engine: local, an orchestrator that is started for it, and services at a URL."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from stepflow_sdk_tests.interop.environments import orchestrator_binary
from stepflow_sdk_tests.interop.network import Network
from stepflow_sdk_tests.interop.orchestrator import VERSIONS, running_orchestrator
from stepflow_sdk_tests.interop.program import Program
from stepflow_sdk_tests.interop.stages import CASES, Server, configuration

pytestmark = pytest.mark.interop

CORE = "0.11.1"
ON = [pytest.param(version, marks=[] if version == CORE else [pytest.mark.slow]) for version in VERSIONS]
PROXY = Path(__file__).parent / "servers" / "proxy.py"

STDIO = f"""\
plugins:
  builtin: {{type: builtin}}
  py: {{type: stepflow, transport: stdio, command: python, args: [{json.dumps(str(CASES))}], env: {{NOTE: 'a\\$b\\c'}}}}
routes:
  "/builtin/{{*component}}": [{{plugin: builtin}}]
  "/py/{{*component}}": [{{plugin: py}}]
"""

FLOW = """\
name: order
description: Takes an order, keeps it, and asks a nested flow.
schemas:
  type: object
  properties:
    variables: {type: object, properties: {customer: {type: string, default: nobody}}}
steps:
  - id: order
    component: /py/order
    input: {lines: {$input: $.lines}, customer: {$variable: customer}}
  - id: keep
    component: /py/keep
    input: {$step: order}
  - id: nested
    component: /py/nested
    input:
      flow: {$literal: {steps: [{id: e, component: /py/echo, input: {$input: $}}], output: {$step: e}}}
      input: {$step: keep, path: $.data}
output:
  receipt: {$step: nested}
  blob: {$step: keep, path: $.blob_id}
  builtin: {$input: $.lines}
test:
  cases:
    - name: one line
      input: {lines: [{item: nail, quantity: 3}]}
      output: {outcome: success, result: {receipt: {text: 1 lines for nobody, total: 3}}}
    - name: two lines
      input: {lines: [{item: nail, quantity: 3}, {item: ü, quantity: 4}]}
      output: {outcome: success, result: {receipt: {total: 7}}}
"""

INPUT = '{"lines": [{"item": "nail", "quantity": 3}, {"item": "hé😀", "quantity": 1}]}'


class Line:
    """Runs the command line in a directory, inside the network of the orchestrators."""

    def __init__(self, directory: Path, network: Network, version: str) -> None:
        self.directory = directory
        self._network = network
        self._environment = {**os.environ, "STEPFLOW_ORCHESTRATOR": str(orchestrator_binary(version))}

    def __call__(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = self._network.inside([sys.executable, "-m", "stepflow_sdk", *arguments])
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == code, done.stderr[-2000:]
        return done

    def outcome(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, code=code).stdout)


@contextmanager
def service(line: Line, network: Network) -> Iterator[str]:
    """``stepflow-sdk serve`` inside the network: its URL."""
    command = [sys.executable, "-m", "stepflow_sdk", "serve", "--port", "0"]
    program = Program("serve", network.inside(command), cwd=line.directory, env=os.environ)
    try:
        yield f"http://127.0.0.1:{program.port()}"
    finally:
        program.stop()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "flow.yaml").write_text(FLOW, "utf-8")
    (tmp_path / "stepflow-config.yml").write_text(STDIO, "utf-8")
    return tmp_path


@pytest.mark.parametrize("version", ON)
def test_one_flow_has_the_same_outcome_on_every_engine(directory: Path, network: Network, version: str) -> None:
    line = Line(directory, network, version)
    run = ("run", "--flow", "flow.yaml", "--input-json", INPUT, "--variables-json", '{"customer": "Ada"}')
    local = line.outcome(*run)
    assert local["result"]["receipt"] == {"text": "2 lines for Ada", "total": 4}
    assert line.outcome(*run, "--engine", "orchestrator") == local
    with service(line, network) as url:
        assert line.outcome(*run, "--engine", url) == local
        assert line.outcome("submit", *run[1:], "--url", url) == local
    url_plugin = Server(network, directory)
    config = configuration({"type": "stepflow", "url": f"http://127.0.0.1:{url_plugin.port}"})
    try:
        with running_orchestrator(version, config, network, directory) as orchestrator:
            url = f"http://127.0.0.1:{orchestrator.port}"
            assert line.outcome(*run, "--engine", url) == local
            assert line.outcome("submit", *run[1:], "--url", url) == local
    finally:
        url_plugin.program.stop()
    print(f"local, orchestrator {version}, serve and its URL: {json.dumps(local, ensure_ascii=False)[:300]}")


@pytest.mark.slow
@pytest.mark.parametrize("version", ON)
def test_a_flow_that_fails_exits_with_1_on_every_engine(directory: Path, network: Network, version: str) -> None:
    line = Line(directory, network, version)
    run = ("run", "--flow", "flow.yaml", "--input-json", '{"lines": [{"item": "nail", "quantity": 0}]}', "--quiet")
    assert line.outcome(*run, code=1)["outcome"] == "failed"
    failed = line.outcome(*run, "--engine", "orchestrator", code=1)
    assert "$.lines[0].quantity" in json.dumps(failed)
    with service(line, network) as url:
        assert line.outcome("submit", *run[1:], "--url", url, code=1) == line.outcome(*run, code=1)


@pytest.mark.slow
@pytest.mark.parametrize("version", ON)
def test_many_inputs_and_test_cases_run_on_an_orchestrator(directory: Path, network: Network, version: str) -> None:
    line = Line(directory, network, version)
    inputs = [{"lines": [{"item": "nail", "quantity": number}]} for number in range(1, 601)]
    (directory / "inputs.jsonl").write_text("".join(f"{json.dumps(value)}\n" for value in inputs), "utf-8")
    done = line("run", "--flow", "flow.yaml", "--inputs", "inputs.jsonl", "--engine", "orchestrator", "--quiet")
    totals = [json.loads(text)["result"]["receipt"]["total"] for text in done.stdout.splitlines()]
    assert totals == list(range(1, 601))
    tested = line("test", "flow.yaml", "--engine", "orchestrator")
    assert "2 passed" in tested.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plugin", "told"),
    [
        ({"transport": "stdio", "command": "cat"}, "plugin 'py' (it speaks on stdin and stdout"),
        ({"command": "false"}, "plugin 'py': the server 'py' ended with exit code 1"),
        ({"url": "http://127.0.0.1:9", "headers": {"A": "b"}}, "plugin 'py': 'headers' are an addition"),
        ({"url": "http://127.0.0.1:9"}, "the orchestrator could not be started"),
    ],
)
def test_a_plugin_that_an_orchestrator_cannot_have_is_named(
    directory: Path, network: Network, plugin: Mapping[str, Any], told: str
) -> None:
    config = {"plugins": {"py": {"type": "stepflow", **plugin}}, "routes": {"/py/{*component}": [{"plugin": "py"}]}}
    (directory / "stepflow-config.yml").write_text(json.dumps(config), "utf-8")
    line = Line(directory, network, CORE)
    refused = 2 if "headers" in plugin else 1
    done = line("run", "--flow", "flow.yaml", "--input-json", INPUT, "--engine", "orchestrator", code=refused)
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_servers_of_modules_and_mocks_with_any_input_run_on_an_orchestrator(directory: Path, network: Network) -> None:
    line = Line(directory, network, CORE)
    (directory / "shop.py").write_text(
        "from stepflow_sdk import StepflowServer\nserver = StepflowServer('shop')\n"
        "@server.component\ndef double(number: int) -> int:\n    return 2 * number\n",
        "utf-8",
    )
    (directory / "flow.yaml").write_text(
        "steps:\n  - {id: d, component: /double, input: {number: {$input: $}}}\noutput: {$step: d}\n", "utf-8"
    )
    run = ("run", "--flow", "flow.yaml", "--input-json", "21", "--engine", "orchestrator")
    assert line.outcome(*run, "--server", "shop:server")["result"] == 42
    (directory / "stepflow-config.yml").write_text(
        "plugins:\n  model:\n    type: mock\n    components:\n      /double:\n        input_schema: {}\n"
        "        output_schema: {}\n        behaviors:\n          {number: 21}: {outcome: success, result: mocked}\n"
        "routes: {'/{*component}': [{plugin: model}]}\n",
        "utf-8",
    )
    assert line.outcome(*run)["result"] == "mocked"


# ---- scaling out ------------------------------------------------------------------------------------------------


def free_port(network: Network) -> int:
    """A port that is free in the network."""
    code = "import socket; print(socket.create_server(('127.0.0.1', 0)).getsockname()[1])"
    done = subprocess.run(network.inside([sys.executable, "-c", code]), capture_output=True, check=True, timeout=60)
    return int(done.stdout)


@contextmanager
def replicas(directory: Path, network: Network, count: int, *arguments: str) -> Iterator[list[Program]]:
    """Component servers that are the same, each noting its id beside what it does."""
    with ExitStack() as stack:
        started: list[Program] = []
        for number in range(count):
            command = [sys.executable, str(CASES), "--http", *arguments]
            env = {"PATH": os.environ.get("PATH", os.defpath), "REPLICA": str(number)}
            program = Program(f"replica {number}", network.inside(command), cwd=directory, env=env)
            stack.callback(program.stop)
            started.append(program)
        yield started


@contextmanager
def proxy(directory: Path, network: Network, backends: list[Program]) -> Iterator[int]:
    """One address before the replicas, as a load balancer is: its port."""
    command = [sys.executable, str(PROXY), *(str(backend.port()) for backend in backends)]
    program = Program("proxy", network.inside(command), cwd=directory, env=os.environ)
    try:
        yield program.port()
    finally:
        program.stop()


@contextmanager
def scaled(directory: Path, network: Network, name: str, count: int) -> Iterator[str]:
    """An orchestrator before a balancer before replicas of the server: its URL."""
    own = directory / name
    own.mkdir()
    port = free_port(network)
    blobs = f"http://127.0.0.1:{port}/api/v1/blobs"
    with replicas(own, network, count, "--blob-api", blobs) as servers, proxy(own, network, servers) as door:
        config = configuration({"type": "stepflow", "url": f"http://127.0.0.1:{door}"})
        with running_orchestrator(CORE, config, network, own, port=port) as orchestrator:
            yield f"http://127.0.0.1:{orchestrator.port}"


@pytest.mark.slow
def test_a_flow_moves_from_one_laptop_to_orchestrators_with_replicas_of_the_server(
    directory: Path, network: Network
) -> None:
    line = Line(directory, network, CORE)
    parts = [range(1, 151), range(151, 301)]
    for number, part in enumerate(parts):
        values = [{"lines": [{"item": "nail", "quantity": quantity}]} for quantity in part]
        (directory / f"{number}.jsonl").write_text("".join(f"{json.dumps(value)}\n" for value in values), "utf-8")

    def outcomes(number: int, *engine: str) -> str:
        inputs = ("--inputs", f"{number}.jsonl")
        return line("run", "--flow", "flow.yaml", *inputs, "--quiet", *engine).stdout

    laptop = [outcomes(number) for number in range(2)]
    assert [len(text.splitlines()) for text in laptop] == [150, 150]
    with (
        scaled(directory, network, "first", 3) as first,
        scaled(directory, network, "second", 2) as second,
        ThreadPoolExecutor(2) as pool,
    ):
        urls = (first, second)
        moved = list(pool.map(lambda number: outcomes(number, "--engine", urls[number]), range(2)))
    assert moved == laptop
    served = {
        f"{name} {number}": (directory / name / f"replica-{number}").read_text().count("order")
        for name, count in (("first", 3), ("second", 2))
        for number in range(count)
    }
    assert sum(served.values()) == 300
    assert min(served.values()) > 15, served
    print(f"300 inputs on one laptop, and on 2 orchestrators with 5 replicas: the same outcomes; orders: {served}")
