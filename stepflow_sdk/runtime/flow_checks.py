"""Checks of flows that need to know the components: routes, and types."""

from collections.abc import Mapping
from typing import Any, Final

from stepflow_sdk.errors import ComponentNotFound, InvalidConfig
from stepflow_sdk.flows import (
    ComponentQuestion,
    ComponentSchemas,
    Diagnostic,
    Flow,
    TypeReport,
    did_you_mean,
    type_questions,
)
from stepflow_sdk.flows.diagnostics import Reporter
from stepflow_sdk.flows.values import is_object
from stepflow_sdk.protocol.messages import ComponentInfo
from stepflow_sdk.runtime.listing import components_by_plugin
from stepflow_sdk.runtime.plugins.plugin import Plugin
from stepflow_sdk.runtime.plugins.remote import RemotePlugin
from stepflow_sdk.runtime.routes import Pattern, Router, Target

__all__ = ["check_routes", "check_types"]

_INVALID_COMPONENT: Final = (2500, "invalidComponent")


def check_routes(flow: Flow, router: Router) -> list[Diagnostic]:
    """Find the steps whose component no route serves, whatever its input; they fail when they run.

    A component without a leading slash is left to `check_flow`.
    """
    reporter = Reporter(flow.source)
    for index, step in enumerate(flow.steps):
        if not reporter.has_room("error"):
            break  # to say what was meant takes time
        if step.component.startswith("/"):
            try:
                router.targets(step.component)
            except ComponentNotFound as error:
                said = {"stepId": step.id, "component": step.component}
                path = ("steps", index, "component")
                reporter.add(_INVALID_COMPONENT, path, error.message[:500], level="error", data=said)
    return reporter.findings


async def check_types(flow: Flow, router: Router, plugins: Mapping[str, Plugin], *, strict: bool) -> TypeReport:
    """Check a flow against the schemas that components report; only the servers that it needs are started.

    Raises:
        WireError: A plugin cannot list its components.
        ServerLost: A server cannot be reached.
    """
    needed = {target.plugin for step in flow.steps for target in _targets(router, step.component)}
    listed = await components_by_plugin({name: plugin for name, plugin in plugins.items() if name in needed})
    asking = type_questions(flow, strict=strict)
    answer: ComponentSchemas | None = None
    while True:
        try:
            question = asking.send(answer)
        except StopIteration as done:
            report: TypeReport = done.value
            return report
        answer = _answer(question.component, router, plugins, listed)
        if answer is not None and answer.problem is None:
            inferred = await _inferred(question, router, plugins)
            answer = answer if inferred is None else answer._replace(output=inferred)


def _targets(router: Router, component: str) -> list[Target]:
    try:
        return router.targets(component)
    except ComponentNotFound:
        return []


def _answer(
    component: str, router: Router, plugins: Mapping[str, Plugin], listed: Mapping[str, list[ComponentInfo]]
) -> ComponentSchemas | None:
    targets = _targets(router, component)
    if len(targets) != 1:
        # Without a route it is an error of its own; with several, the input decides.
        return None
    target = targets[0]
    plugin = plugins[target.plugin]
    calls_tools = isinstance(plugin, RemotePlugin) and plugin.calls_tools
    path = f"/{target.component.rpartition('/')[2]}" if calls_tools else target.component
    info = _find(path, listed[target.plugin])
    if info is None:
        known = [info.component for info in listed[target.plugin]]
        hint = did_you_mean(path, known) or f"it has: {', '.join(known)[:300] or 'none'}"
        return ComponentSchemas(problem=f"plugin {target.plugin!r} has no component {path[:60]!r}; {hint}")
    wanted = info.input_schema
    if calls_tools and wanted is not None and wanted.get("type") == "object" and not wanted.get("required"):
        wanted = {**wanted, "type": ["object", "null"]}
    return ComponentSchemas(wanted, info.output_schema)


async def _inferred(
    question: ComponentQuestion, router: Router, plugins: Mapping[str, Plugin]
) -> dict[str, Any] | None:
    """What the server says of the output for this very input, which may be more than it says of the component."""
    (target,) = router.targets(question.component)
    plugin = plugins[target.plugin]
    if not isinstance(plugin, RemotePlugin):
        return None
    schema = question.input_schema
    # On the wire a schema is an object.
    return await plugin.infer_schema(target.component, schema if is_object(schema) else {} if schema else {"not": {}})


def _find(component: str, listed: list[ComponentInfo]) -> ComponentInfo | None:
    by_path = {f"/{info.component.lstrip('/')}": info for info in listed}
    if component in by_path:
        return by_path[component]
    for path, info in by_path.items():
        if "{" in path and _matches(path, component):
            return info
    return None


def _matches(pattern: str, component: str) -> bool:
    try:
        return Pattern(pattern).match(component) is not None
    except (ValueError, InvalidConfig):
        return False
