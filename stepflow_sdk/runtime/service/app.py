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
from stepflow_sdk.runtime.service.rest import RestApi
from stepflow_sdk.runtime.service.runs import RunOperations
from stepflow_sdk.transports.http.policy import HttpPolicy

__all__ = ["RuntimeService"]


class RuntimeService(RestApi):
    """The whole API of a runtime that is running.

    Args:
        runtime: Runs the flows; its observer is the hub.
        hub: Has the events of the runtime.
        policy: Who may use it, and how much.
        metrics: What the runtime counts, to be shown under ``/metrics``.
    """

    def __init__(
        self, runtime: LocalRuntime, hub: EventHub, policy: HttpPolicy, metrics: RuntimeMetrics | None = None
    ) -> None:
        engine, caller = runtime.engine, runtime.caller
        self._engine = engine
        self._hub = hub
        self._draining = False
        self._stopping = anyio.Event()
        parts = (
            FlowOperations(engine),
            RunOperations(engine, lambda: not self._draining, self._stopping.wait),
            EventOperations(engine, hub),
            BlobOperations(engine.blobs),
            CatalogOperations(caller.router, caller.plugins),
            HealthOperations(lambda: not self._draining, lambda: self.document),
            *(() if metrics is None else (MetricsOperations(metrics),)),
        )
        super().__init__([operation for part in parts for operation in part.operations()], policy, metrics)

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
