"""``examples/orchestrator``, run as its README says, with the wheel of an environment of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stepflow_sdk_tests.e2e.test_examples import ROOT, commands
from stepflow_sdk_tests.interop.environments import orchestrator_binary
from stepflow_sdk_tests.interop.network import Network

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


def test_a_failing_flow_is_told_and_exits_with_1(example: Path, network: Network) -> None:
    done = run("python run.py nothing.txt", example, network, packages_of("0.11.1"))
    assert done.returncode == 1
    assert "nothing.txt" in json.loads(done.stdout)["error"]["message"]


def test_without_the_wheel_it_says_how_to_install_it(example: Path, network: Network) -> None:
    done = run("python run.py", example, network, None)
    assert done.returncode == 1
    assert "pip install -r" in done.stderr
    assert "Traceback" not in done.stderr
    refused = run("python run.py", example, network, packages_of("0.9.0"))
    assert "version 0.9.0" in refused.stderr
