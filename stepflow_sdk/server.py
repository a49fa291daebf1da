"""`StepflowServer`: components, a lifespan, and the ways to serve them."""

import argparse
import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic

from stepflow_sdk.components import Router
from stepflow_sdk.components.execution import Executor
from stepflow_sdk.components.threads import WorkerThreads
from stepflow_sdk.context.base import State
from stepflow_sdk.context.logs import LineLogger, LogThread
from stepflow_sdk.dispatch import Dispatcher, Service
from stepflow_sdk.errors import ResourceUnavailable
from stepflow_sdk.transports import Connection, Handler
from stepflow_sdk.transports.framing import DEFAULT_MAX_MESSAGE_BYTES
from stepflow_sdk.transports.memory import connect
from stepflow_sdk.transports.shutdown import Shutdown
from stepflow_sdk.transports.stdio import StdioTransport, WireDescriptors, take_wire

__all__ = ["StepflowServer"]

_log = logging.getLogger("stepflow_sdk.server")
_GOING = "the server is shutting down"

_FLUSH_SECONDS = 2.0
"""How long replies may take to leave when the server stops."""

Lifespan = Callable[["StepflowServer[Any]"], AbstractAsyncContextManager[Any]]


class StepflowServer(Router, Generic[State]):
    """A set of components, and the ways to serve them.

    Args:
        name: What logs and other programs call the server.
        lifespan: Called with the server when it begins to serve; an async context manager whose value is
            ``ctx.state`` in every component. It is entered once and left when the server stops.
        max_message_bytes: The longest message that is read, in bytes.
        max_in_flight: How many requests of one connection may be unanswered; more are refused.
        threads: How many ``def`` components may run at once.
        call_timeout: Seconds that the runtime has to answer a call back; None for no limit. Calls that wait for a
            flow are not limited.
        drain_timeout: Seconds that running components have to end when the server stops.
    """

    def __init__(
        self,
        name: str = "stepflow-server",
        *,
        lifespan: Lifespan | None = None,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        max_in_flight: int = 10_000,
        threads: int = 32,
        call_timeout: float | None = 60.0,
        drain_timeout: float = 6.0,
    ) -> None:
        super().__init__()
        self.name = name
        self.max_message_bytes = max_message_bytes
        self.max_in_flight = max_in_flight
        self.drain_timeout = drain_timeout
        self._lifespan = lifespan
        self._call_timeout = call_timeout
        self._threads = threads
        self._services: dict[asyncio.AbstractEventLoop, _SharedService] = {}

    def run(self, arguments: Sequence[str] | None = None) -> None:
        """Serve one runtime on stdin and stdout: what ``python -m my_components`` does.

        Messages are JSON, one a line. stdin and stdout belong to the protocol from here on: what components print
        is logged to stderr. Returns when stdin has ended, or after SIGTERM or SIGINT, and what was running has
        been answered; a second signal ends the process at once.

        Args:
            arguments: The command line, by default that of the process.

        Raises:
            SystemExit: With code 2 for a wrong command line, 1 when the lifespan could not be entered.
        """
        parser = argparse.ArgumentParser(description=f"Serve the components of {self.name} over stdin and stdout.")
        parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
        options = parser.parse_args(arguments)
        wire = take_wire()
        logs = LogThread(sys.stderr, options.log_level)
        logs.start()
        stdout, sys.stdout = sys.stdout, LineLogger(logging.getLogger("stepflow_sdk.stdout"))
        try:
            asyncio.run(self._serve_stdio(wire))
        except Exception:
            _log.exception("%s could not be served", self.name)
            raise SystemExit(1) from None
        finally:
            sys.stdout = stdout
            logs.stop()

    async def _serve_stdio(self, wire: WireDescriptors) -> None:
        with Shutdown(self.drain_timeout + _FLUSH_SECONDS + 1.5) as shutdown:
            async with self.service() as service:
                transport = StdioTransport(
                    Dispatcher(service),
                    wire,
                    max_message_bytes=self.max_message_bytes,
                    max_in_flight=self.max_in_flight,
                )
                await transport.open()
                async with asyncio.TaskGroup() as waits:
                    ended = waits.create_task(transport.ended.wait())
                    asked = waits.create_task(shutdown.requested.wait())
                    await asyncio.wait([ended, asked], return_when=asyncio.FIRST_COMPLETED)
                    ended.cancel()
                    asked.cancel()
                shutdown.request()
                service.draining = True
                if not await service.executor.drain(self.drain_timeout):
                    _log.warning("%d components did not end in time", service.executor.unanswered)
                    service.executor.cancel_all(ResourceUnavailable(_GOING))
                await transport.close(_FLUSH_SECONDS)

    @asynccontextmanager
    async def open_memory(self, handler: Handler) -> AsyncGenerator[Connection]:
        """Serve one runtime in this process, through memory.

        Args:
            handler: What answers the components' calls back.

        Yields:
            The runtime's end of the connection.
        """
        async with self.service() as service:
            runtime_end, _ = connect(handler, Dispatcher(service), max_in_flight=self.max_in_flight)
            try:
                yield runtime_end
            finally:
                runtime_end.close()

    @asynccontextmanager
    async def service(self) -> AsyncGenerator[Service]:
        """Be ready to serve connections on the running event loop, inside the lifespan.

        The lifespan is entered for the first and left after the last of those who use the service at one time.
        """
        loop = asyncio.get_running_loop()
        shared = self._services.get(loop)
        if shared is None:
            shared = self._services[loop] = _SharedService(self._open_service)
        shared.users += 1
        try:
            yield await shared.ready()
        finally:
            shared.users -= 1
            if not shared.users:
                self._services.pop(loop, None)
                await shared.close()

    @asynccontextmanager
    async def _open_service(self) -> AsyncGenerator[Service]:
        self.freeze()
        lifespan = contextlib.nullcontext() if self._lifespan is None else self._lifespan(self)
        async with lifespan as state:
            threads = WorkerThreads(self._threads)
            executor = Executor(threads)
            try:
                yield Service(self, executor, state, self._call_timeout)
            finally:
                await executor.close(ResourceUnavailable(_GOING))
                threads.close()


class _SharedService:
    """A service that is opened and closed by one task, whoever uses it in between.

    A lifespan may hold cancel scopes, which must be left by the task that entered them.
    """

    def __init__(self, open_service: Callable[[], AbstractAsyncContextManager[Service]]) -> None:
        self.users = 0
        self._open = open_service
        self._service: asyncio.Future[Service] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._own())

    async def ready(self) -> Service:
        return await asyncio.shield(self._service)

    async def close(self) -> None:
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
