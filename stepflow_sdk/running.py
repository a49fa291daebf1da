"""A server as a process of its own: its log, its signals, its end."""

import asyncio
import contextlib
import logging
import os
import socket
import stat
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from stepflow_sdk.context.logs import LineLogger, LogFormat, LogThread
from stepflow_sdk.dispatch import Dispatcher
from stepflow_sdk.errors import ServerStopping
from stepflow_sdk.service import Service
from stepflow_sdk.steady import conceal, run_steadily
from stepflow_sdk.transports.shutdown import Shutdown
from stepflow_sdk.transports.stdio import StdioTransport, WireDescriptors, take_wire
from stepflow_sdk.tuning import Tuning

if TYPE_CHECKING:
    from stepflow_sdk.server import StepflowServer
    from stepflow_sdk.transports.http.policy import HttpPolicy
    from stepflow_sdk.transports.relay import OutputRelay

__all__ = ["Options", "run_http", "run_mcp", "run_stdio"]

_log = logging.getLogger("stepflow_sdk.server")

_FLUSH_SECONDS = 2.0
"""How long replies may take to leave when the server stops."""

_PARENT_SECONDS = 0.5
"""How often a server that a runtime started looks whether the runtime is still there."""


class Options(Struct, frozen=True):
    """How a server process is run; ``host`` and what follows are for HTTP, ``policy`` by default that of the server."""

    http: bool = False
    mcp: bool = False
    log_level: str = "INFO"
    log_format: LogFormat = "text"
    metrics: bool = False
    slow_after: float | None = None
    tuning: Tuning = Tuning()
    host: str = "127.0.0.1"
    port: int = 0
    policy: "HttpPolicy | None" = None


def run_stdio(server: "StepflowServer[Any]", options: Options) -> None:
    """Serve one runtime on stdin and stdout until there is nobody to serve."""
    _run(server, options, take_wire(), lambda wire: _serve_stdio(server, options, wire))


def run_mcp(server: "StepflowServer[Any]", options: Options) -> None:
    """Serve one MCP client on stdin and stdout until there is nobody to serve."""
    _run(server, options, take_wire(), lambda wire: _serve_mcp(server, options, wire))


def run_http(server: "StepflowServer[Any]", options: Options) -> None:
    """Serve HTTP until a signal, or the end of the runtime that started the process.

    Raises:
        SystemExit: With code 1 when the address cannot be had.
    """
    from stepflow_sdk.transports.http.serving import bind

    # First of all: where a standard descriptor was closed at the start, the listener would get its number.
    wire = take_wire()
    try:
        listener = bind(options.host, options.port)
    except OSError as error:
        where = f"{options.host}, port {options.port}"
        print(
            f"cannot listen on {where}: {error.strerror or error}; choose others with --host and --port",
            file=sys.stderr,
        )
        raise SystemExit(1) from None
    _run(server, options, wire, lambda wire: _serve_http(server, options, wire, listener))


def _run(
    server: "StepflowServer[Any]",
    options: Options,
    wire: WireDescriptors,
    serve: Callable[[WireDescriptors], Awaitable[None]],
) -> None:
    options.tuning.begin()
    logs = LogThread(sys.stderr, options.log_level, options.log_format)
    logs.start()
    stdout, sys.stdout = sys.stdout, LineLogger(logging.getLogger("stepflow_sdk.stdout"))

    relay = _relay_output(options, wire)

    async def main() -> None:
        await serve(wire)

    code = 0
    try:
        run_steadily(main(), options.tuning.loop_factory())
    except Exception:
        _log.exception("%s could not be served", server.name)
        code = 1
        raise SystemExit(code) from None
    finally:
        sys.stdout = stdout
        if not logs.stop():
            # Nobody reads stderr. At its end the interpreter would flush it, and so wait for the thread that is stuck
            # in a write to it, and for that thread itself.
            _leave_stderr(code)
        if relay is not None:
            relay.stop()


def _relay_output(options: Options, wire: WireDescriptors) -> "OutputRelay | None":
    if not _started_by_runtime(options, wire):
        return None
    # A runtime that reads the outputs of its server wants text and nothing else there.
    from stepflow_sdk.transports.relay import OutputRelay

    return OutputRelay()


def _leave_stderr(code: int) -> None:
    import atexit
    from pathlib import Path

    sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  (to the end)
    atexit.register(os._exit, code)


@contextlib.contextmanager
def _shutdown(server: "StepflowServer[Any]") -> Generator[Shutdown]:
    with Shutdown(server.drain_timeout + _FLUSH_SECONDS + 1.5) as shutdown:
        yield shutdown


async def _drain(server: "StepflowServer[Any]", service: Service) -> None:
    service.drain()
    if not await service.executor.drain(server.drain_timeout):
        _log.warning("%d components did not end in time", service.executor.unanswered)
        service.executor.cancel_all(ServerStopping())
    if service.monitor is not None and service.monitor.metrics is not None:
        for line in service.monitor.metrics.summary():
            _log.info("%s", line)


async def _serve_stdio(server: "StepflowServer[Any]", options: Options, wire: WireDescriptors) -> None:
    with _shutdown(server) as shutdown:
        async with server.service() as service:
            transport = StdioTransport(
                Dispatcher(service),
                wire,
                max_message_bytes=server.max_message_bytes,
                max_in_flight=server.max_in_flight,
                ended=shutdown.request,
            )
            await transport.open()
            options.tuning.settle()
            await shutdown.requested.wait()
            await _drain(server, service)
            await transport.close(_FLUSH_SECONDS)


async def _serve_mcp(server: "StepflowServer[Any]", options: Options, wire: WireDescriptors) -> None:
    from stepflow_sdk.mcp_server import McpSession, McpWire

    with _shutdown(server) as shutdown:
        async with server.service() as service:
            messages = McpWire(wire, max_message_bytes=server.max_message_bytes, max_in_flight=server.max_in_flight)
            async with asyncio.TaskGroup() as tasks:
                session = tasks.create_task(McpSession(server.name, service).run(messages))
                conceal(session)
                session.add_done_callback(lambda _: shutdown.request())
                options.tuning.settle()
                await shutdown.requested.wait()
                await _drain(server, service)
                messages.leave()


async def _serve_http(
    server: "StepflowServer[Any]", options: Options, wire: WireDescriptors, listener: socket.socket
) -> None:
    from stepflow_sdk.transports.http.connection_limit import open_files_for
    from stepflow_sdk.transports.http.serving import make_server
    from stepflow_sdk.transports.open_files import raise_open_files

    def announce() -> None:
        options.tuning.settle()
        if wire.output is not None:
            os.write(wire.output, b'{"port": %d}\n' % listener.getsockname()[1])

    with _shutdown(server) as shutdown:
        async with server.service() as service, _parent_watched(wire, options, shutdown):
            policy = options.policy or server.policy
            endpoint = server.endpoint(service, policy)
            if options.tuning.open_files:
                raise_open_files(open_files_for(policy.max_connections))
            web = make_server(endpoint, policy, announce, stop_timeout=int(_FLUSH_SECONDS))
            async with asyncio.TaskGroup() as tasks:
                conceal(tasks.create_task(web.serve(sockets=[listener])))
                await shutdown.requested.wait()
                # Answers to calls back come as requests of their own, so the door stays open for the drain.
                await _drain(server, service)
                endpoint.end_sessions()
                web.should_exit = True


@contextlib.asynccontextmanager
async def _parent_watched(wire: WireDescriptors, options: Options, shutdown: Shutdown) -> AsyncGenerator[None]:
    """End the server with its parent where that is a runtime."""
    if not _started_by_runtime(options, wire):
        yield
        return
    async with asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(_watch_parent(shutdown))
        conceal(watch)
        yield
        watch.cancel()


async def _watch_parent(shutdown: Shutdown) -> None:
    from stepflow_sdk.transports.http.serving import parent_is_gone

    parent = os.getppid()
    while not parent_is_gone(parent):  # noqa: ASYNC110  (no event tells of it)
        await asyncio.sleep(_PARENT_SECONDS)
    _log.warning("the process that started the server is gone")
    shutdown.request()


def _started_by_runtime(options: Options, wire: WireDescriptors) -> bool:
    """Whether a runtime started this HTTP server: who asks for any port and reads it through a pipe."""
    return options.http and options.port == 0 and wire.output is not None and _is_pipe(wire.output)


def _is_pipe(descriptor: int) -> bool:
    return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
