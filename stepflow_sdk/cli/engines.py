"""The engine that a command line asks for: the bundled runtime, an orchestrator, or a service at a URL."""

import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from stepflow_sdk.cli.arguments import Options, Parser, UsageError
from stepflow_sdk.cli.output import say
from stepflow_sdk.cli.servers import import_servers
from stepflow_sdk.cli.targets import make_runtime, read_config
from stepflow_sdk.errors import DefinitionError, InvalidConfig
from stepflow_sdk.flows import did_you_mean
from stepflow_sdk.runtime import Config, load_config
from stepflow_sdk.runtime.engines import FlowEngine
from stepflow_sdk.runtime.events import Observer
from stepflow_sdk.runtime.remote_runtime import RemoteRuntime

__all__ = ["LOCAL", "ORCHESTRATOR", "add_engine", "engine_of", "make_engine", "make_orchestrator", "make_remote"]

LOCAL: Final = "local"
ORCHESTRATOR: Final = "orchestrator"

_ELSEWHERE: Final = ("config", "server", "state")


def add_engine(parser: Parser) -> None:
    """Add the options that say what runs the flows."""
    group = parser.add_argument_group("which engine runs it")
    group.add_argument(
        "--engine",
        metavar="ENGINE",
        default=LOCAL,
        help="local (default); orchestrator, to start the published one for this command; or the URL of a service",
    )
    group.add_argument(
        "--token-env", metavar="NAME", help="the environment variable with the bearer token for the service"
    )


def engine_of(options: Options) -> str:
    """The engine: `LOCAL`, `ORCHESTRATOR` or a URL.

    Raises:
        UsageError: It is none of these, or something is given that it cannot have.
    """
    engine: str = options.engine
    if engine in (LOCAL, ORCHESTRATOR):
        if options.token_env is not None:
            raise UsageError(f"--token-env is for --engine URL, not for --engine {engine}")
        if engine == ORCHESTRATOR and getattr(options, "state", None):
            raise UsageError("--state is for the local engine; the orchestrator of --engine orchestrator keeps nothing")
        return engine
    if "://" not in engine:
        hint = did_you_mean(engine, (LOCAL, ORCHESTRATOR)) or "it is local, orchestrator, or a URL"
        raise UsageError(f"--engine {engine[:80]}: there is no such engine; {hint}")
    for name in _ELSEWHERE:
        if getattr(options, name, None):
            raise UsageError(f"--{name} has no meaning with --engine {engine[:80]}: the service has its own")
    return engine


def make_engine(
    options: Options,
    flow: str | None = None,
    *,
    on_event: Observer | None = None,
    on_run: Callable[[str], None] | None = None,
) -> FlowEngine:
    """Make the engine, not yet started.

    Args:
        options: What was given.
        flow: The flow's file, beside which a configuration is looked for.
        on_event: Told what happens, by the local engine alone.
        on_run: Told the ids of runs, by the others.

    Raises:
        UsageError: Something that was given does not go together.
        InvalidConfig: The configuration cannot be used, or not by this engine.
    """
    engine = engine_of(options)
    if engine == LOCAL:
        return make_runtime(options, flow, on_event=on_event)
    if engine == ORCHESTRATOR:
        return make_orchestrator(_config(options, flow), on_run=on_run)
    return make_remote(options, engine, on_run=on_run)


def make_remote(options: Options, url: str, *, on_run: Callable[[str], None] | None = None) -> RemoteRuntime:
    """Make the client of a service.

    Raises:
        UsageError: The URL is none, or there is no token.
    """
    cancels = not getattr(options, "leaves_runs", False)
    try:
        return RemoteRuntime(url, token=_read_token(options), on_run=on_run, cancels=cancels)
    except DefinitionError as error:
        raise UsageError(str(error)) from None


def make_orchestrator(config: Config | None, *, on_run: Callable[[str], None] | None = None) -> FlowEngine:
    """Make an orchestrator with a configuration.

    Raises:
        UsageError: There is no orchestrator.
        InvalidConfig: There is no configuration, or one that it cannot use.
    """
    if config is None:
        raise InvalidConfig("there is none; the orchestrator needs plugins and routes, from --config or --server")
    from stepflow_sdk.runtime.orchestrator import OrchestratorRuntime

    try:
        engine = OrchestratorRuntime(config, on_run=on_run)
    except DefinitionError as error:
        raise UsageError(f"--engine orchestrator: {error}") from None
    say("warning: the orchestrator listens on every interface of this machine, without authentication")
    return engine


def _read_token(options: Options) -> str | None:
    """The token that --token-env names.

    Raises:
        UsageError: It is not there.
    """
    if options.token_env is None:
        return None
    token = os.environ.get(options.token_env)
    if not token:
        raise UsageError(f"the environment variable {options.token_env} of --token-env is not set")
    return token


def _config(options: Options, flow: str | None) -> Config | None:
    if options.server:
        if options.config:
            raise UsageError("--server needs no --config; give one of them")
        import_servers(options.server)  # what cannot be imported here cannot be there either, and is told better here
        return load_config(_config_of_servers(options.server))
    return read_config(options, flow)


def _config_of_servers(texts: list[str]) -> Mapping[str, Any]:
    plugins: dict[str, Any] = {"builtin": {"type": "builtin"}}
    routes: dict[str, Any] = {"/builtin/{*component}": [{"plugin": "builtin"}]}
    for text in texts:
        prefix, _, path = text.rpartition("=")
        name = prefix.strip("/") or "server"
        pattern = f"/{name}/{{*component}}" if prefix else "/{*component}"
        if name in plugins or pattern in routes:
            raise UsageError(f"--server: two servers are {name!r}; write --server PREFIX=MODULE:NAME")
        plugins[name] = {"type": "inprocess", "server": path}
        routes[pattern] = [{"plugin": name}]
    return {"plugins": plugins, "routes": routes}
