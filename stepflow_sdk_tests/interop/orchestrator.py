"""A published orchestrator as a process, and its REST API (section 11 of the dialects)."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from stepflow_sdk_tests.interop.environments import orchestrator_binary
from stepflow_sdk_tests.interop.network import Network
from stepflow_sdk_tests.interop.program import Program

VERSIONS = ("0.9.0", "0.10.0", "0.11.1")
REST_SECONDS = 120.0
_WRAPPED = re.compile(r"component server error\((-?\d+)\): (.*)", re.DOTALL)


class Answer(NamedTuple):
    """What the REST API said."""

    status: int
    body: Any


class Orchestrator:
    """The REST API of a running orchestrator, and its process."""

    def __init__(self, version: str, program: Program, network: Network) -> None:
        self.version = version
        self.program = program
        self.network = network
        self.port = program.port()

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Answer:
        """One request to ``/api/v1``."""
        target = f"/api/v1{path}" + (f"?{urlencode(query)}" if query else "")
        connection = HTTPConnection("127.0.0.1", self.port, timeout=REST_SECONDS)
        connection.sock = self.network.connect(self.port)
        connection.sock.settimeout(REST_SECONDS)
        try:
            headers = {"content-type": "application/json"} if body is not None else {}
            data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
            connection.request(method, target, data, headers)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        try:
            return Answer(response.status, json.loads(text))
        except ValueError:
            return Answer(response.status, text.decode("utf-8", "replace"))

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The body of an answer that must be a good one."""
        answer = self.call(method, path, body, **query)
        assert answer.status in (200, 202), f"{method} {path}: {answer.status} {str(answer.body)[:1000]}"
        return answer.body

    def store(self, flow: Mapping[str, Any]) -> str:
        """Store a flow and return its id."""
        stored = self.ask("POST", "/flows", {"flow": flow})
        assert stored["stored"], f"the flow was refused: {str(stored['diagnostics'])[:1000]}"
        flow_id: str = stored["flowId"]
        return flow_id

    def start(self, flow: Mapping[str, Any], *inputs: Any, **options: Any) -> str:
        """Run a flow on inputs, wait for the end, and return the run's id."""
        request = {"flowId": self.store(flow), "input": list(inputs), "wait": True, "timeoutSecs": 100, **options}
        run_id: str = self.ask("POST", "/runs", request)["runId"]
        return run_id

    def outcomes(self, flow: Mapping[str, Any], *inputs: Any, **options: Any) -> list[Any]:
        """Run a flow on inputs and return the outcome of each."""
        run_id = self.start(flow, *inputs, **options)
        items = self.ask("GET", f"/runs/{run_id}/items")["items"]
        assert [item["itemIndex"] for item in items] == list(range(len(inputs)))
        return [item["result"] for item in items]

    def outcome(self, flow: Mapping[str, Any], input: Any = None, **options: Any) -> Any:
        """Run a flow on one input and return its outcome."""
        (outcome,) = self.outcomes(flow, input, **options)
        return outcome

    def error(self, flow: Mapping[str, Any], input: Any = None, **options: Any) -> Any:
        """Run a flow on one input and return the error that it must fail with."""
        outcome = self.outcome(flow, input, **options)
        assert outcome["outcome"] == "failed", f"the flow did not fail: {str(outcome)[:1000]}"
        return outcome["error"]

    def result(self, flow: Mapping[str, Any], input: Any = None, **options: Any) -> Any:
        """Run a flow on one input and return its result; it must be a success."""
        outcome = self.outcome(flow, input, **options)
        assert outcome["outcome"] == "success", f"the flow failed: {str(outcome)[:2000]}"
        return outcome["result"]


class Told(NamedTuple):
    """What a failed step says of the component's own error."""

    code: int
    message: str


def told(error: Any) -> Told:
    """The component's error inside the error of a flow: 0.9 and 0.10 wrap it, and drop its data."""
    data = error.get("data")
    stack = data.get("stack", []) if isinstance(data, dict) else []
    for entry in stack:
        if found := _WRAPPED.fullmatch(entry["error"]):
            return Told(int(found[1]), found[2])
    return Told(error["code"], error["message"])


@contextmanager
def running_orchestrator(
    version: str, config: Mapping[str, Any] | str, network: Network, directory: Path, *, port: int = 0
) -> Iterator[Orchestrator]:
    """Start an orchestrator, and see to it that it and its servers end.

    Args:
        version: A published version.
        config: The configuration, whose ``workingDirectory`` is the directory; or its text, as it is.
        network: Where it listens.
        directory: Where the configuration goes.
        port: Where it listens; by default anywhere.
    """
    file = directory / "stepflow-config.yml"
    text = config if isinstance(config, str) else json.dumps({"workingDirectory": str(directory), **config})
    file.write_text(text, "utf-8")
    options = ["--port", str(port), "--config", str(file), "--log-level", "info", "--other-log-level", "warn"]
    env = {"PATH": "/usr/bin:/bin", "STEPFLOW_COMPONENT_STDERR": "verbose", "NO_COLOR": "1"}
    command = network.inside([str(orchestrator_binary(version)), *options])
    program = Program(f"orchestrator {version}", command, cwd=directory, env=env)
    try:
        yield Orchestrator(version, program, network)
    finally:
        program.stop()
