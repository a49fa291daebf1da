"""Watches the executions of components, where an operator asks for it: counts them, and warns of slow ones."""

import asyncio
import logging
import time
from typing import Protocol

from stepflow_sdk.components.executor import Executor
from stepflow_sdk.components.threads import WorkerThreads
from stepflow_sdk.context.base import ContextBase
from stepflow_sdk.errors import SkipStep
from stepflow_sdk.metrics import Metrics
from stepflow_sdk.protocol import error_of, methods
from stepflow_sdk.protocol.error_codes import ErrorCodes, protocol_codes
from stepflow_sdk.protocol.failures import is_a, sole_cause

__all__ = ["Monitor", "Watched", "make_metrics"]

_log = logging.getLogger("stepflow_sdk.server")


class Watched(Protocol):
    """An execution that can say whose it is."""

    began: float
    answered: bool

    def context(self) -> "ContextBase[object]":
        """The context of the call."""
        ...


def make_metrics(version: str, executor: Executor, threads: WorkerThreads) -> Metrics:
    """Counters that know what runs at the moment."""
    return Metrics(
        version,
        {
            "stepflow_requests_in_flight": ("Components that run or wait for a turn.", lambda: executor.unanswered),
            "stepflow_threads_busy": ("Worker threads that are awake.", lambda: threads.awake),
            "stepflow_thread_queue": ("Calls that wait for a worker thread.", lambda: threads.queued),
        },
    )


class Monitor:
    """Knows of each execution when it begins and ends; on one event loop.

    Args:
        metrics: Where they are counted.
        slow_after: Seconds after which an execution that has not ended is worth a warning; None for no such warning.
    """

    def __init__(self, metrics: Metrics | None, slow_after: float | None) -> None:
        self.metrics = metrics
        self._slow_after = slow_after
        self._running: dict[Watched, None] = {}  # the longest first
        self._late: set[Watched] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, execution: Watched) -> None:
        """Know of an execution that is about to begin."""
        execution.began = time.monotonic()
        if self._slow_after is not None:
            self._running[execution] = None
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(self._slow_after, self._look)

    def end(self, execution: Watched, component: str, error: BaseException | None, codes: ErrorCodes) -> None:
        """Know that an execution has been answered."""
        seconds = time.monotonic() - execution.began
        if self.metrics is not None:
            self.metrics.request(methods.EXECUTE.name, component, code_of(error, codes), seconds)
        if self._slow_after is not None:
            self._running.pop(execution, None)
            if execution in self._late:
                self._late.remove(execution)
                _log.warning("%s ended after %.1f s", component, seconds, extra=execution.context().log_fields())

    def other(self, method: str, error: BaseException | None, codes: ErrorCodes) -> None:
        """Know of a request that was answered and executed nothing."""
        if self.metrics is not None:
            # What callers make up must not make new lines in the metrics.
            self.metrics.request(method if method in methods.METHODS else "other", "", code_of(error, codes))

    def call(self, method: str, error: BaseException | None) -> None:
        """Know that a call back has ended."""
        if self.metrics is not None:
            self.metrics.call(method, "cancelled" if _is_cancelled(error) else code_of(error, protocol_codes))

    def close(self) -> None:
        """Warn no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        slow_after = self._slow_after or 0
        now = time.monotonic()
        while self._running and (oldest := next(iter(self._running))).began <= now - slow_after:
            del self._running[oldest]
            self._late.add(oldest)
            context = oldest.context()
            text = "%s has not ended after %g s"
            _log.warning(text, context.component, slow_after, extra=context.log_fields())
        if self._running:
            wait = next(iter(self._running)).began + slow_after - now
            self._timer = asyncio.get_running_loop().call_later(wait, self._look)


def code_of(error: BaseException | None, codes: ErrorCodes) -> str:
    """What metrics call an outcome."""
    if error is None:
        return "ok"
    if is_a(sole_cause(error), SkipStep):
        return "skipped"
    return str(error_of(error, codes).code)


def _is_cancelled(error: BaseException | None) -> bool:
    return isinstance(error, asyncio.CancelledError)
