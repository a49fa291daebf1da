"""Counts the requests to the REST API, and shows what was counted."""

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from stepflow_sdk.runtime.run_metrics import RuntimeMetrics
from stepflow_sdk.runtime.service.operations import Answer, Asked, Operation
from stepflow_sdk.transports.http.messages import Message, Receive, Scope, Send

if TYPE_CHECKING:
    from starlette.responses import Response

__all__ = ["ROUTE", "MetricsOperations", "measured"]

ROUTE: Final = "stepflow.route"
"""Where a scope has the path of the operation that serves it."""

_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_GONE: Final = 499
"""Stands for an answer that nobody waited for, as proxies have it."""


class MetricsOperations:
    """What was counted, in the text form of Prometheus."""

    def __init__(self, metrics: RuntimeMetrics) -> None:
        self._metrics = metrics

    def operations(self) -> list[Operation]:
        """What is offered."""
        answer = {200: Answer("The text form of Prometheus", {"text/plain": None})}
        return [Operation("GET", "/metrics", "metrics", "What was counted", self.metrics, answer, tag="health")]

    async def metrics(self, asked: Asked) -> "Response":  # noqa: ARG002  (see `Handler`)
        """As it is now."""
        from starlette.responses import Response

        return Response(self._metrics.text(), media_type=None, headers={"content-type": self._metrics.content_type})


async def measured(
    metrics: RuntimeMetrics,
    app: Callable[[Scope, Receive, Send], Awaitable[None]],
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Have an application serve a request, and count it."""
    status = _GONE

    async def watched(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        await send(message)

    began = time.perf_counter()
    metrics.request_began()
    try:
        await app(scope, receive, watched)
    except Exception:
        status = 500
        raise
    finally:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        metrics.request_ended(scope.get(ROUTE, ""), method, status, time.perf_counter() - began)
