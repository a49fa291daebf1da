"""From what a user says, servers or a configuration, to plugins and routes."""

import importlib
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

from stepflow_sdk.errors import DefinitionError, InvalidConfig
from stepflow_sdk.flows import did_you_mean
from stepflow_sdk.runtime.config import (
    BuiltinConfig,
    Config,
    HttpCommandConfig,
    HttpConfig,
    InProcessConfig,
    McpConfig,
    McpUrlConfig,
    MockConfig,
    PluginConfig,
    StdioConfig,
)
from stepflow_sdk.runtime.plugins.builtin import BuiltinPlugin
from stepflow_sdk.runtime.plugins.http import http_command_plugin, http_plugin
from stepflow_sdk.runtime.plugins.inprocess import MemoryServer, inprocess_plugin
from stepflow_sdk.runtime.plugins.mcp import mcp_command_plugin, mcp_url_plugin
from stepflow_sdk.runtime.plugins.mock import MockPlugin
from stepflow_sdk.runtime.plugins.plugin import Plugin
from stepflow_sdk.runtime.plugins.remote import STEP_SECONDS
from stepflow_sdk.runtime.plugins.stdio import stdio_plugin
from stepflow_sdk.runtime.retries import RetryPolicy
from stepflow_sdk.runtime.routes import Route, Rule
from stepflow_sdk.runtime.stores.options import StateOptions

__all__ = ["Assembly", "Server", "from_config", "from_servers"]

Server: TypeAlias = MemoryServer | Plugin | str | Sequence[str]
"""A server object, the URL of one that speaks HTTP, a command that starts one and speaks on its stdin and stdout, or a
plugin of one's own."""

_BUILTIN_PATTERN = "/builtin/{*component}"


class Assembly(NamedTuple):
    """What a runtime is made of."""

    plugins: Mapping[str, Plugin]
    routes: Sequence[Route]
    retry: RetryPolicy | None = None
    state: StateOptions | None = None


def from_servers(servers: Sequence[Server | Mapping[str, Server]], step_timeout: float | None) -> Assembly:
    """A single server at ``/``, servers with names each under ``/<name>/``, the builtin components under ``/builtin/``.

    Raises:
        DefinitionError: One is not a server, two have one name, or several have none.
    """
    named: dict[str, Server] = {}
    single: list[Server] = []
    for entry in servers:
        if not isinstance(entry, Mapping):
            single.append(entry)
            continue
        for name, server in entry.items():
            prefix = name.strip("/")
            if not prefix or "{" in prefix or prefix in named or prefix == "builtin":
                raise DefinitionError(
                    f"{name!r} cannot be the prefix of a server: it is empty, taken, or has braces in it"
                )
            named[prefix] = server
    if len(single) > 1:
        raise DefinitionError(
            f"{len(single)} servers without a name; say under which prefix each one answers: "
            "LocalRuntime({'a': …, 'b': …})"
        )
    plugins: dict[str, Plugin] = {"builtin": BuiltinPlugin()}
    routes = [Route(_BUILTIN_PATTERN, (Rule("builtin"),))]
    for prefix, server in named.items():
        plugins[prefix] = _plugin(prefix, server, step_timeout)
        routes.append(Route(f"/{prefix}/{{*component}}", (Rule(prefix),)))
    if single:
        plugins["server"] = _plugin("server", single[0], step_timeout)
        routes.append(Route("/{*component}", (Rule("server"),)))
    return Assembly(plugins, routes)


def _plugin(name: str, server: Server, step_timeout: float | None) -> Plugin:
    if isinstance(server, str):
        return _at_url(name, server, step_timeout)
    if isinstance(server, (list, tuple)):
        command = [os.fspath(word) for word in cast("Sequence[str]", server)]
        if not command:
            raise DefinitionError("the command of a server is empty")
        return stdio_plugin(name, command, step_timeout=step_timeout)
    if callable(getattr(server, "open_memory", None)):
        return inprocess_plugin(name, cast("MemoryServer", server), step_timeout=step_timeout)
    if callable(getattr(server, "execute", None)):
        return cast("Plugin", server)
    raise DefinitionError(
        f"an instance of {type(server).__name__} is not a server; "
        "give a StepflowServer, the URL of one, a command as a list, or a plugin"
    )


def _at_url(name: str, url: str, step_timeout: float | None) -> Plugin:
    if "://" not in url:
        raise DefinitionError(f"a command is a list of its words, not one text; write {_words(url)!r}")
    try:
        return http_plugin(name, url, step_timeout=step_timeout)
    except ValueError as error:
        raise DefinitionError(str(error)) from None


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def from_config(config: Config, step_timeout: float | None) -> Assembly:
    """The plugins and routes of a configuration.

    Args:
        config: The configuration.
        step_timeout: Seconds that a component has; the default gives way to what the configuration says.

    Raises:
        InvalidConfig: A server in process cannot be imported.
    """
    if config.step_timeout is not None and step_timeout == STEP_SECONDS:
        step_timeout = config.step_timeout
    plugins = {name: _configured(name, plugin, config, step_timeout) for name, plugin in config.plugins.items()}
    return Assembly(plugins, config.routes, config.retry, config.state)


def _configured(  # noqa: PLR0911  # one return a type
    name: str, plugin: PluginConfig, config: Config, step_timeout: float | None
) -> Plugin:
    match plugin:
        case BuiltinConfig():
            return BuiltinPlugin(
                name,
                working_directory=config.working_directory,
                load_file_from=plugin.load_file_from,
                openai=plugin.openai,
            )
        case StdioConfig():
            directory = config.working_directory
            return stdio_plugin(
                name, plugin.command, env=plugin.env, working_directory=directory, step_timeout=step_timeout
            )
        case HttpConfig():
            return http_plugin(name, plugin.url, headers=plugin.headers, step_timeout=step_timeout)
        case HttpCommandConfig():
            return http_command_plugin(
                name,
                plugin.command,
                env=plugin.env,
                working_directory=config.working_directory,
                headers=plugin.headers,
                health_check=plugin.health_check,
                step_timeout=step_timeout,
            )
        case McpConfig():
            return mcp_command_plugin(
                name,
                plugin.command,
                env=plugin.env,
                working_directory=config.working_directory,
                tool_errors=plugin.tool_errors,
                step_timeout=step_timeout,
            )
        case McpUrlConfig():
            return mcp_url_plugin(
                name,
                plugin.url,
                headers=plugin.headers,
                tool_errors=plugin.tool_errors,
                step_timeout=step_timeout,
            )
        case MockConfig():
            return MockPlugin(name, plugin.components)
        case InProcessConfig():
            return inprocess_plugin(name, _imported(name, plugin.server, config), step_timeout=step_timeout)


def _imported(name: str, path: str, config: Config) -> MemoryServer:
    where = f"{config.file}: " if config.file is not None else ""
    # Servers that are programs find the modules beside them too; last, so that nothing else is found elsewhere for it.
    directory = str(config.working_directory.absolute())
    if directory not in sys.path:
        sys.path.append(directory)
    module_name, _, attribute = path.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        # Whatever a module does when it is imported is a mistake of its author, who looks for it by this message.
        said = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        raise InvalidConfig(f"{where}plugin {name!r}: cannot import {module_name!r}: {said}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            hint = did_you_mean(part, [known for known in dir(found) if not known.startswith("_")])
            said = f"; {hint}" if hint else ""
            raise InvalidConfig(f"{where}plugin {name!r}: {module_name!r} has no {attribute!r}{said}")
        found = getattr(found, part)
    if not callable(getattr(found, "open_memory", None)):
        raise InvalidConfig(f"{where}plugin {name!r}: {path!r} is an instance of {type(found).__name__}, not a server")
    return cast("MemoryServer", found)
