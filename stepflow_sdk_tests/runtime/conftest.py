"""A runtime over each way to reach the same server."""

import json
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path

import pytest

from stepflow_sdk.runtime import LocalRuntime
from stepflow_sdk.runtime.assembly import Server
from stepflow_sdk_tests.runtime.components import server
from stepflow_sdk_tests.runtime.state_tools import folder_in_memory

COMMAND = (sys.executable, str(Path(__file__).with_name("components.py")))


@pytest.fixture(scope="session")
def http_url() -> Iterator[str]:
    """The tests' server over HTTP, one for all tests: the URL."""
    command = [*COMMAND, "--http"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
        process.terminate()


@pytest.fixture(params=["in process", "stdio", "http", "session"])
async def runtime(request: pytest.FixtureRequest) -> AsyncGenerator[LocalRuntime, None]:
    """The tests' server: in this process, as a subprocess, and over HTTP with and without a session."""
    ways: dict[str, Callable[[], Server]] = {
        "in process": lambda: server,
        "stdio": lambda: list(COMMAND),
        "http": lambda: str(request.getfixturevalue("http_url")),
        "session": lambda: f"{request.getfixturevalue('http_url')}/runtime/events",
    }
    async with LocalRuntime(ways[request.param]()) as runtime:
        yield runtime


@pytest.fixture
async def local() -> AsyncGenerator[LocalRuntime, None]:
    """The tests' server in this process."""
    async with LocalRuntime(server) as runtime:
        yield runtime


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(path)]
    if sys.platform != "linux" or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no small file system can be mounted here")
    yield path
    subprocess.run(["umount", str(path)], check=True)


@pytest.fixture
def memory_folder() -> Iterator[Path]:
    """A folder where no disk is waited for, as far as there is one."""
    with folder_in_memory() as folder:
        yield folder
