"""The operation that tells the events of a run, as an event stream (SSE)."""

import re
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from stepflow_sdk.errors import NotFound
from stepflow_sdk.protocol import FlowResultFailed
from stepflow_sdk.runtime.engine import Engine
from stepflow_sdk.runtime.runs import RunRecord
from stepflow_sdk.runtime.service.events import EventHub, error_fields
from stepflow_sdk.runtime.service.messages import EventsQuery
from stepflow_sdk.runtime.service.operations import API, Answer, Asked, Operation
from stepflow_sdk.runtime.service.requests import refuse
from stepflow_sdk.runtime.service.run_views import time_text
from stepflow_sdk.transports.http.messages import ascii_frame

if TYPE_CHECKING:
    from sse_starlette import ServerSentEvent
    from starlette.responses import Response

__all__ = ["EventOperations"]

_ID: Final = re.compile(r"([0-9a-f]{8})-([0-9]{1,12})")
_PING_SECONDS: Final = 15


class EventOperations:
    """Tells what happens in a run as it happens.

    Args:
        engine: Runs the flows.
        hub: Has the events of this process.
    """

    def __init__(self, engine: Engine, hub: EventHub) -> None:
        self._engine = engine
        self._hub = hub

    def operations(self) -> list[Operation]:
        """What is offered; upstream up to 0.11 has no such operation."""
        return [
            Operation(
                "GET",
                f"{API}/runs/{{run_id}}/events",
                "getRunEvents",
                "What happens in a run, as an event stream that ends with the run",
                self.events,
                {
                    200: Answer("Events with an id, a name, and a JSON object", {"text/event-stream": None}),
                    204: Answer("The run has ended, and everything was told"),
                },
                query=EventsQuery,
                errors=[404],
                tag="runs",
            )
        ]

    async def events(self, asked: Asked) -> "Response":
        """From the beginning, or behind the event that ``Last-Event-ID`` names, as far as events are kept."""
        from sse_starlette import EventSourceResponse
        from starlette.responses import Response

        run = await self._engine.runs.get(asked.path["run_id"])
        if run is None:
            raise NotFound(f"there is no run {asked.path['run_id']}", data={"kind": "run"})
        after = self._after(asked.request.headers.get("last-event-id") or asked.query.last_event_id)
        last = self._hub.last(run.run_id)
        if after is not None and last is not None and after >= last:
            return Response(status_code=204)
        return EventSourceResponse(self._stream(run, after), ping=_PING_SECONDS, sep="\n")

    def _after(self, text: str | None) -> int | None:
        """The number of the last event that is known; None where that was told by another process, or nothing was."""
        if not text:
            return None
        found = _ID.fullmatch(text)
        if found is None:
            raise refuse(400, f"the id of an event looks like '{self._hub.epoch}-12', unlike {text[:80]!r}")
        return int(found[2]) if found[1] == self._hub.epoch else None

    async def _stream(self, run: RunRecord, after: int | None) -> AsyncGenerator["ServerSentEvent", None]:
        from sse_starlette import ServerSentEvent

        if after is None:
            async for name, fields in self._stored(run):
                known = {key: value for key, value in fields.items() if value is not None}
                yield ServerSentEvent(_data(known), event=name, sep="\n")
        async for event in self._hub.follow(run.run_id, after or 0):
            fields = {**event.fields, "at": time_text(event.fields["at"])} if "at" in event.fields else event.fields
            yield ServerSentEvent(_data(fields), event=event.name, id=f"{self._hub.epoch}-{event.number}", sep="\n")

    async def _stored(self, run: RunRecord) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        """What the store knows of the time that the hub does not know."""
        known = self._hub.knows(run.run_id)
        if known and run.created_at >= self._hub.began:
            return
        until = self._hub.began if known else float("inf")
        base = {"runId": run.run_id}
        started = {"flowId": run.flow_id, "flowName": run.flow_name, "items": run.items}
        yield "runStarted", {**base, "at": time_text(run.created_at), **started}
        for step in await self._engine.runs.steps(run.run_id):
            if step.status != "running" and (step.ended_at or 0.0) < until:
                told = {"itemIndex": step.item, "stepId": step.step_id, "component": step.component}
                at = time_text(step.ended_at or run.created_at)
                yield "stepEnded", {**base, "at": at, **told, "attempt": step.attempt, "status": step.status}
        for item in await self._engine.runs.items(run.run_id):
            if item.completed_at < until:
                fields: dict[str, Any] = {"itemIndex": item.item, "status": item.status}
                if isinstance(item.result, FlowResultFailed):
                    fields["error"] = error_fields(item.result.error)
                yield "itemEnded", {**base, "at": time_text(item.completed_at), **fields}
        if not known and run.completed_at is not None:
            yield "runEnded", {**base, "at": time_text(run.completed_at), "status": run.status}


def _data(fields: dict[str, Any]) -> str:
    return ascii_frame(msgspec.json.encode(fields)).decode("ascii")
