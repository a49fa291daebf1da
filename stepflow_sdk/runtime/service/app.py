"""The REST API of a runtime."""

import anyio

from stepflow_sdk.runtime.local import LocalRuntime
from stepflow_sdk.runtime.run_metrics import RuntimeMetrics
from stepflow_sdk.runtime.service.blobs import BlobOperations
from stepflow_sdk.runtime.service.catalog import CatalogOperations, HealthOperations
from stepflow_sdk.runtime.service.event_stream import EventOperations
from stepflow_sdk.runtime.service.events import EventHub
from stepflow_sdk.runtime.service.flows import FlowOperations
from stepflow_sdk.runtime.service.measuring import MetricsOperations
from stepflow_sdk.runtime.service.messages import ReadyState
from stepflow_sdk.runtime.service.rest import RestApi
from stepflow_sdk.runtime.service.runs import MAX_RUNS, RunOperations
from stepflow_sdk.transports.http.policy import HttpPolicy

__all__ = ["RuntimeService"]


class RuntimeService(RestApi):
    """The whole API of a runtime that is running.

    Args:
        runtime: Runs the flows; its observer is the hub.
        hub: Has the events of the runtime.
        policy: Who may use it, and how much.
        metrics: What the runtime counts, to be shown under ``/metrics``.
        max_runs: While so many have not ended, nested ones included, no more are taken.
    """

    def __init__(
        self,
        runtime: LocalRuntime,
        hub: EventHub,
        policy: HttpPolicy,
        metrics: RuntimeMetrics | None = None,
        *,
        max_runs: int = MAX_RUNS,
    ) -> None:
        engine, caller = runtime.engine, runtime.caller
        self._runtime = runtime
        self._engine = engine
        self._hub = hub
        self._max_runs = max_runs
        self._draining = False
        self._stopping = anyio.Event()
        parts = (
            FlowOperations(engine),
            RunOperations(engine, self._readiness, max_runs, self._stopping.wait),
            EventOperations(engine, hub),
            BlobOperations(engine.blobs),
            CatalogOperations(caller.router, caller.plugins),
            HealthOperations(self._readiness, lambda: self.document),
            *(() if metrics is None else (MetricsOperations(metrics),)),
        )
        super().__init__([operation for part in parts for operation in part.operations()], policy, metrics)

    def _readiness(self) -> ReadyState:
        if self._draining:
            return "stopping"
        if self._runtime.has_failed:
            return "failed"
        return "overloaded" if self._engine.active_runs >= self._max_runs else "ready"

    async def drain(self, seconds: float) -> None:
        """Take no more runs, and wait so long for the end of those that are there."""
        self._draining = True
        with anyio.move_on_after(seconds):
            for run_id in self._hub.running():
                await self._engine.wait(run_id)

    def stop(self) -> None:
        """Answer those who wait for runs, and end the event streams."""
        self._draining = True
        self._stopping.set()
        self._hub.close()
