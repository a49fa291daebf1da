"""The events of runs, kept for those who follow them."""

import time
import uuid
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any, Final, NamedTuple

import anyio

from stepflow_sdk.flows import Failure
from stepflow_sdk.protocol import FlowError, FlowResultFailed
from stepflow_sdk.runtime.events import ItemEnded, RunEnded, RunEvent, RunStarted, StepEnded, StepRetried

__all__ = ["EventHub", "ToldEvent", "error_fields"]

_KEPT_EVENTS: Final = 1000
"""Of each run, so many of the latest events are kept."""

_KEPT_OF_ENDED: Final = 100_000
"""Of all runs that have ended, so many events are kept; the runs that ended first are forgotten first."""

_LONGEST: Final = 2000


class ToldEvent(NamedTuple):
    """One event as it is told.

    Attributes:
        number: Its place among the events of the run, from 1.
        name: What happened: ``runStarted``, ``stepStarted``, ``stepRetried``, ``stepEnded``, ``itemEnded``,
            ``runEnded``; or ``gap``, in the place of events that are kept no more.
        fields: Its fields, JSON; ``at`` in seconds since 1970.
    """

    number: int
    name: str
    fields: dict[str, Any]


class _Run:
    """The latest events of one run. Who follows it has a number and no queue, so a slow one costs nothing."""

    __slots__ = ("changed", "events", "last", "over")

    def __init__(self) -> None:
        self.events: deque[ToldEvent] = deque(maxlen=_KEPT_EVENTS)
        self.last = 0
        self.over = False
        self.changed: anyio.Event | None = None

    def add(self, event: RunEvent) -> None:
        self.last += 1
        name = type(event).__name__
        self.events.append(ToldEvent(self.last, f"{name[0].lower()}{name[1:]}", _fields(event)))
        self.wake()

    def wake(self) -> None:
        changed, self.changed = self.changed, None
        if changed is not None:
            changed.set()

    async def wait(self) -> None:
        if self.changed is None:
            self.changed = anyio.Event()
        await self.changed.wait()


class EventHub:
    """Is told what happens, as the observer of a runtime, and tells it on to any number of followers.

    Attributes:
        epoch: Tells the numbers of this process from those of one before it.
        began: When it began to be told, in seconds since 1970.
    """

    def __init__(self) -> None:
        self.epoch = uuid.uuid4().hex[:8]
        self._runs: dict[str, _Run] = {}
        self.began = time.time()
        self._ended: deque[str] = deque()
        self._kept_of_ended = 0
        self._closed = False

    def __call__(self, event: RunEvent) -> None:
        """Take an event; on the event loop."""
        run = self._runs.get(event.run_id)
        if run is None:
            run = self._runs[event.run_id] = _Run()
        run.over = isinstance(event, RunEnded)
        run.add(event)
        if run.over:
            self._ended.append(event.run_id)
            self._kept_of_ended += len(run.events)
            while self._kept_of_ended > _KEPT_OF_ENDED:
                self._kept_of_ended -= len(self._runs.pop(self._ended.popleft()).events)

    def last(self, run_id: str) -> int | None:
        """The number of the last event of a run that has ended; None while it runs, or when it is not known here."""
        run = self._runs.get(run_id)
        return run.last if run is not None and run.over else None

    def running(self) -> list[str]:
        """The runs that have not ended."""
        return [run_id for run_id, run in self._runs.items() if not run.over]

    def knows(self, run_id: str) -> bool:
        """Whether events of the run are kept."""
        return run_id in self._runs

    async def follow(self, run_id: str, after: int = 0) -> AsyncGenerator[ToldEvent, None]:
        """The events of a run behind the one with this number, until the run ends or the hub is closed."""
        run = self._runs.get(run_id)
        while run is not None and not self._closed:
            first = run.last - len(run.events) + 1
            if after + 1 < first:
                yield ToldEvent(first - 1, "gap", {"runId": run_id, "missed": first - 1 - after})
                after = first - 1
                continue
            if after < run.last:
                yield run.events[after + 1 - first]
                after += 1
            elif run.over:
                return
            else:
                await run.wait()

    def close(self) -> None:
        """End all that follow, because the service ends."""
        self._closed = True
        for run in self._runs.values():
            run.wake()


def _fields(event: RunEvent) -> dict[str, Any]:
    """In camelCase. Outcomes are not among them: they may be of any size, and are asked for by themselves."""
    fields: dict[str, Any] = {"runId": event.run_id, "at": time.time()}
    match event:
        case RunStarted():
            fields |= {"flowId": event.flow_id, "flowName": event.flow_name, "items": event.items}
            fields |= {"parentRunId": event.parent_run_id}
        case ItemEnded():
            failed = isinstance(event.result, FlowResultFailed)
            fields |= {"itemIndex": event.item, "status": "failed" if failed else "completed"}
            if isinstance(event.result, FlowResultFailed):
                fields["error"] = error_fields(event.result.error)
        case RunEnded():
            fields |= {"status": event.status, "seconds": event.seconds}
        case _:
            fields |= {"itemIndex": event.item, "stepId": event.step_id, "component": event.component}
            fields["attempt"] = event.attempt
            if isinstance(event, StepRetried):
                fields |= {"delay": event.delay, "error": error_fields(event.failure)}
            elif isinstance(event, StepEnded):
                fields |= {"status": event.status, "seconds": event.seconds}
                if event.failure is not None:
                    fields["error"] = error_fields(event.failure)
    return {name: value for name, value in fields.items() if value is not None}


def error_fields(failure: Failure | FlowError) -> dict[str, Any]:
    """What is told of a failure: its code, and its message, cut where it is long."""
    return {"code": failure.code, "message": failure.message[:_LONGEST]}
