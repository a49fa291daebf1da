"""The examples on published orchestrators: ``orchestrator`` as its README says, ``fastapi_app`` by its address."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stepflow_sdk.flows import load_flow, parse_yaml
from stepflow_sdk_tests.e2e.test_examples import ROOT, commands
from stepflow_sdk_tests.interop.environments import orchestrator_binary
from stepflow_sdk_tests.interop.network import Network
from stepflow_sdk_tests.interop.orchestrator import VERSIONS, running_orchestrator
from stepflow_sdk_tests.interop.program import Program

pytestmark = [pytest.mark.interop, pytest.mark.slow]

EXAMPLE = ROOT / "examples" / "orchestrator"


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A copy of the example and of the pipeline that it runs."""
    for name in ("orchestrator", "document_pipeline"):
        ignored = shutil.ignore_patterns("output", "__pycache__")
        shutil.copytree(ROOT / "examples" / name, tmp_path / name, ignore=ignored)
    return tmp_path / "orchestrator"


def run(command: str, example: Path, network: Network, wheel: Path | None) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(wheel or "")}
    return subprocess.run(
        network.inside(["bash", "-euc", command]),
        cwd=example,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def packages_of(version: str) -> Path:
    return orchestrator_binary(version).parents[2]


@pytest.mark.parametrize("command", commands(EXAMPLE / "README.md"))
def test_the_pipeline_runs_on_the_real_engine(command: str, example: Path, network: Network) -> None:
    done = run(command, example, network, packages_of("0.11.1"))
    assert done.returncode == 0, done.stderr
    outcome: Any = json.loads(done.stdout)
    assert outcome["outcome"] == "success"
    assert outcome["result"]["documents"] == (2 if "tides.txt" in command else 4)
    assert Path(example.parent / "document_pipeline" / outcome["result"]["markdown"]).is_file()
    if "run.py" in command:
        assert "stepflow-orchestrator 0.11.1" in done.stderr
        assert "completed" in done.stderr


@pytest.mark.parametrize("version", VERSIONS)
def test_the_same_flow_runs_on_every_version_that_speaks_the_protocol(
    version: str, example: Path, network: Network
) -> None:
    done = run("python run.py", example, network, packages_of(version))
    assert done.returncode == 0, done.stderr
    result: Any = json.loads(done.stdout)["result"]
    assert (result["documents"], [Path(name).name for name in result["unread"]]) == (4, ["old_notes.txt"])


def test_a_failing_flow_is_told_and_exits_with_1(example: Path, network: Network) -> None:
    done = run("python run.py nothing.txt", example, network, packages_of("0.11.1"))
    assert done.returncode == 1
    assert "nothing.txt" in json.loads(done.stdout)["error"]["message"]


def test_without_the_right_wheel_it_says_how_to_install_it(example: Path, network: Network, tmp_path: Path) -> None:
    newer = tmp_path / "newer"
    (metadata := newer / "stepflow_orchestrator-0.13.0.dist-info").mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: stepflow-orchestrator\nVersion: 0.13.0\n")
    for packages, told in ((None, "not installed"), (newer, "version 0.13.0")):
        done = run("python run.py", example, network, packages)
        assert done.returncode == 1
        assert told in done.stderr
        assert "pip install -r" in done.stderr
        assert "Traceback" not in done.stderr


ANNOUNCING = """
import json, uvicorn
from app import app

class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(json.dumps({"port": self.servers[0].sockets[0].getsockname()[1]}), flush=True)

Server(uvicorn.Config(app, port=0, log_level="warning")).run()
"""


@pytest.fixture
def shop(tmp_path: Path, network: Network) -> Iterator[Program]:
    """The FastAPI application of the examples under uvicorn, in the network of the orchestrators."""
    directory = tmp_path / "fastapi_app"
    shutil.copytree(ROOT / "examples" / "fastapi_app", directory, ignore=shutil.ignore_patterns("output"))
    command = network.inside([sys.executable, "-c", ANNOUNCING])
    program = Program("the application", command, cwd=directory, env={"PATH": os.environ["PATH"]})
    yield program
    program.stop()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_mounted_in_an_application_serves_an_orchestrator(
    version: str, shop: Program, network: Network, tmp_path: Path
) -> None:
    example = ROOT / "examples" / "fastapi_app"
    text = (example / "stepflow-config.yml").read_text("utf-8").replace(":8000", f":{shop.port()}")
    config: Any = parse_yaml(text).value
    with running_orchestrator(version, config, network, tmp_path) as orchestrator:
        flow = load_flow(example / "flow.yaml").to_json()
        result = orchestrator.result(flow, {"article": "washer", "count": 3})
    assert result == {"left": 5, "advice": "order washer"}
