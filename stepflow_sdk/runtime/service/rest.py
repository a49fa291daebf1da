"""Operations as an ASGI application."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from stepflow_sdk.errors import NotFound
from stepflow_sdk.flows import did_you_mean
from stepflow_sdk.runtime.run_metrics import RuntimeMetrics
from stepflow_sdk.runtime.service.measuring import ROUTE, measured
from stepflow_sdk.runtime.service.openapi import openapi_document
from stepflow_sdk.runtime.service.operations import API, JSON, Operation
from stepflow_sdk.runtime.service.problems import error_answer
from stepflow_sdk.runtime.service.requests import read_request, refuse
from stepflow_sdk.transports.http.messages import Receive, Scope, Send
from stepflow_sdk.transports.http.policy import HttpPolicy, Refusal

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["RestApi"]


class RestApi:
    """Some operations as an ASGI application.

    Args:
        operations: What is offered.
        policy: Who may use it, and how much.
        metrics: Counts the requests.

    Attributes:
        policy: The same.
    """

    def __init__(
        self, operations: Sequence[Operation], policy: HttpPolicy, metrics: RuntimeMetrics | None = None
    ) -> None:
        self.operations = tuple(operations)
        self.policy = policy
        self._metrics = metrics
        self._document: dict[str, Any] | None = None
        self._open = {operation.path for operation in operations if operation.is_open}
        self._app = self._build()

    @property
    def document(self) -> dict[str, Any]:
        """Its OpenAPI document."""
        if self._document is None:
            self._document = openapi_document(self.operations)
        return self._document

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; an ASGI application for ``http`` scopes."""
        if scope["type"] != "http":
            return
        if self._metrics is None:
            await self._serve(scope, receive, send)
        else:
            await measured(self._metrics, self._serve, scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self.policy.check_source(scope["headers"])
            if scope["path"] not in self._open:
                self.policy.check_caller(scope["headers"])
        except Refusal as refusal:
            await _error_response(refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def stop(self) -> None:
        """End what would go on for ever, because the service ends."""

    def _build(self) -> "Starlette":
        from starlette.applications import Starlette
        from starlette.routing import Route

        by_path: dict[str, dict[str, Operation]] = {}
        for operation in self.operations:
            by_path.setdefault(operation.path, {})[operation.method] = operation

        async def missing(request: "Request", _error: Exception) -> "Response":
            path = request.url.path
            known = f"did you mean {API + path!r}?" if API + path in by_path else did_you_mean(path, by_path)
            said = known or "/openapi.json says what there is"
            return _error_response(NotFound(f"there is nothing at {path[:200]!r}; {said}"))

        routes = [Route(path, self._endpoint(methods), methods=list(methods)) for path, methods in by_path.items()]
        app = Starlette(routes=routes, exception_handlers={404: missing, 405: _wrong_method})
        app.router.redirect_slashes = False
        return app

    def _endpoint(self, methods: dict[str, Operation]) -> Any:
        async def serve(request: "Request") -> "Response":
            operation = methods["GET" if request.method == "HEAD" else request.method]
            request.scope[ROUTE] = operation.path
            try:
                return await operation.handler(await read_request(operation, request, self.policy))
            except Exception as error:
                return _error_response(error)

        return serve


def _error_response(error: Exception) -> "Response":
    from starlette.responses import Response

    status, body = error_answer(error)
    headers = {name.decode(): value.decode() for name, value in error.headers} if isinstance(error, Refusal) else {}
    return Response(msgspec.json.encode(body), status, headers, media_type=JSON)


async def _wrong_method(request: "Request", error: Exception) -> "Response":
    headers: dict[str, str] = getattr(error, "headers", None) or {}
    allowed = headers.get("Allow", "")
    refusal = refuse(405, f"{request.method[:20]} does not work here, but {allowed or 'another method'}")
    refusal.headers = [(b"allow", allowed.encode())]
    return _error_response(refusal)
