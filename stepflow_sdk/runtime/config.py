"""Configurations: the plugins of a runtime and the routes to them (section e of the flow format)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from stepflow_sdk.runtime.plugins.builtin_openai import OpenAiSettings
from stepflow_sdk.runtime.plugins.http import HealthCheck
from stepflow_sdk.runtime.plugins.mcp import ToolErrors
from stepflow_sdk.runtime.plugins.mock import MockComponent
from stepflow_sdk.runtime.retries import RetryPolicy
from stepflow_sdk.runtime.routes import Route
from stepflow_sdk.runtime.stores.options import StateOptions

__all__ = [
    "BuiltinConfig",
    "Config",
    "HttpCommandConfig",
    "HttpConfig",
    "InProcessConfig",
    "McpConfig",
    "McpUrlConfig",
    "MockConfig",
    "PluginConfig",
    "StdioConfig",
]


@dataclass(frozen=True, slots=True)
class BuiltinConfig:
    """``type: builtin``; what there is to say of it stands under ``builtin`` at the top of the configuration.

    Attributes:
        load_file_from: Directories below which ``/load_file`` may read, beside the working directory.
        openai: What ``/openai`` asks.
    """

    load_file_from: tuple[Path, ...] = ()
    openai: OpenAiSettings = field(default_factory=OpenAiSettings)


@dataclass(frozen=True, slots=True)
class StdioConfig:
    """``type: stepflow`` with ``transport: stdio``: a component server that is started as a subprocess.

    Attributes:
        command: The program and its arguments.
        env: Its variables, beside those that every server gets; see `child_environment`.
    """

    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """``type: stepflow`` with ``url``: a component server that runs already.

    Attributes:
        url: Where messages are POSTed.
        headers: Of this library alone: sent with every request.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


@dataclass(frozen=True, slots=True)
class HttpCommandConfig:
    """``type: stepflow`` with ``command`` and without a transport: a subprocess that announces its HTTP port.

    Attributes:
        command: The program and its arguments.
        env: Its variables, beside those that every server gets; see `child_environment`.
        health_check: How it is found to be ready.
        headers: Of this library alone: sent with every request.
    """

    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    health_check: HealthCheck = field(default_factory=HealthCheck)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


@dataclass(frozen=True, slots=True)
class InProcessConfig:
    """``type: inprocess``, of this library alone: a server object of a module, ``module:name``."""

    server: str


@dataclass(frozen=True, slots=True)
class MockConfig:
    """``type: mock``: components that look their output up by their input, by path with a leading slash."""

    components: Mapping[str, MockComponent]


@dataclass(frozen=True, slots=True)
class McpConfig:
    """``type: mcp`` with ``command``: an MCP server that is started as a subprocess.

    Attributes:
        command: The program and its arguments.
        env: Its variables, beside those of the runtime.
        tool_errors: What a result with ``isError`` does.
    """

    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    tool_errors: ToolErrors = "fail"


@dataclass(frozen=True, slots=True)
class McpUrlConfig:
    """``type: mcp`` with ``url``, of this library alone: an MCP server that runs already, over streamable HTTP.

    Attributes:
        url: Where messages are POSTed.
        headers: Sent with every request.
        tool_errors: What a result with ``isError`` does.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    tool_errors: ToolErrors = "fail"


PluginConfig: TypeAlias = (
    BuiltinConfig
    | StdioConfig
    | HttpConfig
    | HttpCommandConfig
    | InProcessConfig
    | MockConfig
    | McpConfig
    | McpUrlConfig
)
"""How a plugin is reached."""


@dataclass(frozen=True, slots=True)
class Config:
    """What a runtime is made of; read one with `load_config`.

    Attributes:
        plugins: By name.
        routes: Which components each of them serves.
        working_directory: Where servers run and relative paths start.
        retry: What is done about steps that failed.
        step_timeout: Seconds that a component has; None when nothing is said.
        state: The state file that blobs and runs are kept in; None for memory.
        file: Where it was read from.
        warnings: What was read and has no effect here.
        values: The configuration as it was written.
    """

    plugins: Mapping[str, PluginConfig]
    routes: tuple[Route, ...]
    working_directory: Path
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    step_timeout: float | None = None
    state: StateOptions | None = None
    file: Path | None = None
    warnings: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
