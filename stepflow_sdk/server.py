"""`StepflowServer`: components, a lifespan, and the ways to serve them."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Literal
from weakref import WeakKeyDictionary

from stepflow_sdk._version import __version__
from stepflow_sdk.components import Router
from stepflow_sdk.components.executor import Executor
from stepflow_sdk.components.threads import WorkerThreads
from stepflow_sdk.context.base import State
from stepflow_sdk.dispatch import Dispatcher
from stepflow_sdk.service import Service, SharedService
from stepflow_sdk.transports import Connection, Handler
from stepflow_sdk.transports.framing import DEFAULT_MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from stepflow_sdk.transports.http import HttpEndpoint, HttpPolicy
    from stepflow_sdk.transports.http.messages import Receive, Scope, Send
    from stepflow_sdk.tuning import Tuning

__all__ = ["StepflowServer"]

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
        http: Who may talk to the server over HTTP; by default only this machine.
        metrics: Whether requests are counted, for ``GET /metrics`` and for the log of a server on stdio.
        slow_after: Seconds after which a component that has not ended is worth a warning in the log; None for never.
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
        http: "HttpPolicy | None" = None,
        metrics: bool = False,
        slow_after: float | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.max_message_bytes = max_message_bytes
        self.max_in_flight = max_in_flight
        self.drain_timeout = drain_timeout
        self.metrics = metrics
        self.slow_after = slow_after
        self._http = http
        self._lifespan = lifespan
        self._call_timeout = call_timeout
        self._threads = threads
        self._services: dict[asyncio.AbstractEventLoop, SharedService] = {}
        self._endpoints: WeakKeyDictionary[asyncio.AbstractEventLoop, HttpEndpoint] = WeakKeyDictionary()

    @cached_property
    def policy(self) -> "HttpPolicy":
        """Who may talk to the server over HTTP, and how much."""
        # Here as elsewhere: a server on stdio imports nothing of HTTP.
        from dataclasses import replace

        from stepflow_sdk.transports.http import HttpPolicy

        policy = self._http or HttpPolicy()
        return replace(policy, max_body_bytes=self.max_message_bytes, max_exchanges=self.max_in_flight)

    def run(
        self,
        transport: Literal["stdio", "http", "mcp"] | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tuning: "Tuning | None" = None,
        arguments: Sequence[str] | None = None,
    ) -> None:
        """Serve as a process of its own: what ``python -m my_components`` does.

        On ``"stdio"`` one runtime is served, with JSON messages one a line on stdin and stdout, until stdin ends. On
        ``"http"`` any number are, and ``{"port": N}`` is printed when requests can come. On ``"mcp"`` it is an MCP
        client on stdin and stdout, for which components are tools. Without a transport the command line decides:
        stdio, or HTTP with ``--http [--host ADDRESS] [--port N]``, or ``--mcp``; ``--help`` tells the rest.

        stdin and stdout belong to the server from here on: what components print is logged to stderr. SIGTERM and
        SIGINT let what runs come to its end, within `drain_timeout`; a second one ends the process at once.

        Args:
            transport: How to serve.
            host: With ``"http"``: the address to listen on; one beyond this machine needs ``http=HttpPolicy(token=…)``.
            port: With ``"http"``: the port; 0 takes a free one.
            tuning: How the process is set up for speed; ``Tuning.none()``, or ``--no-tuning``, for not at all.
            arguments: The command line, by default that of the process.

        Raises:
            SystemExit: With code 2 for a wrong command line, 1 when the server cannot start.
        """
        from stepflow_sdk.running import Options, run_http, run_mcp, run_stdio
        from stepflow_sdk.tuning import Tuning

        if transport is not None:
            given = {"http": ["--http", "--host", host, "--port", str(port)], "mcp": ["--mcp"]}.get(transport, [])
            arguments = [*given, *(arguments or ())]
        arguments = list(sys.argv[1:] if arguments is None else arguments)
        options = Options(http=arguments == ["--http"], tuning=tuning or Tuning())
        if arguments not in ([], ["--http"]):
            # A parser takes longer than all the rest that happens here.
            from stepflow_sdk.command_line import parse_arguments

            options = parse_arguments(self.name, self.policy, options.tuning, arguments)
        self.metrics = self.metrics or options.metrics
        self.slow_after = self.slow_after if options.slow_after is None else options.slow_after
        if options.http:
            run_http(self, options)
        elif options.mcp:
            run_mcp(self, options)
        else:
            run_stdio(self, options)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Be an ASGI application: ``uvicorn my_components:server``, or ``app.mount("/stepflow", server)``.

        An application that mounts a server with a lifespan must enter ``server.service()`` in its own.
        """
        endpoint = self._endpoint_here() if scope["type"] == "http" else None
        if endpoint is not None:
            await endpoint(scope, receive, send)
        else:
            from stepflow_sdk.transports.http.mounted import serve_otherwise

            await serve_otherwise(self.name, self.service, scope, receive, send)

    def endpoint(self, service: Service, policy: "HttpPolicy") -> "HttpEndpoint":
        """The ASGI application that serves HTTP for a service."""
        from stepflow_sdk.transports.http import HttpEndpoint

        profile = service.profile(likely_runs=True)
        if policy.blob_api is not None:
            profile.assume(policy.blob_api)
        metrics = None if service.monitor is None else service.monitor.metrics
        return HttpEndpoint(
            lambda: Dispatcher(service, profile), policy, is_stopping=lambda: service.draining, metrics=metrics
        )

    def _endpoint_here(self) -> "HttpEndpoint | None":
        """The endpoint for the running event loop, on the service that is open there; None where one must be opened."""
        loop = asyncio.get_running_loop()
        endpoint = self._endpoints.get(loop)
        if endpoint is None:
            shared = self._services.get(loop)
            if shared is not None and shared.service is not None:
                service = shared.service
            elif self._lifespan is None:
                # There is nothing to enter and to leave, so whoever mounts the server need not know of it.
                service = self._make_service(None)
            else:
                return None
            endpoint = self._endpoints[loop] = self.endpoint(service, self.policy)
        return endpoint

    @asynccontextmanager
    async def open_memory(self, handler: Handler) -> AsyncGenerator[Connection]:
        """Serve one runtime in this process, through memory.

        Args:
            handler: What answers the components' calls back.

        Yields:
            The runtime's end of the connection.
        """
        from stepflow_sdk.transports.memory import connect

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
            shared = self._services[loop] = SharedService(self._open_service)
        shared.users += 1
        try:
            yield await shared.ready()
        finally:
            shared.users -= 1
            if not shared.users:
                self._services.pop(loop, None)
                self._endpoints.pop(loop, None)
                await shared.close()

    @asynccontextmanager
    async def _open_service(self) -> AsyncGenerator[Service]:
        self.freeze()
        lifespan = contextlib.nullcontext() if self._lifespan is None else self._lifespan(self)
        async with lifespan as state:
            service = self._make_service(state)
            try:
                yield service
            finally:
                await service.close()

    def _make_service(self, state: Any) -> Service:
        self.freeze()
        threads = WorkerThreads(self._threads)
        executor = Executor(threads)
        monitor = None
        if self.metrics or self.slow_after is not None:
            from stepflow_sdk.monitor import Monitor, make_metrics

            monitor = Monitor(make_metrics(__version__, executor, threads) if self.metrics else None, self.slow_after)
        return Service(
            self,
            executor,
            threads,
            state,
            call_timeout=self._call_timeout,
            blob_hosts=frozenset() if self._http is None else self._http.blob_hosts,
            monitor=monitor,
        )
