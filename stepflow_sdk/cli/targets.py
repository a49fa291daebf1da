"""The runtime that a command line asks for."""

from stepflow_sdk.cli.arguments import Options, UsageError
from stepflow_sdk.cli.output import say
from stepflow_sdk.cli.servers import import_servers
from stepflow_sdk.cli.state import read_state
from stepflow_sdk.errors import DefinitionError
from stepflow_sdk.runtime import (
    Config,
    LocalRuntime,
    MemoryRunStore,
    RunStore,
    RuntimeMetrics,
    find_config,
    load_config,
)
from stepflow_sdk.runtime.events import Observer

__all__ = ["make_runtime", "read_config"]


def read_config(options: Options, flow: str | None) -> Config | None:
    """Read the configuration that is named, or else the one that is found for a flow.

    Raises:
        InvalidConfig: It cannot be read or used, or two are found.
    """
    path = options.config or find_config(flow)
    config = None if path is None else load_config(path)
    for warning in () if config is None else config.warnings:
        say(f"warning: {path}: {warning}")
    return config


def make_runtime(
    options: Options,
    flow: str | None = None,
    *,
    on_event: Observer | None = None,
    runs: RunStore | None = None,
    metrics: RuntimeMetrics | None = None,
) -> LocalRuntime:
    """Make the runtime: servers in process, or a configuration, or the builtin components alone.

    Args:
        options: What was given.
        flow: The flow's file, beside which a configuration is looked for.
        on_event: Told what happens.
        runs: Where the state of runs is kept, unless --state or the configuration names a file.
        metrics: Counts what happens.

    Raises:
        UsageError: Servers and a configuration are given, or a server cannot be imported.
        InvalidConfig: The configuration cannot be read or used.
    """
    state = read_state(options)
    if options.server:
        if options.config:
            raise UsageError("--server needs no --config; give one of them")
        try:
            servers = import_servers(options.server)
            return LocalRuntime(*servers, on_event=on_event, state=state, runs=None if state else runs, metrics=metrics)
        except DefinitionError as error:
            raise UsageError(f"--server: {error}; write --server PREFIX=MODULE:NAME") from None
    config = read_config(options, flow)
    if config is None:
        if not getattr(options, "quiet", False):
            say("no configuration found and no --server given: only the components under /builtin/ can be called")
        return LocalRuntime(on_event=on_event, state=state, runs=None if state else runs, metrics=metrics)
    if state is None and getattr(options, "in_memory", False):
        # The file that a configuration names is that of a service; a command that only tries things leaves it alone.
        return LocalRuntime(config=config, on_event=on_event, runs=runs or MemoryRunStore(), metrics=metrics)
    state = state or config.state
    return LocalRuntime(config=config, on_event=on_event, state=state, runs=None if state else runs, metrics=metrics)
