"""A runtime over each way to reach the same server."""

import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from stepflow_sdk.runtime import LocalRuntime
from stepflow_sdk_tests.runtime.components import server

COMMAND = (sys.executable, str(Path(__file__).with_name("components.py")))


@pytest.fixture(params=["in process", "stdio"])
async def runtime(request: pytest.FixtureRequest) -> AsyncGenerator[LocalRuntime, None]:
    """The tests' server, in this process and as a subprocess."""
    async with LocalRuntime(server if request.param == "in process" else list(COMMAND)) as runtime:
        yield runtime


@pytest.fixture
async def local() -> AsyncGenerator[LocalRuntime, None]:
    """The tests' server in this process."""
    async with LocalRuntime(server) as runtime:
        yield runtime
