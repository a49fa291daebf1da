"""A pytest plugin for authors of components and flows.

Enable it in a ``conftest.py`` with ``pytest_plugins = ["stepflow_sdk.testing.plugin"]``.
"""

from collections.abc import Generator, Mapping
from contextlib import ExitStack
from typing import Protocol

import pytest

from stepflow_sdk.runtime import BlockingRuntime, LocalRuntime
from stepflow_sdk.runtime.assembly import Server

__all__ = ["RunServer", "stepflow_runtime"]


class RunServer(Protocol):
    """What the fixture `stepflow_runtime` is: called with servers as `LocalRuntime` is."""

    def __call__(self, *servers: Server | Mapping[str, Server]) -> BlockingRuntime:
        """Run the servers until the end of the test and return the runtime for them."""
        ...


@pytest.fixture
def stepflow_runtime() -> Generator[RunServer]:
    """A function that runs servers for the time of a test.

    ::

        def test_greeting(stepflow_runtime):
            runtime = stepflow_runtime(server)
            assert runtime.execute("/greet", {"name": "you"}) == "Hello, you!"
    """
    with ExitStack() as stack:

        def run(*servers: Server | Mapping[str, Server]) -> BlockingRuntime:
            return stack.enter_context(LocalRuntime(*servers))

        yield run
