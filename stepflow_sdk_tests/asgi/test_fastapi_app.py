"""``examples/fastapi_app``, run as its README says: under uvicorn, called by the command line and by a browser."""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stepflow_sdk_tests.e2e.test_examples import ROOT, commands

README = ROOT / "examples" / "fastapi_app" / "README.md"
ENVIRONMENT = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture
def example(tmp_path: Path) -> Path:
    copy: Path = tmp_path / "fastapi_app"
    shutil.copytree(README.parent, copy, ignore=shutil.ignore_patterns("__pycache__", "output"))
    return copy


class App:
    """The application under uvicorn, on a port that was free, which its configuration is told."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "app:app", "--port", "0"],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.port = self._port()
        config = directory / "stepflow-config.yml"
        config.write_text(self.moved(config.read_text("utf-8")), "utf-8")

    def moved(self, text: str) -> str:
        return text.replace(":8000", f":{self.port}")

    def get(self, path: str) -> Any:
        with DIRECT.open(f"http://127.0.0.1:{self.port}{path}", timeout=60) as response:
            return json.load(response)

    def reserve(self, article: str, count: int) -> Any:
        input = json.dumps({"article": article, "count": count})
        return json.loads(self.run(f"stepflow-sdk run --flow flow.yaml --input-json '{input}'").stdout)

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euc", self.moved(command)],
            cwd=self.directory,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def stop(self) -> str:
        self.process.terminate()
        _, said = self.process.communicate(timeout=60)
        return said

    def _port(self) -> int:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                return int(found[1])
        raise AssertionError("uvicorn did not start")


@pytest.fixture
def app(example: Path) -> Iterator[App]:
    started = App(example)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.communicate()


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the README is for bash")


def test_a_flow_and_a_route_of_the_application_see_one_state(app: App) -> None:
    run, look = commands(README)
    done = app.run(run)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"outcome": "success", "result": {"left": 5, "advice": "order washer"}}
    assert app.get("/stock/washer") == {"left": 5}
    if shutil.which("curl"):
        assert json.loads(app.run(look).stdout) == {"left": 5}


def test_what_is_not_there_fails_the_flow_with_the_components_words(app: App) -> None:
    outcome = app.reserve("nail", 501)
    assert outcome["error"]["message"] == "there are 500 of nail, not 501", outcome
    assert app.get("/stock/nail") == {"left": 500}


def test_the_lifespan_of_the_server_ends_with_the_application(app: App, example: Path) -> None:
    assert app.reserve("bolt", 20)["result"]["left"] == 100
    kept = example / "output" / "stock.json"
    assert not kept.exists()
    app.stop()
    assert json.loads(kept.read_text("utf-8"))["bolt"] == 100
