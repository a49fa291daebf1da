"""Calls the component of one step, and makes of the end what the flow says."""

import logging
from collections.abc import Mapping
from typing import Any

from stepflow_sdk.errors import ComponentNotFound, ExpressionError, SkipStep, WireError
from stepflow_sdk.flows import Failure, Step
from stepflow_sdk.protocol import ObservabilityContext
from stepflow_sdk.runtime.failures import Skipped, failure_of, internal_failure, routing_failure
from stepflow_sdk.runtime.plugins.plugin import ComponentCall, Plugin
from stepflow_sdk.runtime.routes import Router

__all__ = ["StepCaller"]

_log = logging.getLogger("stepflow_sdk.runtime")


class StepCaller:
    """Calls components through the plugins that serve them.

    Args:
        router: Finds the plugin.
        plugins: By their names in the routes.
    """

    def __init__(self, router: Router, plugins: Mapping[str, Plugin]) -> None:
        self.router = router
        self.plugins = plugins

    async def call(self, component: str, input: Any, ids: ObservabilityContext, *, attempt: int = 1) -> Any:
        """Call a component by its path in flows.

        Raises:
            ComponentNotFound: No plugin serves it, or its server does not have it.
            ExpressionError: A condition of its route cannot be evaluated.
            WireError: It failed.
            SkipStep: It asks that its step be skipped.
            ServerLost: Its server could not be reached, or went away.
        """
        target = self.router.route(component, input)
        return await self.plugins[target.plugin].execute(ComponentCall(target.component, input, attempt, ids))

    async def run(self, step: Step, input: Any, ids: ObservabilityContext) -> tuple[Any, Failure | None]:
        """Run a step.

        Returns:
            What its dependants see (a JSON value, a `Failure`, or `Skipped`), and the failure of its execution, which
            is there as well when ``onError`` made a success of it.
        """
        try:
            target = self.router.route(step.component, input)
        except (ComponentNotFound, ExpressionError) as error:
            # onError covers the execution of the component, not the search for it (section c.3).
            failure = routing_failure(error.message)
            return failure, failure
        plugin = self.plugins[target.plugin]
        try:
            return await plugin.execute(ComponentCall(target.component, input, 1, ids)), None
        except SkipStep as skip:
            return Skipped(skip.reason), None
        except WireError as error:
            failure = failure_of(error, step.id, step.component, wrap=plugin.wraps_errors)
        except Exception as error:
            _log.exception("plugin %r failed on step %r", plugin.name, step.id)
            failure = internal_failure(step.id, step.component, f"{type(error).__name__}: {error}")
        return _after_failure(step, failure), failure


def _after_failure(step: Step, failure: Failure) -> Any:
    """What a failed execution comes to; the one place that knows ``onError``."""
    if step.on_error is not None and step.on_error.action == "useDefault":
        return step.on_error.default_value
    return failure
