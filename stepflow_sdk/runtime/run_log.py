"""What happens in runs as records of the log, and warnings of steps that take long."""

import asyncio
import logging
import time
from typing import Any, Final

from stepflow_sdk.runtime.events import RunEnded, RunEvent, RunStarted, StepEnded, StepRetried, StepStarted

__all__ = ["RunLog"]

_log = logging.getLogger("stepflow_sdk.runtime.runs")

_LONGEST: Final = 2000


class RunLog:
    """An observer that logs: runs and steps at INFO, failures, retries and slow steps at WARNING; on the event loop.

    Args:
        slow_after: Seconds after which a step that has not ended is worth a warning; None for no such warning.
    """

    def __init__(self, slow_after: float | None = None) -> None:
        self._slow_after = slow_after
        self._running: dict[tuple[str, int, str], tuple[float, StepStarted]] = {}  # the longest first
        self._late: set[tuple[str, int, str]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, event: RunEvent) -> None:
        """Take an event of the runtime."""
        match event:
            case RunStarted():
                flow = event.flow_name or event.flow_id[:12]
                fields = {"run_id": event.run_id, "flow_id": event.flow_id}
                _log.info("the run %s of the flow %s has begun", event.run_id, flow, extra=fields)
            case StepStarted():
                self._step_started(event)
            case StepRetried():
                said = event.failure.message[:_LONGEST]
                text = "attempt %d failed with %d, and another follows in %.1f s: %s"
                _log.warning(text, event.attempt, event.failure.code, event.delay, said, extra=_ids(event))
            case StepEnded():
                self._step_ended(event)
            case RunEnded():
                self._forget(event.run_id)
                text, fields = "the run %s is %s after %.3f s", {"run_id": event.run_id}
                _log.info(text, event.run_id, event.status, event.seconds, extra=fields)
            case _:
                pass  # items are told by their steps and their run

    def close(self) -> None:
        """Warn no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._running.clear()

    def _step_started(self, event: StepStarted) -> None:
        # Of what is not shown nothing is made: there are as many of these as steps.
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("the step has begun", extra=_ids(event))
        if self._slow_after is None:
            return
        key = (event.run_id, event.item, event.step_id)
        if key not in self._running and key not in self._late:
            self._running[key] = (time.monotonic(), event)
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(self._slow_after, self._look)

    def _step_ended(self, event: StepEnded) -> None:
        if self._slow_after is not None:
            key = (event.run_id, event.item, event.step_id)
            self._running.pop(key, None)
            if key in self._late:
                self._late.remove(key)
                _log.warning("the step ended after %.1f s", event.seconds, extra=_ids(event))
        if event.failure is None:
            if not _log.isEnabledFor(logging.INFO):
                return
            _log.info("the step is %s after %.3f s", event.status, event.seconds, extra=_ids(event))
        else:
            said = event.failure.message[:_LONGEST]
            text = "the step is %s after %.3f s; its component failed with %d: %s"
            _log.warning(text, event.status, event.seconds, event.failure.code, said, extra=_ids(event))

    def _forget(self, run_id: str) -> None:
        # Of a run that was cancelled, steps have begun that never end.
        for key in [key for key in self._running if key[0] == run_id]:
            del self._running[key]
        self._late = {key for key in self._late if key[0] != run_id}

    def _look(self) -> None:
        self._timer = None
        slow_after = self._slow_after or 0
        now = time.monotonic()
        while self._running:
            key, (began, event) = next(iter(self._running.items()))
            if began > now - slow_after:
                self._timer = asyncio.get_running_loop().call_later(began + slow_after - now, self._look)
                break
            del self._running[key]
            self._late.add(key)
            _log.warning("the step has not ended after %g s", slow_after, extra=_ids(event))


def _ids(event: StepStarted | StepRetried | StepEnded) -> dict[str, Any]:
    return {
        "component": event.component,
        "run_id": event.run_id,
        "step_id": event.step_id,
        "attempt": event.attempt,
    }
