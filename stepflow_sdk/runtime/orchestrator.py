"""`OrchestratorRuntime`: flows, run by a published orchestrator that is started for it."""

import importlib.metadata
import importlib.util
import os
import re
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from stepflow_sdk.errors import DefinitionError, RequestTimeout, ResourceUnavailable
from stepflow_sdk.protocol import FlowResult
from stepflow_sdk.runtime.config import Config, StdioConfig
from stepflow_sdk.runtime.engine import DEFAULT_MAX_CONCURRENCY
from stepflow_sdk.runtime.local import FlowSource
from stepflow_sdk.runtime.orchestrator_config import orchestrator_config, started_server
from stepflow_sdk.runtime.remote_runtime import RemoteRuntime
from stepflow_sdk.transports.announced import open_announcing_server

__all__ = ["OrchestratorRuntime", "find_orchestrator"]

PROGRAM_VARIABLE: Final = "STEPFLOW_ORCHESTRATOR"
"""The environment variable that may name the program, instead of the installed package."""

_START_SECONDS: Final = 180.0
"""The orchestrator says its port when every server has started, and each of them has 90 seconds."""

_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
_CAUSE: Final = re.compile(r"(?:[├╰]─▶ |Server error: )(.*)")

_PACKAGE: Final = "stepflow-orchestrator"
_NEEDED: Final = "'stepflow-orchestrator>=0.9,<0.12'"


def find_orchestrator() -> str:
    """The program of a published orchestrator: what ``STEPFLOW_ORCHESTRATOR`` names, else that of the package.

    Raises:
        DefinitionError: There is none, or one that speaks another protocol.
    """
    named = os.environ.get(PROGRAM_VARIABLE)
    if named:
        if not os.access(named, os.X_OK):
            raise DefinitionError(f"{PROGRAM_VARIABLE} is {named!r}, which is no program")
        return named
    spec = importlib.util.find_spec("stepflow_orchestrator")
    if spec is None or not spec.submodule_search_locations:
        raise DefinitionError(f"the package {_PACKAGE} is not installed; install {_NEEDED}")
    version = importlib.metadata.version(_PACKAGE)
    if tuple(map(int, version.split(".")[:2])) >= (0, 12):
        raise DefinitionError(f"{_PACKAGE} {version} speaks gRPC with its servers; install {_NEEDED}")
    folder = Path(spec.submodule_search_locations[0], "bin")
    found = sorted(folder.glob("stepflow-server*"))
    if not found:
        raise DefinitionError(f"{_PACKAGE} {version} has no program for this platform")
    return str(found[0])


class OrchestratorRuntime:
    """Runs flows on an orchestrator of its own, with a configuration of this runtime; used with ``async with``.

    The orchestrator keeps nothing, and ends with the block. It listens on a free port of *every* interface, without
    authentication, for it cannot be told otherwise.

    Args:
        config: The plugins and routes; see `orchestrator_config` for what becomes of them.
        program: The orchestrator; by default see `find_orchestrator`.
        max_concurrency: Steps of one run that may be called at once, for runs that say nothing themselves.
        on_run: Told the id of each run that was accepted.

    Raises:
        InvalidConfig: A plugin is one that orchestrators do not have.
        DefinitionError: There is no orchestrator.
    """

    def __init__(
        self,
        config: Config,
        *,
        program: str | None = None,
        max_concurrency: int = DEFAULT_MAX_CONCURRENCY,
        on_run: Callable[[str], None] | None = None,
    ) -> None:
        self._text = orchestrator_config(config)
        self._config = config
        self._program = find_orchestrator() if program is None else program
        self._max_concurrency = max_concurrency
        self._on_run = on_run
        self._exit: AsyncExitStack | None = None
        self._remote: RemoteRuntime | None = None

    async def __aenter__(self) -> Self:
        if self._exit is not None:
            raise DefinitionError("this runtime is running already")
        async with AsyncExitStack() as stack:
            with _written(self._text) as file:
                port = await stack.enter_async_context(self._started(file))
            self._remote = await stack.enter_async_context(
                RemoteRuntime(f"http://127.0.0.1:{port}", max_concurrency=self._max_concurrency, on_run=self._on_run)
            )
            self._exit = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack, self._exit, self._remote = self._exit, None, None
        if stack is not None:
            await stack.aclose()

    async def run(
        self,
        flow: FlowSource,
        input: Any = None,
        *,
        variables: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Any] | None = None,
        max_concurrency: int | None = None,
    ) -> FlowResult:
        """See `RemoteRuntime.run`."""
        return await self.remote.run(
            flow, input, variables=variables, overrides=overrides, max_concurrency=max_concurrency
        )

    async def run_stream(
        self,
        flow: FlowSource,
        inputs: Iterable[Any],
        on_outcome: Callable[[FlowResult], None],
        *,
        variables: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Any] | None = None,
        max_concurrency: int | None = None,
    ) -> int:
        """See `RemoteRuntime.run_stream`."""
        return await self.remote.run_stream(
            flow, inputs, on_outcome, variables=variables, overrides=overrides, max_concurrency=max_concurrency
        )

    @asynccontextmanager
    async def _started(self, file: str) -> AsyncGenerator[int, None]:
        command = [self._program, "--port", "0", "--config", file, "--log-level", "warn"]
        env = {key: value for key, value in os.environ.items() if not key.startswith("STEPFLOW_")}
        env["NO_COLOR"] = "1"
        server = open_announcing_server(command, name="orchestrator", env=env, announce_timeout=_START_SECONDS)
        async with AsyncExitStack() as stack:
            try:
                started = await stack.enter_async_context(server)
            except (ResourceUnavailable, RequestTimeout) as error:
                why = await self._broken_server() or _story(error.message)
                raise ResourceUnavailable(f"the orchestrator could not be started: {why}") from None
            yield started.port

    async def _broken_server(self) -> str | None:
        """Which server does not start; the orchestrator says neither its name nor its last words."""
        config = self._config
        for name, plugin in config.plugins.items():
            started = started_server(plugin, config)
            if started is None:
                continue
            command, env = started
            server = open_announcing_server(command, name=name, env=env, cwd=config.working_directory)
            try:
                async with server:
                    pass
            except (ResourceUnavailable, RequestTimeout) as error:
                how = ""
                if isinstance(plugin, StdioConfig):
                    how = " (it speaks on stdin and stdout, which orchestrators cannot, and was started with --http)"
                return f"plugin {name!r}{how}: {error.message}"
        return None

    @property
    def remote(self) -> RemoteRuntime:
        """The client of the orchestrator, while it runs."""
        if self._remote is None:
            raise DefinitionError("the orchestrator is not running: use it inside `async with`")
        return self._remote


@contextmanager
def _written(text: str) -> Generator[str, None, None]:
    """A configuration in a file that nobody else can read, for the environment of servers may hold secrets."""
    with tempfile.TemporaryDirectory(prefix="stepflow-") as folder:
        file = Path(folder, "stepflow-config.yml")
        file.write_text(text, "utf-8")
        yield str(file)


def _story(text: str) -> str:
    """The causes in an orchestrator's report of its end, which is a tree with the places in its source."""
    plain = _COLOURS.sub("", text)
    return ": ".join(_CAUSE.findall(plain)) or plain
