"""Checks of a flow against the configuration, the servers and their components."""

from stepflow_sdk.cli.arguments import Options, UsageError
from stepflow_sdk.cli.findings import REFUSED, Finding, as_findings
from stepflow_sdk.cli.output import say
from stepflow_sdk.cli.servers import import_servers
from stepflow_sdk.cli.targets import read_config
from stepflow_sdk.errors import DefinitionError, InvalidDocument
from stepflow_sdk.flows import Flow, TypeReport, is_mock_behaviors, read_document
from stepflow_sdk.runtime import LocalRuntime, MemoryBlobStore, MemoryRunStore, find_config
from stepflow_sdk.runtime.config_checks import check_config
from stepflow_sdk.runtime.flow_checks import check_routes
from stepflow_sdk.runtime.routes import Router

__all__ = ["check_deployed", "check_types", "make_checker"]


def check_deployed(options: Options, file: str, flow: Flow | None) -> tuple[list[Finding], bool]:
    """Check the configuration, or the servers, and the routes to the components of a flow.

    Returns:
        What was found, and whether a runtime can be made of it.

    Raises:
        UsageError: A server cannot be imported, or both are given.
        InvalidConfig: The configuration cannot be read or used.
    """
    if options.server:
        if options.config:
            raise UsageError("--server needs no --config; give one of them")
        runtime = make_checker(options, file)
        return ([] if flow is None else as_findings(runtime.check_routes(flow))), True
    path = options.config or find_config(file)
    if path is None:
        return [], True
    try:
        findings = as_findings(check_config(read_document(path, value_keys=is_mock_behaviors)))
    except InvalidDocument:
        findings = []  # told by what reads the configuration below
    if any(finding["level"] in REFUSED for finding in findings):
        return findings, False
    config = read_config(options, file)
    if config is not None and flow is not None:
        findings += as_findings(check_routes(flow, Router(config.routes)))
    return findings, True


def make_checker(options: Options, file: str) -> LocalRuntime:
    """The runtime whose components are asked; it keeps nothing, whatever the configuration says.

    Raises:
        UsageError: A server cannot be imported or served.
        InvalidConfig: The configuration cannot be used.
    """
    blobs, runs = MemoryBlobStore(), MemoryRunStore()
    if options.server:
        try:
            return LocalRuntime(*import_servers(options.server), blobs=blobs, runs=runs)
        except DefinitionError as error:
            raise UsageError(f"--server: {error}; write --server PREFIX=MODULE:NAME") from None
    path = options.config or find_config(file)
    if path is None:
        say("no configuration found and no --server given: only the components under /builtin/ are known")
    return LocalRuntime(config=path, blobs=blobs, runs=runs)


async def check_types(runtime: LocalRuntime, flow: Flow, *, strict: bool) -> TypeReport:
    """Check the types of a flow; the servers that are started for it are stopped.

    Raises:
        ServerLost: One cannot be reached.
    """
    async with runtime:
        return await runtime.check_types(flow, strict=strict)
