"""A published orchestrator with our component server behind it, in one of the two modes."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from stepflow_sdk_tests.interop.network import Network
from stepflow_sdk_tests.interop.orchestrator import Orchestrator, running_orchestrator
from stepflow_sdk_tests.interop.program import Program

MODES = ("command", "url")
CASES = Path(__file__).parent / "servers" / "cases.py"
_BUILTIN = {"type": "builtin"}


class Server:
    """A component server that the test started and restarts: the orchestrator only knows its address."""

    def __init__(self, network: Network, directory: Path, script: Path = CASES) -> None:
        self._network = network
        self._directory = directory
        self._script = script
        self.program = self._start(0)
        self.port = self.program.port()

    def restart(self, **env: str) -> None:
        """Start it again on the same port, once it has ended."""
        self.program.stop()
        self.program = self._start(self.port, **env)
        self.program.port()

    def _start(self, port: int, **variables: str) -> Program:
        command = [sys.executable, str(self._script), "--http", "--port", str(port)]
        env = {"PATH": os.environ.get("PATH", os.defpath), **variables}
        return Program("our server", self._network.inside(command), cwd=self._directory, env=env)


class Stage:
    """An orchestrator, and our server under ``/py``.

    Attributes:
        version: That of the orchestrator.
        mode: ``command`` when it starts our server, ``url`` when the server is there already.
        orchestrator: Its REST API.
        directory: Where both run.
        server: Our server, in ``url`` mode.
    """

    def __init__(self, mode: str, orchestrator: Orchestrator, directory: Path, server: Server | None) -> None:
        self.version = orchestrator.version
        self.mode = mode
        self.orchestrator = orchestrator
        self.directory = directory
        self.server = server

    @property
    def wraps_errors(self) -> bool:
        """Whether flows fail with an error of the runtime around that of the component."""
        return self.version in ("0.9.0", "0.10.0")

    @property
    def restarts_at_errors(self) -> bool:
        """Whether any error answer of a component makes the runtime kill our server, start it again and try again."""
        return self.wraps_errors and self.mode == "command"

    def log(self) -> str:
        """What both wrote lately."""
        parts = [self.orchestrator.program.tail()]
        if self.server is not None:
            parts.append(self.server.program.tail())
        return "\n-- our server --\n".join(parts)


def configuration(plugin: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with our server under ``/py``, and the builtin components."""
    return {
        "plugins": {"builtin": _BUILTIN, "py": plugin},
        "routes": {"/builtin/{*component}": [{"plugin": "builtin"}], "/py/{*component}": [{"plugin": "py"}]},
    }


@contextmanager
def open_stage(version: str, mode: str, network: Network, directory: Path) -> Iterator[Stage]:
    """Start an orchestrator with our server."""
    with ExitStack() as stack:
        server = None
        if mode == "url":
            server = Server(network, directory)
            stack.callback(lambda: server.program.stop())
            plugin: dict[str, Any] = {"type": "stepflow", "url": f"http://127.0.0.1:{server.port}"}
        else:
            env = {"PATH": os.environ.get("PATH", os.defpath)}
            plugin = {"type": "stepflow", "command": sys.executable, "args": [str(CASES), "--http"], "env": env}
        config = configuration(plugin)
        orchestrator = stack.enter_context(running_orchestrator(version, config, network, directory))
        yield Stage(mode, orchestrator, directory, server)


def step(id: str, component: str, input: Any = None, **keys: Any) -> dict[str, Any]:
    """A step that calls a component of ours."""
    return {"id": id, "component": f"/py/{component}", "input": input, **keys}


def flow_of(component: str, input: Any = None, **keys: Any) -> dict[str, Any]:
    """A flow that is one call of a component of ours."""
    return {"steps": [step("s", component, input, **keys)], "output": {"$step": "s"}}


INPUT = {"$input": "$"}
ECHO = flow_of("echo", INPUT)
FAIL = flow_of("fail", {"message": INPUT})
