"""Reads configurations and finds them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from stepflow_sdk.errors import InvalidConfig, InvalidDocument, InvalidValue
from stepflow_sdk.flows import Document, did_you_mean, is_mock_behaviors, parse_path, read_document
from stepflow_sdk.flows.values import PathParts
from stepflow_sdk.runtime.config import BuiltinConfig, Config, InProcessConfig, PluginConfig
from stepflow_sdk.runtime.config_builtin import check_builtin, read_builtin
from stepflow_sdk.runtime.config_fields import Fields
from stepflow_sdk.runtime.config_mcp import read_mcp
from stepflow_sdk.runtime.config_mock import read_mock
from stepflow_sdk.runtime.config_retry import read_retry
from stepflow_sdk.runtime.config_stepflow import read_stepflow
from stepflow_sdk.runtime.config_storage import read_state
from stepflow_sdk.runtime.given import given_json
from stepflow_sdk.runtime.routes import Condition, Route, Rule, overlap

__all__ = ["CONFIG_NAMES", "find_config", "load_config"]

CONFIG_NAMES: Final = ("stepflow-config.yml", "stepflow-config.yaml", "stepflow_config.yml", "stepflow_config.yaml")
"""What a configuration is called that is found without being named."""

_KEYS: Final = (
    "plugins",
    "routes",
    "workingDirectory",
    "stateStore",
    "storageConfig",
    "retry",
    "builtin",
    "stepTimeoutSecs",
)
_WITHOUT_EFFECT: Final = ("blobApi", "leaseManager", "recovery")
_SUPPORTED: Final = "'builtin', 'stepflow', 'mcp', 'mock' and 'inprocess'"
_KNOWN_TYPES: Final = ("builtin", "stepflow", "inprocess", "mcp", "mock", "grpc", "nats")
_TYPE_HINTS: Final = {
    "grpc": "gRPC came with 0.12 and is not supported; use 'stepflow'",
    "nats": "NATS came with 0.12 and is not supported; use 'stepflow'",
    "python": "upstream has no such type either; use 'stepflow'",
}


def find_config(flow: str | os.PathLike[str] | None = None) -> Path | None:
    """Find the configuration for a flow: beside its file, else in the current directory (section g of the format).

    Returns:
        Its path, or None when there is none.

    Raises:
        InvalidConfig: One of the places has more than one.
    """
    places = [] if flow is None else [Path(flow).parent]
    for place in (*places, Path()):
        found = [place / name for name in CONFIG_NAMES if (place / name).is_file()]
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise InvalidConfig(f"{place.resolve()}: more than one configuration: {names}; say which one counts")
        if found:
            return found[0]
    return None


def load_config(
    source: str | os.PathLike[str] | Mapping[str, Any],
    *,
    working_directory: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Read a configuration.

    Args:
        source: The path of a ``.yml``, ``.yaml`` or ``.json`` file, or its content as an object.
        working_directory: What ``workingDirectory`` is relative to; by default the directory of the file, or the
            current one.
        environ: The environment variables that ``args`` and ``env`` may name; by default those of the process.

    Raises:
        InvalidConfig: It cannot be read, or something in it is wrong; the message names file, line and key.
    """
    document, value = _read(source)
    file = Path(source) if isinstance(source, (str, os.PathLike)) else None
    base = Path(working_directory or (file.parent if file is not None else Path()))
    root = Fields(value, (), "the configuration", document)
    root.only((*_KEYS, *_WITHOUT_EFFECT))
    for key in ("plugins", "routes"):
        root.need(key, f"{key}: {{}}")
    working = base / (root.text("workingDirectory") or "")
    plugins = _read_plugins(root, os.environ if environ is None else environ)
    return Config(
        plugins=plugins,
        routes=_read_routes(root, plugins),
        retry=read_retry(root),
        step_timeout=_read_step_timeout(root),
        state=read_state(root, working),
        working_directory=working,
        file=file,
        warnings=tuple(f"{key!r} has no effect in this runtime yet" for key in _WITHOUT_EFFECT if key in root),
        values=value,
    )


def _read(source: str | os.PathLike[str] | Mapping[str, Any]) -> tuple[Document | None, Any]:
    try:
        if isinstance(source, Mapping):
            return None, given_json(source, "the configuration")
        document = read_document(source, value_keys=is_mock_behaviors)
    except (InvalidDocument, InvalidValue) as error:
        raise InvalidConfig(str(error)) from None
    return document, document.value


def _read_step_timeout(root: Fields) -> float | None:
    seconds = root.number("stepTimeoutSecs")
    if seconds == 0:
        root.refuse("'stepTimeoutSecs' is more than 0: no step could end in no time", "stepTimeoutSecs")
    return seconds


# ---- plugins ----------------------------------------------------------------------------------------------------


def _read_plugins(root: Fields, environ: Mapping[str, str]) -> dict[str, PluginConfig]:
    plugins = root.inner("plugins", "'plugins'")
    builtin = read_builtin(root, environ)
    if plugins is None:
        return {}
    return {
        name: _read_plugin(plugins.inner_at(plugins.value(name), f"plugin {name!r}", name), name, environ, builtin)
        for name in plugins
    }


def _read_plugin(fields: Fields, name: str, environ: Mapping[str, str], builtin: BuiltinConfig) -> PluginConfig:
    fields.need("type", "type: stepflow")
    kind = fields.text("type") or ""
    match kind:
        case "builtin":
            check_builtin(fields)
            return builtin
        case "stepflow":
            return read_stepflow(fields, name, environ)
        case "mcp":
            return read_mcp(fields, name, environ)
        case "mock":
            return read_mock(fields, name)
        case "inprocess":
            fields.only(("type", "server"))
            fields.need("server", "server: my_package.my_module:server")
            server = fields.text("server") or ""
            module, colon, attribute = server.partition(":")
            if not (module and colon and attribute):
                fields.refuse(f"'server' of plugin {name!r} is 'module:name', not {server!r}", "server")
            return InProcessConfig(server)
        case _:
            hint = _TYPE_HINTS.get(kind) or did_you_mean(kind, _KNOWN_TYPES)
            detail = f"{hint}; supported are" if hint else "supported are"
            return fields.refuse(f"plugin {name!r} has the type {kind!r}: {detail} {_SUPPORTED}", "type")


# ---- routes -----------------------------------------------------------------------------------------------------


def _read_routes(root: Fields, plugins: Mapping[str, PluginConfig]) -> tuple[Route, ...]:
    patterns = root.inner("routes", "'routes'")
    if patterns is None:
        return ()
    routes: list[Route] = []
    taken: dict[tuple[Any, ...], str] = {}
    for pattern in patterns:
        rules = patterns.array(pattern)
        read = [
            _read_rule(patterns.inner_at(rule, f"a rule of the route {pattern!r}", pattern, index), plugins)
            for index, rule in enumerate(rules)
        ]
        try:
            route = Route(pattern, tuple(read))
        except InvalidConfig as error:
            patterns.refuse(str(error), pattern)
        if (other := taken.setdefault(route.compiled.rank, pattern)) != pattern:
            patterns.refuse(overlap(other, pattern), pattern)
        routes.append(route)
    return tuple(routes)


def _read_rule(fields: Fields, plugins: Mapping[str, PluginConfig]) -> Rule:
    fields.only(("plugin", "component", "conditions", "componentAllow", "componentDeny"))
    fields.need("plugin", "plugin: python")
    plugin = fields.text("plugin") or ""
    if plugin not in plugins:
        hint = did_you_mean(plugin, plugins) or f"plugins are: {', '.join(plugins) or 'none'}"
        fields.refuse(f"there is no plugin {plugin!r}; {hint}", "plugin")
    return Rule(
        plugin=plugin,
        component=fields.text("component"),
        conditions=tuple(
            _read_condition(fields.inner_at(condition, "a condition", "conditions", index))
            for index, condition in enumerate(fields.array("conditions"))
        ),
        allow=_components(fields, "componentAllow") if "componentAllow" in fields else None,
        deny=_components(fields, "componentDeny"),
    )


def _components(fields: Fields, key: str) -> frozenset[str]:
    return frozenset(text if text.startswith("/") else f"/{text}" for text in fields.texts(key))


def _read_condition(fields: Fields) -> Condition:
    fields.only(("path", "value"))
    if "value" not in fields and "value" not in iter(fields):
        fields.need("value", "value: true")
    path = fields.value("path")
    parts: PathParts = ()
    try:
        parts = (
            parse_path(path) if path is None or isinstance(path, str) else fields.refuse("'path' is a string", "path")
        )
    except ValueError as error:
        fields.refuse(str(error), "path")
    return Condition(parts, fields.value("value"))
