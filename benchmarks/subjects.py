"""Who is measured: our server, the floors, and servers written with other libraries."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.messages import FLOWS, MCP, RUNS, Dialect
from benchmarks.workloads import Workload
from stepflow_sdk_tests.interop.environments import (
    PEER_0100_HTTP,
    PEER_070,
    PEER_070_HTTP,
    Package,
    python_of,
)

HERE = Path(__file__).parent
OURS = "ours"
FLOOR = "floor"
GOAL_PEER = {"stdio": "stepflow-py 0.7.0", "http": "stepflow-py 0.10.0"}


class Subject(NamedTuple):
    """A server program.

    Attributes:
        name: What the table calls it.
        transport: ``stdio`` or ``http``.
        dialect: How it is spoken to.
        command: How it is started.
        package: Whose environment it runs in; None for that of the checkout.
        leaves_out: Workloads that cannot be had of it.
    """

    name: str
    transport: str
    dialect: Dialect
    command: Sequence[str]
    package: Package | None = None
    leaves_out: frozenset[str] = frozenset()

    def install(self) -> None:
        """Make the environment that it needs.

        Raises:
            InstallFailed: It could not be made.
        """
        if self.package is not None:
            python_of(self.package)

    def program(self, workload: Workload) -> tuple[list[str], Mapping[str, str]]:
        """The command line, and what is added to the environment."""
        python = sys.executable if self.package is None else str(python_of(self.package))
        kind = [workload.floor_kind] if self.name == FLOOR else []
        environment = {"BENCH_COMPONENTS": str(workload.components)}
        if self.package is None:
            environment["PYTHONPATH"] = str(HERE.parent)
        return [python, *self.command, *kind], environment


def subjects(transport: str) -> Iterator[Subject]:
    """All servers on a transport, the floor and ours first."""
    ours = [str(HERE / "echo_server.py")]
    mcp = frozenset({"context", "thread", "block"})
    if transport == "stdio":
        yield Subject(FLOOR, transport, FLOWS, [str(HERE / "floor_stdio.py")])
        yield Subject(OURS, transport, FLOWS, ours)
        yield Subject("stepflow-py 0.7.0", transport, FLOWS, _peer("stepflow_py_070"), PEER_070)
        yield Subject("mcp 2.3.0", transport, MCP, _peer("mcp_tools"), Package("mcp", "2.3.0"), mcp)
        yield Subject("fastmcp 4.1.2", transport, MCP, _peer("fastmcp_tools"), Package("fastmcp", "4.1.2"), mcp)
    else:
        yield Subject(FLOOR, transport, FLOWS, [str(HERE / "floor_http.py")])
        yield Subject(OURS, transport, FLOWS, [*ours, "--http"])
        yield Subject("stepflow-py 0.7.0", transport, FLOWS, [*_peer("stepflow_py_070"), "--http"], PEER_070_HTTP)
        yield Subject("stepflow-py 0.10.0", transport, RUNS, _peer("stepflow_py_0100"), PEER_0100_HTTP)


def _peer(name: str) -> list[str]:
    return [str(HERE / "peers" / f"{name}.py")]
