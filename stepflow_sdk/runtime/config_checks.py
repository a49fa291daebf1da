"""Static checks of a configuration (section c.9 of the flow format): plugins and routes that do nothing."""

from collections.abc import Mapping
from typing import Any, Final

from stepflow_sdk.flows import Diagnostic, Document, did_you_mean
from stepflow_sdk.flows.diagnostics import Level, Reporter
from stepflow_sdk.flows.values import PathParts, is_array, is_object

__all__ = ["check_config"]

_NO_PLUGINS: Final = (1200, "noPluginsConfigured")
_NO_ROUTES: Final = (1201, "noRoutingRulesConfigured")
_UNUSED_PLUGIN: Final = (1202, "unusedPlugin")
_UNKNOWN_PLUGIN: Final = (2200, "invalidRouteReference")


def check_config(config: Document | Mapping[str, Any]) -> list[Diagnostic]:
    """Find plugins and routes of a configuration that lead nowhere.

    Args:
        config: The configuration as it is written. What has not the form of one is left to `load_config`.

    Returns:
        The findings; one of level ``error`` keeps a runtime from starting.
    """
    document = config if isinstance(config, Document) else None
    value = config.value if isinstance(config, Document) else config
    return _Checker(_object(value), Reporter(document)).check()


class _Checker:
    def __init__(self, config: Mapping[str, Any], reporter: Reporter) -> None:
        self._plugins = _object(config.get("plugins"))
        self._routes = _object(config.get("routes"))
        self._reporter = reporter
        self._used: set[str] = set()

    def check(self) -> list[Diagnostic]:
        if not self._plugins:
            self._add(_NO_PLUGINS, ("plugins",), "the configuration has no plugins, so that no component can be called")
        if not any(is_array(rules) and rules for rules in self._routes.values()):
            self._add(_NO_ROUTES, ("routes",), "the configuration has no routes, so that no component can be called")
        for pattern, rules in self._routes.items():
            for index, rule in enumerate(rules if is_array(rules) else ()):
                self._check_rule(_object(rule).get("plugin"), ("routes", pattern, index, "plugin"))
        for name in self._plugins:
            if name not in self._used:
                self._add(_UNUSED_PLUGIN, ("plugins", name), f"no route leads to plugin {name[:60]!r}")
        return self._reporter.findings

    def _check_rule(self, plugin: object, path: PathParts) -> None:
        if not isinstance(plugin, str):
            return
        self._used.add(plugin)
        if plugin not in self._plugins:
            hint = did_you_mean(plugin, self._plugins) or f"plugins are: {', '.join(self._plugins)[:200] or 'none'}"
            self._add(_UNKNOWN_PLUGIN, path, f"there is no plugin {plugin[:60]!r}; {hint}", level="error")

    def _add(self, finding: tuple[int, str], path: PathParts, message: str, *, level: Level = "warning") -> None:
        self._reporter.add(finding, path, message, level=level)


def _object(value: object) -> Mapping[str, Any]:
    return value if is_object(value) else {}
