"""A configuration of this runtime as the published orchestrators 0.9 to 0.11 read it (section 3 of the dialects).

They know servers over HTTP alone, and start them with an empty environment. So a server that speaks on stdin and stdout
here is started with ``--http`` there, which every ``StepflowServer`` understands, a server in process becomes a program
of its own, and each gets the environment that it has here.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from typing import Any, Final

from stepflow_sdk.errors import InvalidConfig
from stepflow_sdk.flows import ValueKey
from stepflow_sdk.flows.values import is_array, is_object
from stepflow_sdk.runtime.config import (
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
from stepflow_sdk.runtime.environment import child_environment
from stepflow_sdk.runtime.plugins.http import HealthCheck

__all__ = ["orchestrator_config", "started_server"]

_HTTP: Final = "--http"
_IN_MEMORY: Final = {"type": "inMemory"}
_PASSED_ON: Final = ("retry", "blobApi", "recovery", "leaseManager")
_SERVE_MODULE: Final = (
    "import importlib, operator, sys; "
    "module, _, name = sys.argv.pop(1).partition(':'); "
    "operator.attrgetter(name)(importlib.import_module(module)).run()"
)
# JSON writes these as they are, and YAML takes them for the end of a line or refuses them.
_NOT_IN_YAML: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def orchestrator_config(config: Config) -> str:
    """The text of the configuration, in YAML.

    Nothing is kept: what an orchestrator would write into a file of this runtime would not be read by it again.

    Raises:
        InvalidConfig: A plugin is one that the orchestrators do not have; the message names it.
    """
    if "routes" not in config.values:
        raise InvalidConfig("a configuration that was not read by load_config cannot be handed to an orchestrator")
    document: dict[str, Any] = {
        "workingDirectory": str(config.working_directory.resolve()),
        "plugins": {name: _plugin(name, plugin, config) for name, plugin in config.plugins.items()},
        "routes": config.values["routes"],
        "storageConfig": _IN_MEMORY,
        "stateStore": _IN_MEMORY,
        **{key: config.values[key] for key in _PASSED_ON if key in config.values},
    }
    return _flow_style(document)


def started_server(plugin: PluginConfig, config: Config) -> tuple[tuple[str, ...], dict[str, str]] | None:
    """The command and the whole environment of a server that an orchestrator starts; None for other plugins."""
    match plugin:
        case StdioConfig():
            args = plugin.command[1:] if _HTTP in plugin.command else (*plugin.command[1:], _HTTP)
            command, env = (plugin.command[0], *args), plugin.env
        case HttpCommandConfig():
            command, env = plugin.command, plugin.env
        case InProcessConfig():
            command = (sys.executable, "-c", _SERVE_MODULE, plugin.server, _HTTP)
            env = {"PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path)}  # noqa: PTH100  ("" too)
        case _:
            return None
    whole = child_environment(env)
    program = command[0]
    if os.path.dirname(program):  # noqa: PTH120  (a name alone is looked for in PATH)
        # Links are left alone: the interpreter of a virtual environment is one.
        program = os.path.abspath(config.working_directory / program)  # noqa: PTH100  (pathlib has only the other kind)
    else:
        program = shutil.which(program, path=whole.get("PATH")) or program
    return (program, *command[1:]), whole


def _plugin(name: str, plugin: PluginConfig, config: Config) -> Any:
    started = started_server(plugin, config)
    if started is not None:
        server = {"type": "stepflow", **_command(*started)}
        if isinstance(plugin, HttpCommandConfig):
            _refuse_headers(name, plugin.headers)
            server["healthCheck"] = _health_check(plugin.health_check)
        return server
    match plugin:
        case MockConfig():
            return config.values["plugins"][name]
        case HttpConfig():
            _refuse_headers(name, plugin.headers)
            return {"type": "stepflow", "url": plugin.url}
        case McpConfig():
            return {"type": "mcp", **_command(plugin.command, plugin.env)}
        case McpUrlConfig():
            raise InvalidConfig(f"plugin {name!r}: an MCP server at a 'url' is an addition of the local engine")
        case _:
            return {"type": "builtin"}


def _health_check(check: HealthCheck) -> dict[str, Any]:
    return {
        "path": check.path,
        "timeoutMs": round(check.timeout * 1000),
        "retryDelayMs": round(check.retry_delay * 1000),
    }


def _refuse_headers(name: str, headers: Mapping[str, str]) -> None:
    if headers:
        raise InvalidConfig(f"plugin {name!r}: 'headers' are an addition of the local engine; orchestrators send none")


def _command(command: tuple[str, ...], env: Mapping[str, str]) -> dict[str, Any]:
    return {
        "command": command[0],
        "args": [_escaped(word) for word in command[1:]],
        "env": {key: _escaped(value) for key, value in env.items()},
    }


def _escaped(text: str) -> str:
    """A text that stands for itself once variables are filled in, which was done here already."""
    return text.replace("\\", "\\\\").replace("$", "\\$")


def _flow_style(value: Any) -> str:
    """A JSON value as YAML on one line, where the inputs of mock components may be keys of any kind."""
    if is_object(value):
        fields = [
            f"? {_flow_style(key.value if isinstance(key, ValueKey) else key)} : {_flow_style(inner)}"
            for key, inner in value.items()
        ]
        return f"{{{', '.join(fields)}}}"
    if is_array(value):
        return f"[{', '.join(map(_flow_style, value))}]"
    text = json.dumps(value, ensure_ascii=False)
    return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
