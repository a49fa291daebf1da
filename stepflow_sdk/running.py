"""A server as a process of its own: its command line, its log, its end."""

import argparse
import asyncio
import atexit
import contextlib
import dataclasses
import json
import logging
import math
import os
import socket
import stat
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stepflow_sdk.context.logs import LineLogger, LogFormat, LogThread
from stepflow_sdk.dispatch import Dispatcher
from stepflow_sdk.errors import ResourceUnavailable
from stepflow_sdk.service import Service
from stepflow_sdk.transports.http.policy import HttpPolicy
from stepflow_sdk.transports.relay import OutputRelay
from stepflow_sdk.transports.shutdown import Shutdown
from stepflow_sdk.transports.stdio import StdioTransport, WireDescriptors, take_wire
from stepflow_sdk.tuning import Tuning

if TYPE_CHECKING:
    from stepflow_sdk.server import StepflowServer

__all__ = ["Options", "parse_arguments", "run_http", "run_mcp", "run_stdio"]

_log = logging.getLogger("stepflow_sdk.server")

_FLUSH_SECONDS = 2.0
"""How long replies may take to leave when the server stops."""

_PARENT_SECONDS = 0.5
"""How often a server that a runtime started looks whether the runtime is still there."""

_GOING = "the server is shutting down"


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """How a server process is run; ``policy`` and what follows are for HTTP."""

    http: bool
    mcp: bool = False
    log_level: str = "INFO"
    log_format: LogFormat = "text"
    metrics: bool = False
    slow_after: float | None = None
    tuning: Tuning = dataclasses.field(default_factory=Tuning)
    host: str = "127.0.0.1"
    port: int = 0
    policy: HttpPolicy = dataclasses.field(default_factory=HttpPolicy)


def parse_arguments(name: str, policy: HttpPolicy, tuning: Tuning, arguments: Sequence[str] | None) -> Options:
    """Read the command line of a server.

    Raises:
        SystemExit: With code 2 for a wrong command line.
    """
    parser = _make_parser(name)
    given = parser.parse_args(arguments)
    token = policy.token
    if given.token_env is not None:
        token = os.environ.get(given.token_env)
        if not token:
            parser.error(f"the environment variable {given.token_env} of --token-env is not set")
    blob_api: str | None = given.blob_api
    if blob_api is not None and urlsplit(blob_api).scheme not in {"http", "https"}:
        parser.error(f"--blob-api is a URL, such as http://127.0.0.1:7840/api/v1/blobs, not {blob_api[:100]!r}")
    if given.http:
        _check_address(parser, given.host, token, given.insecure)
    if given.mcp and find_spec("mcp") is None:
        parser.error("to be an MCP server needs: pip install 'stepflow-sdk[mcp]'")
    names = {*given.allow_host, given.host} - {"0.0.0.0", "::"}  # noqa: S104  (these are nobody's names)
    changed = dataclasses.replace(
        policy,
        allowed_hosts=policy.allowed_hosts | names,
        allowed_origins=policy.allowed_origins | set(given.allow_origin),
        token=token,
        blob_api=blob_api or policy.blob_api,
    )
    tuning = Tuning.none() if given.no_tuning else tuning
    return Options(
        http=given.http,
        mcp=given.mcp,
        log_level=given.log_level,
        log_format=given.log_format,
        metrics=given.metrics,
        slow_after=given.slow,
        tuning=tuning,
        host=given.host,
        port=given.port,
        policy=changed,
    )


def _make_parser(name: str) -> argparse.ArgumentParser:
    what = f"Serve the components of {name}: to a Stepflow runtime over stdin and stdout, or as --http or --mcp says."
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    parser.add_argument(
        "--no-tuning", action="store_true", help="leave memory, threads and event loop as Python has them"
    )
    parser.add_argument("--log-format", default="text", choices=["text", "json"], help="json: an object on each line")
    parser.add_argument("--metrics", action="store_true", help="count requests: GET /metrics, or the log at the end")
    parser.add_argument(
        "--slow",
        type=_positive,
        metavar="SECONDS",
        help="warn in the log of a component that has not ended after so long",
    )
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--http", action="store_true", help='serve HTTP, and print {"port": N} when ready')
    ways.add_argument("--mcp", action="store_true", help="serve an MCP client over stdin and stdout, as tools")
    http = parser.add_argument_group("with --http")
    http.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    http.add_argument("--port", default=0, type=int, help="the port to listen on; 0, the default, takes a free one")
    http.add_argument("--allow-host", action="append", default=[], metavar="NAME", help="a name for the Host header")
    http.add_argument("--allow-origin", action="append", default=[], metavar="ORIGIN", help="an origin that may call")
    http.add_argument("--token-env", metavar="NAME", help="the environment variable that holds the bearer token")
    http.add_argument(
        "--blob-api", metavar="URL", help="the runtime's blobs, for replicas that it does not introduce itself to"
    )
    http.add_argument("--insecure", action="store_true", help="listen beyond this machine without a token")
    return parser


def _positive(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise ValueError(text)
    return seconds


def _check_address(parser: argparse.ArgumentParser, host: str, token: str | None, insecure: bool) -> None:
    from stepflow_sdk.transports.http.serving import is_loopback

    if is_loopback(host):
        return
    if token is None and not insecure:
        parser.error(f"{host} can be reached from other machines: give --token-env NAME, or --insecure to allow it")
    print(f"warning: listening on {host}, beyond this machine", file=sys.stderr)


def run_stdio(server: "StepflowServer[Any]", options: Options) -> None:
    """Serve one runtime on stdin and stdout until there is nobody to serve."""
    _run(server, options, lambda wire: _serve_stdio(server, options, wire))


def run_mcp(server: "StepflowServer[Any]", options: Options) -> None:
    """Serve one MCP client on stdin and stdout until there is nobody to serve."""
    _run(server, options, lambda wire: _serve_mcp(server, options, wire))


def run_http(server: "StepflowServer[Any]", options: Options) -> None:
    """Serve HTTP until a signal, or the end of the runtime that started the process.

    Raises:
        SystemExit: With code 1 when the address cannot be had.
    """
    from stepflow_sdk.transports.http.serving import bind

    try:
        listener = bind(options.host, options.port)
    except OSError as error:
        where = f"{options.host}, port {options.port}"
        print(
            f"cannot listen on {where}: {error.strerror or error}; choose others with --host and --port",
            file=sys.stderr,
        )
        raise SystemExit(1) from None
    _run(server, options, lambda wire: _serve_http(server, options, wire, listener))


def _run(server: "StepflowServer[Any]", options: Options, serve: Callable[[WireDescriptors], Awaitable[None]]) -> None:
    options.tuning.begin()
    wire = take_wire()
    logs = LogThread(sys.stderr, options.log_level, options.log_format)
    logs.start()
    stdout, sys.stdout = sys.stdout, LineLogger(logging.getLogger("stepflow_sdk.stdout"))

    # A runtime that reads the outputs of its server wants text and nothing else there.
    relay = OutputRelay() if _started_by_runtime(options, wire) else None

    async def main() -> None:
        await serve(wire)

    code = 0
    try:
        with asyncio.Runner(loop_factory=options.tuning.loop_factory()) as runner:
            runner.run(main())
    except Exception:
        _log.exception("%s could not be served", server.name)
        code = 1
        raise SystemExit(code) from None
    finally:
        sys.stdout = stdout
        if not logs.stop():
            # Nobody reads stderr. At its end the interpreter would flush it, and so wait for the thread that is stuck
            # in a write to it, and for that thread itself.
            sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  (to the end)
            atexit.register(os._exit, code)
        if relay is not None:
            relay.stop()


@contextlib.contextmanager
def _shutdown(server: "StepflowServer[Any]") -> Generator[Shutdown]:
    with Shutdown(server.drain_timeout + _FLUSH_SECONDS + 1.5) as shutdown:
        yield shutdown


async def _drain(server: "StepflowServer[Any]", service: Service) -> None:
    service.draining = True
    if not await service.executor.drain(server.drain_timeout):
        _log.warning("%d components did not end in time", service.executor.unanswered)
        service.executor.cancel_all(ResourceUnavailable(_GOING))
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
                session.add_done_callback(lambda _: shutdown.request())
                options.tuning.settle()
                await shutdown.requested.wait()
                await _drain(server, service)
                messages.leave()


async def _serve_http(
    server: "StepflowServer[Any]", options: Options, wire: WireDescriptors, listener: socket.socket
) -> None:
    from stepflow_sdk.transports.http.serving import make_server

    def announce() -> None:
        options.tuning.settle()
        if wire.output is not None:
            line = json.dumps({"port": listener.getsockname()[1]})
            os.write(wire.output, f"{line}\n".encode())

    with _shutdown(server) as shutdown:
        async with server.service() as service, _parent_watched(wire, options, shutdown):
            endpoint = server.endpoint(service, options.policy)
            web = make_server(
                endpoint, announce, stop_timeout=int(_FLUSH_SECONDS), head_timeout=options.policy.head_timeout
            )
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(web.serve(sockets=[listener]))
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
