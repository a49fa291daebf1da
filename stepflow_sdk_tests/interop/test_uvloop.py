"""Servers on uvloop, which they run on where it is installed."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stepflow_sdk_tests.e2e.web import serving_http
from stepflow_sdk_tests.e2e.wire import PATIENCE, SERVERS, serving
from stepflow_sdk_tests.interop.environments import Package, python_of

pytestmark = [pytest.mark.interop, pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop")]


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    python = python_of(Package("uvloop", "0.23.0"))
    (packages,) = Path(python).parents[1].glob("lib/python*/site-packages")
    return {"PYTHONPATH": os.pathsep.join([*sys.path, str(packages)])}


def test_a_server_on_stdio_runs_on_uvloop(environment: dict[str, str]) -> None:
    with serving("looped", environment=environment) as wire:
        for number in range(100):
            wire.execute(number, "/about", {"wait": number % 2 == 0})
        answers = wire.receive_all(100)
        assert {answer["result"]["output"]["loop"] for answer in answers.values()} == {"uvloop"}
        wire.execute("threads", "/blocking", {"text": "x" * 1_000_000})
        assert wire.receive()["result"]["output"] == "x" * 2_000_000
        wire.execute("back", "/stored", {"data": 1})
        call = wire.receive()
        assert call["method"] == "blobs/put"
        wire.send({"jsonrpc": "2.0", "id": call["id"], "result": {"blob_id": "b"}})
        assert wire.receive()["result"]["output"] == "b"
        wire.end_input()
        assert wire.process.wait(60) == 0


def test_a_server_over_http_runs_on_uvloop(environment: dict[str, str]) -> None:
    params = {"component": "/about", "input": {"wait": True}, "attempt": 1, "observability": {}}
    request = {"jsonrpc": "2.0", "id": "a", "method": "components/execute", "params": params}
    with serving_http("looped", environment=environment) as web:
        assert web.send(body=request).json["result"]["output"]["loop"] == "uvloop"
        web.process.terminate()
        assert web.process.wait(60) == 0


def test_one_socket_can_be_stdin_and_stdout_on_uvloop(environment: dict[str, str]) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        command = [sys.executable, str(SERVERS / "looped.py")]
        variables = {**os.environ, **environment}
        process = subprocess.Popen(
            command, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.DEVNULL, env=variables
        )
        theirs.close()
        params = {"component": "/about", "input": {"wait": False}, "attempt": 1, "observability": {}}
        for method, sent in (("initialize", {"runtime_protocol_version": 1}), ("components/execute", params)):
            ours.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": sent}).encode() + b"\n")
        ours.settimeout(PATIENCE)
        with ours.makefile("rb") as answers:
            answers.readline()
            assert json.loads(answers.readline())["result"]["output"]["loop"] == "uvloop"
            ours.shutdown(socket.SHUT_WR)
            assert answers.read() == b""
        assert process.wait(PATIENCE) == 0
