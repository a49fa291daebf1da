"""The operations that say what there is: components, health, readiness, and the description of the API."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from stepflow_sdk import __version__
from stepflow_sdk.runtime.listing import components_by_plugin
from stepflow_sdk.runtime.plugins.plugin import Plugin
from stepflow_sdk.runtime.routes import Router
from stepflow_sdk.runtime.service.messages import (
    Components,
    ComponentsQuery,
    Health,
    Readiness,
    ReadyState,
    ServedComponent,
)
from stepflow_sdk.runtime.service.operations import API, JSON, Answer, Asked, Operation, json_answer

if TYPE_CHECKING:
    from starlette.responses import Response

__all__ = ["CatalogOperations", "HealthOperations"]


class CatalogOperations:
    """The components of all plugins."""

    def __init__(self, router: Router, plugins: Mapping[str, Plugin]) -> None:
        self._router = router
        self._plugins = plugins

    def operations(self) -> list[Operation]:
        """What is offered."""
        return [
            Operation(
                "GET",
                f"{API}/components",
                "listComponents",
                "The components of all plugins, which are started for it",
                self.components,
                {200: Answer("The components", {JSON: Components})},
                query=ComponentsQuery,
                errors=[502],
                tag="components",
            )
        ]

    async def components(self, asked: Asked) -> "Response":
        """Under their own names, as upstream lists them, with the paths that flows use beside."""
        query: ComponentsQuery = asked.query
        served = [
            ServedComponent(
                info.component,
                list(self._router.paths_of(name, info.component)),
                name,
                info.description,
                info.input_schema if query.include_schemas else None,
                info.output_schema if query.include_schemas else None,
            )
            for name, listed in (await components_by_plugin(self._plugins)).items()
            for info in listed
        ]
        return json_answer(Components(sorted(served, key=lambda entry: (entry.component, entry.plugin))))


class HealthOperations:
    """Whether the service is there, and takes runs."""

    def __init__(self, readiness: Callable[[], ReadyState], document: Callable[[], Any]) -> None:
        self._readiness = readiness
        self._document = document

    def operations(self) -> list[Operation]:
        """What is offered; ``health`` beside ``/api/v1`` as well, where load balancers look for it."""
        health = {200: Answer("It answers", {JSON: Health})}
        ready = {200: Answer("Runs are taken", {JSON: Readiness}), 503: Answer("They are not", {JSON: Readiness})}
        described: dict[int, Answer] = {200: Answer("The OpenAPI document", {JSON: None})}
        about = "The description of this API"
        return [
            Operation(
                "GET",
                f"{API}/health",
                "healthCheck",
                "Whether it answers",
                self.health,
                health,
                tag="health",
                is_open=True,
            ),
            Operation("GET", "/health", "health", "The same", self.health, health, tag="health", is_open=True),
            Operation(
                "GET", "/ready", "ready", "Whether runs are taken", self.ready, ready, tag="health", is_open=True
            ),
            Operation("GET", f"{API}/openapi.json", "openApi", about, self.describe, described, tag="health"),
            Operation("GET", "/openapi.json", "rootOpenApi", about, self.describe, described, tag="health"),
        ]

    async def health(self, asked: Asked) -> "Response":  # noqa: ARG002  (see `Handler`)
        """In the words of upstream."""
        return json_answer(Health("healthy", datetime.now(UTC).isoformat(), __version__, "stepflow-sdk"))

    async def ready(self, asked: Asked) -> "Response":  # noqa: ARG002  (see `Handler`)
        """Not while too many run, once the state file has failed, and from the signal on that ends the process."""
        state = self._readiness()
        answer = json_answer(Readiness(state), 200 if state == "ready" else 503)
        if state == "overloaded":
            answer.headers["retry-after"] = "1"
        return answer

    async def describe(self, asked: Asked) -> "Response":  # noqa: ARG002  (see `Handler`)
        """Made of the same table as the routes."""
        return json_answer(self._document())
