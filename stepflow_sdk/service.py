"""What the connections of a served process share, and its life inside the lifespan."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from stepflow_sdk.components.conversion import JsonValues
from stepflow_sdk.components.executor import Executor
from stepflow_sdk.components.router import Router
from stepflow_sdk.components.spec import ComponentSpec
from stepflow_sdk.components.threads import WorkerThreads
from stepflow_sdk.context.client import RuntimeProfile
from stepflow_sdk.errors import ServerStopping
from stepflow_sdk.protocol.messages import ComponentInfo, ListComponentsResult
from stepflow_sdk.steady import conceal

if TYPE_CHECKING:
    from stepflow_sdk.monitor import Monitor
    from stepflow_sdk.tracing import Tracer

__all__ = ["Service", "SharedService", "component_info"]


class Service:
    """What the connections of a served process share.

    Attributes:
        state: What the lifespan yielded.
        draining: Whether new requests are refused, because the process is about to end.
        simple: The components by their paths, but patterns, where nobody watches what is executed.
        tracer: Makes a span of each call, where that is wanted.
        monitor: Watches what is executed, where that is wanted.
    """

    def __init__(
        self,
        router: Router,
        executor: Executor,
        threads: WorkerThreads,
        state: Any,
        *,
        call_timeout: float | None,
        blob_hosts: frozenset[str] = frozenset(),
        monitor: "Monitor | None" = None,
    ) -> None:
        self.router = router
        self.found = {spec.path: router.lookup(spec.path) for spec in router.specs if "{" not in spec.path}
        self.executor = executor
        self.threads = threads
        self.values = JsonValues()
        self.state = state
        self.blob_hosts = blob_hosts
        self.draining = False
        self.tracer = _find_tracer()
        self.monitor = monitor
        self.simple: dict[str, ComponentSpec] = {}
        if self.tracer is None and monitor is None:
            self.simple = {path: spec for path, (spec, _) in self.found.items()}
        self._call_timeout = call_timeout
        self._profiles: list[RuntimeProfile] = []
        self._packing: dict[ComponentSpec, ComponentSpec] = {}
        self._simple_packing: dict[str, ComponentSpec] = {}
        self.loop = asyncio.get_running_loop()
        self.component_list = Raw(
            msgspec.json.encode(ListComponentsResult([component_info(spec) for spec in router.specs]))
        )

    def drain(self) -> None:
        """Refuse new requests from now on."""
        self.draining = True
        self.simple.clear()
        self._simple_packing.clear()

    @property
    def simple_packing(self) -> Mapping[str, ComponentSpec]:
        """The twins of those in ``simple`` whose outputs are in MessagePack."""
        if len(self._simple_packing) != len(self.simple):
            self._simple_packing.update({path: self.packing(spec) for path, spec in self.simple.items()})
        return self._simple_packing

    def packing(self, spec: ComponentSpec) -> ComponentSpec:
        """Return the twin of a component whose outputs are in MessagePack."""
        twin = self._packing.get(spec)
        if twin is None:
            twin = self._packing[spec] = spec.packing()
        return twin

    def lookup(self, path: str) -> tuple[ComponentSpec, Mapping[str, str]]:
        """The component of a path, and the path's parameters.

        Raises:
            ComponentNotFound: There is none.
        """
        return self.found.get(path) or self.router.lookup(path)

    def profile(self, *, likely_runs: bool = False) -> RuntimeProfile:
        """Return a blank page for what will be known of a runtime; it is closed with the service."""
        profile = RuntimeProfile(self._call_timeout, likely_runs=likely_runs)
        profile.on_call = None if self.monitor is None else self.monitor.call
        self._profiles.append(profile)
        return profile

    async def close(self) -> None:
        """Cancel what runs, and close what is open."""
        await self.executor.close(ServerStopping())
        self.threads.close()
        if self.monitor is not None:
            self.monitor.close()
        for profile in self._profiles:
            await profile.close()


class SharedService:
    """A service that is opened and closed by one task, whoever uses it in between.

    A lifespan may hold cancel scopes, which must be left by the task that entered them.
    """

    def __init__(self, open_service: Callable[[], AbstractAsyncContextManager[Service]]) -> None:
        self.users = 0
        self._open = open_service
        self._service: asyncio.Future[Service] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._own())
        conceal(self._task)

    @property
    def service(self) -> Service | None:
        """The service, where it is open already."""
        return self._service.result() if self._service.done() and not self._service.exception() else None

    async def ready(self) -> Service:
        """Wait until the service is open; raises what its lifespan raised."""
        return await asyncio.shield(self._service)

    async def close(self) -> None:
        """Close the service and leave its lifespan."""
        self._over.set()
        await self._task

    async def _own(self) -> None:
        try:
            async with self._open() as service:
                self._service.set_result(service)
                await self._over.wait()
        except BaseException as error:
            if self._service.done():
                raise
            self._service.set_exception(error)


def _find_tracer() -> "Tracer | None":
    # Who set up a provider of spans has imported it.
    if "opentelemetry.trace" not in sys.modules:
        return None
    from stepflow_sdk.tracing import find_tracer

    return find_tracer()


def component_info(spec: ComponentSpec) -> ComponentInfo:
    """What the protocol says of a component."""
    return ComponentInfo(spec.path, spec.description, spec.input_schema, spec.output_schema)
