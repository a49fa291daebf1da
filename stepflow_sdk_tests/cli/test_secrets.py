"""A secret is planted wherever secrets belong, everything is made to go wrong, and whatever comes out is searched."""

import json
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stepflow_sdk_tests.cli.conftest import CommandLine
from stepflow_sdk_tests.cli.served import PATIENCE, Served, served

PLANTED = "pl4nted-s3cret"

SERVER = '''
import logging
import os

from stepflow_sdk import ComponentError, StepflowContext, StepflowServer

server = StepflowServer("vault")


@server.component
async def use(key: str, ctx: StepflowContext) -> int:
    """Use a key, and do not tell of it."""
    ctx.log.warning("a key of %d characters", len(key))
    assert os.environ["API_KEY"] == key
    return len(key)


@server.component
def fail(key: str) -> None:
    raise ComponentError("it did not work")


@server.component
def crash(key: str) -> None:
    os._exit(3)


@server.component
def number(key: int) -> int:
    return key


@server.component
def quote(key: str) -> None:
    raise ValueError(f"the key {key} is wrong")


if __name__ == "__main__":
    server.run()
'''
CONFIG = """\
builtin:
  openai: {apiKey: $API_KEY, baseUrl: "http://127.0.0.1:1/v1"}
plugins:
  builtin: {type: builtin}
  vault: {type: stepflow, transport: stdio, command: python, args: [-m, vault], env: {API_KEY: "${API_KEY}"}}
  broken: {type: stepflow, transport: stdio, command: python, args: [-c, "raise SystemExit(3)"], env: {K: "$API_KEY"}}
  absent: {type: stepflow, transport: stdio, command: no-such-program, env: {K: "$API_KEY"}}
  far: {type: stepflow, url: "http://127.0.0.1:1/", headers: {Authorization: "Bearer $API_KEY"}}
routes:
  "/builtin/{*component}": [{plugin: builtin}]
  "/broken/{*component}": [{plugin: broken}]
  "/absent/{*component}": [{plugin: absent}]
  "/far/{*component}": [{plugin: far}]
  "/{*component}": [{plugin: vault}]
retry: {transportMaxRetries: 0}
"""
SCHEMAS = {
    "type": "object",
    "properties": {
        "variables": {
            "type": "object",
            "properties": {
                "key": {"type": "string", "is_secret": True, "env_var": "API_KEY"},
                "n": {"type": "integer"},
            },
        }
    },
}
KEY = {"$variable": "key"}


def flow(component: str, input: Any = None) -> dict[str, Any]:
    steps = [{"id": "s", "component": component, "input": {"key": KEY} if input is None else input}]
    return {"schemas": SCHEMAS, "steps": steps, "output": {"$step": "s"}}


INNER = {"steps": [{"id": "s", "component": "/number", "input": {"key": {"$input": "$"}}}], "output": {"$step": "s"}}
ASK = {"messages": [{"role": "user", "content": "hello"}], "model": "m"}
FLOWS = [
    *(
        flow(component)
        for component in ("/use", "/fail", "/crash", "/number", "/quote", "/broken/x", "/absent/x", "/far/x", "/no")
    ),
    flow("/builtin/openai", ASK),
    flow("/use", {"key": {"$variable": "$.key.inner"}}),
    flow("/builtin/get_blob", {"blob_id": KEY}),
    flow("/builtin/load_file", {"path": "x", "format": 1}),
    flow("/builtin/map", {"workflow": {"$literal": INNER}, "items": [KEY]}),
]


@pytest.fixture
def vault(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> Path:
    (cli.directory / "vault.py").write_text(SERVER)
    (cli.directory / "vault.yml").write_text(CONFIG)
    monkeypatch.setenv("API_KEY", PLANTED)
    monkeypatch.setenv("TOKEN", f"{PLANTED}-token")
    return cli.directory


class Outputs:
    """All that came out, by where it did."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def add(self, where: str, what: Any) -> None:
        self.texts[where] = what if isinstance(what, str) else json.dumps(what)

    def leaks(self) -> list[str]:
        return [f"{where}: {text[:2000]}" for where, text in self.texts.items() if PLANTED in text]


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.promise("S16")
def test_a_service_shows_no_secret_whatever_happens(vault: Path, log_format: str) -> None:
    outputs = Outputs()
    state = vault / "runs.db"
    options = ("--config", "vault.yml", "--state", str(state), "--token-env", "TOKEN", "--log-level", "debug")
    with served(vault, *options, "--metrics", "--slow", "0.001", "--log-format", log_format) as service:
        use_all(service, outputs)
        service.process.terminate()
        service.wait()
        outputs.add("stderr", service.stderr)
    for where, text in readable(state):
        outputs.add(where, text)
    assert len(outputs.texts) > 4 * (len(FLOWS) - 1)
    assert "a key of" in outputs.texts["stderr"]
    assert outputs.leaks() == []


def use_all(service: Served, outputs: Outputs) -> None:
    token = {"authorization": f"Bearer {PLANTED}-token"}
    outputs.add("a wrong token", service.call("GET", "/api/v1/runs", headers={"authorization": f"Bearer {PLANTED}"}))
    outputs.add("no token", service.call("GET", "/api/v1/runs"))
    ended = []
    # What a flow hands on as the input of another run is data, and kept: that is for the command line alone.
    for number, document in enumerate(FLOWS[:-1]):
        _, stored = service.call("POST", "/api/v1/flows", {"flow": document}, token)
        body = {"flowId": stored["flowId"], "input": [1], "variables": {"key": PLANTED}, "wait": True}
        _, run = service.call("POST", "/api/v1/runs", body, token)
        outputs.add(f"run {number}", run)
        at = f"/api/v1/runs/{run['runId']}"
        details = service.call("GET", f"{at}?wait=true", headers=token)
        ended.append(details[1]["status"])
        outputs.add(f"details {number}", details)
        outputs.add(f"items {number}", service.call("GET", f"{at}/items", headers=token))
        steps = service.call("GET", f"{at}/steps", headers=token)
        outputs.add(f"steps {number}", steps)
        request = urllib.request.Request(f"{service.url}{at}/events", headers=token)
        with urllib.request.urlopen(request, timeout=PATIENCE) as events:
            outputs.add(f"events {number}", events.read().decode())
    assert ended == ["completed", *["failed"] * (len(FLOWS) - 2)]
    outputs.add("runs", service.call("GET", "/api/v1/runs", headers=token))
    outputs.add("components", service.call("GET", "/api/v1/components", headers=token))
    request = urllib.request.Request(f"{service.url}/metrics", headers=token)
    with urllib.request.urlopen(request, timeout=PATIENCE) as metrics:
        outputs.add("metrics", metrics.read().decode())
    for variables in ({"key": [PLANTED]}, {"key": PLANTED, "n": "x"}, {"key": None}):
        body = {"flowId": stored["flowId"], "input": [1], "variables": variables}
        outputs.add(f"variables {variables}", service.call("POST", "/api/v1/runs", body, token))


def readable(state: Path) -> Iterator[tuple[str, str]]:
    """What a state file holds, but for the values of secret variables, which are in a column of their own."""
    with sqlite3.connect(state) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != "secrets"]
            rows = connection.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall()
            yield f"table {table}", repr(rows)
    connection.close()


@pytest.mark.parametrize("number", [0, 3, 4, 7, len(FLOWS) - 1])
@pytest.mark.promise("S16")
def test_the_command_line_shows_no_secret_whatever_happens(vault: Path, number: int) -> None:
    (vault / "flow.json").write_text(json.dumps(FLOWS[number]))
    command = [sys.executable, "-m", "stepflow_sdk", "run", "--flow", "flow.json", "--config", "vault.yml"]
    options = ["--env-variables", "--input-json", "1", "--log-level", "debug"]
    done = subprocess.run([*command, *options], cwd=vault, capture_output=True, text=True, timeout=PATIENCE)
    # A failure inside of a map is a result of the map.
    assert done.returncode == (0 if number in (0, len(FLOWS) - 1) else 1), done.stderr
    assert PLANTED not in done.stdout + done.stderr


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.promise("S16")
def test_a_server_in_this_process_tells_no_secret_in_its_tracebacks(vault: Path, log_format: str) -> None:
    (vault / "flow.json").write_text(json.dumps(flow("/quote")))
    command = [sys.executable, "-m", "stepflow_sdk", "run", "--flow", "flow.json", "--server", "vault:server"]
    options = ["--env-variables", "--input-json", "1", "--log-level", "debug", "--log-format", log_format]
    done = subprocess.run([*command, *options], cwd=vault, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "the key <secret> is wrong" in done.stderr
    assert PLANTED not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "written", [f"{PLANTED}$", f"{PLANTED}${{API_KEY", f"{PLANTED}$GONE", f"${{API_KEY}}{PLANTED}$-"]
)
def test_what_is_wrong_with_a_value_that_may_be_secret_is_said_without_it(vault: Path, written: str) -> None:
    config = CONFIG.replace("$API_KEY, baseUrl", f"{json.dumps(written)}, baseUrl")
    assert config != CONFIG
    (vault / "wrong.yml").write_text(config)
    command = [sys.executable, "-m", "stepflow_sdk", "list-components", "--config", "wrong.yml"]
    done = subprocess.run(command, cwd=vault, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2
    assert "wrong.yml:2" in done.stderr
    assert PLANTED not in done.stdout + done.stderr
