"""What an operator asks of a server: whether it is ready, what it has counted, what is slow, what it sheds."""

import asyncio
import json
import logging
import threading
from typing import Any

import msgspec
import pytest

from stepflow_sdk import ComponentError, PathParam, SkipStep, StepflowContext, StepflowServer
from stepflow_sdk.dispatch import Dispatcher
from stepflow_sdk.errors import ComponentNotFound, InvalidInput, ResourceUnavailable
from stepflow_sdk.protocol import ObservabilityContext, methods
from stepflow_sdk.protocol.messages import ComponentExecuteParams
from stepflow_sdk.runtime import LocalRuntime
from stepflow_sdk.transports import Connection
from stepflow_sdk.transports.http import HttpPolicy
from stepflow_sdk.transports.memory import connect
from stepflow_sdk_tests.asgi.client import execute, request
from stepflow_sdk_tests.prometheus import samples_of

PATIENCE = 60.0


def make_server(**options: Any) -> StepflowServer:
    server: StepflowServer = StepflowServer("operated", **options)

    @server.component
    def greet(name: str) -> str:
        return f"Hello, {name}!"

    @server.component("models/{name}")
    async def model(name: PathParam[str], input: Any) -> None:
        raise ComponentError("no")

    @server.component
    async def skip(input: Any) -> None:
        raise SkipStep("not today")

    @server.component
    async def remember(input: Any, ctx: StepflowContext) -> str:
        return await ctx.put_blob(input)

    return server


class Stuck:
    """Components that wait until they are let go, each with its turn."""

    def __init__(self, server: StepflowServer) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()
        self.calls = 0

        @server.component("stuck")
        def stuck(input: Any) -> None:
            self.calls += 1
            self.begun.set()
            self.go.wait(PATIENCE)

        @server.component("turn", max_concurrency=1)
        async def turn(input: Any) -> None:
            self.begun.set()
            await asyncio.get_running_loop().run_in_executor(None, self.go.wait, PATIENCE)


async def metrics_of(app: Any, **headers: str) -> dict[str, float]:
    answer = await request(app, "/metrics", method="GET", headers=headers)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return samples_of(answer.body.decode())


def requests_of(component: str, code: str, method: str = "components/execute") -> str:
    return f'stepflow_requests_total{{method="{method}",component="{component}",code="{code}"}}'


async def test_requests_are_counted_by_component_and_outcome() -> None:
    server = make_server(metrics=True)
    for _ in range(3):
        await execute(server, "/greet", {"name": "Ada"})
    await execute(server, "/greet", {"name": 1})
    await execute(server, "/models/a", 1)
    await execute(server, "/models/b", 1)
    await execute(server, "/skip", 1)
    await execute(server, "/nobody", 1)
    await request(server, body={"jsonrpc": "2.0", "id": 1, "method": "components/list", "params": {}})
    for method in ("what/ever", "what/else"):
        await request(server, body={"jsonrpc": "2.0", "id": 1, "method": method, "params": {}})
    found = await metrics_of(server)
    assert found[requests_of("/greet", "ok")] == 3
    assert found[requests_of("/greet", str(InvalidInput.code))] == 1
    assert found[requests_of("/models/{name}", str(ComponentError.code))] == 2
    assert found[requests_of("/skip", "skipped")] == 1
    assert found[requests_of("", str(ComponentNotFound.code))] == 1
    assert found[requests_of("", "ok", "components/list")] == 1
    assert found[requests_of("", "-32601", "other")] == 2
    assert found['stepflow_request_duration_seconds_count{component="/greet"}'] == 4
    assert found['stepflow_request_duration_seconds_bucket{component="/greet",le="+Inf"}'] == 4
    assert found["stepflow_requests_in_flight"] == 0


async def test_the_buckets_of_latencies_are_cumulative() -> None:
    server = make_server(metrics=True)
    for _ in range(20):
        await execute(server, "/greet", {"name": "Ada"})
    found = await metrics_of(server)
    buckets = [value for name, value in found.items() if name.startswith("stepflow_request_duration_seconds_bucket")]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 20
    assert 0 < found['stepflow_request_duration_seconds_sum{component="/greet"}'] < PATIENCE


async def test_calls_back_and_what_runs_are_counted() -> None:
    server = make_server(metrics=True, threads=1)
    stuck = Stuck(server)
    async with server.service() as service, LocalRuntime(server) as runtime:
        await runtime.execute("/remember", {"x": 1})
        calls = [asyncio.ensure_future(runtime.execute("/stuck", 1)) for _ in range(3)]
        await asyncio.to_thread(stuck.begun.wait, PATIENCE)
        assert service.monitor is not None
        assert service.monitor.metrics is not None
        text = service.monitor.metrics.text()
        assert 'stepflow_calls_total{method="blobs/put",code="ok"} 1\n' in text
        assert "stepflow_requests_in_flight 3\n" in text
        assert "stepflow_thread_queue 2\n" in text
        stuck.go.set()
        await asyncio.gather(*calls)


async def test_there_are_no_metrics_where_nobody_asked_for_them() -> None:
    server = make_server()
    await execute(server, "/greet", {"name": "Ada"})
    assert (await request(server, "/metrics", method="GET")).status == 404


async def test_metrics_need_the_token_and_health_does_not() -> None:
    server = make_server(metrics=True, http=HttpPolicy(token="t0ken"))
    assert (await request(server, "/metrics", method="GET")).status == 401
    for path in ("/health", "/ready"):
        assert (await request(server, path, method="GET")).status == 200
    found = await metrics_of(server, authorization="Bearer t0ken")
    assert found['stepflow_http_refusals_total{status="401"}'] == 1


async def test_names_in_metrics_are_escaped() -> None:
    server: StepflowServer = StepflowServer(metrics=True)

    @server.component('odd"\\name')
    async def odd(input: Any) -> None: ...

    await execute(server, '/odd"\\name', 1)
    assert (await metrics_of(server))[requests_of('/odd"\\name', "ok")] == 1


async def test_a_server_that_stops_is_alive_and_not_ready() -> None:
    server = make_server()
    async with server.service() as service:
        ready = await request(server, "/ready", method="GET")
        assert (ready.status, ready.json) == (200, {"status": "ready"})
        service.drain()
        stopping = await request(server, "/ready", method="GET")
        assert (stopping.status, stopping.json) == (503, {"status": "stopping"})
        assert (await request(server, "/health", method="GET")).status == 200
        assert (await request(server, "/ready", method="POST")).status == 405


async def test_over_http_overload_is_shed_with_a_code_and_a_time_to_wait() -> None:
    server = make_server(metrics=True, max_in_flight=2, threads=1)
    stuck = Stuck(server)
    async with server.service() as service:
        running = [asyncio.ensure_future(execute(server, "/stuck", 1)) for _ in range(2)]
        await asyncio.to_thread(stuck.begun.wait, PATIENCE)
        for _ in range(20):
            shed = await request(server, body={"jsonrpc": "2.0", "id": 1, "method": "components/list"})
            assert shed.status == 503
            assert shed.headers["retry-after"] == "1"
            assert shed.json["error"]["code"] == -32005
            assert shed.json["error"]["data"] == {"limit": 2}
        assert service.threads.queued <= 1
        ready = await request(server, "/ready", method="GET")
        assert (ready.status, ready.json) == (503, {"status": "overloaded"})
        stuck.go.set()
        await asyncio.gather(*running)
        assert (await request(server, "/ready", method="GET")).status == 200
        assert (await metrics_of(server))['stepflow_http_refusals_total{status="503"}'] == 20


async def test_on_one_connection_overload_is_shed_with_the_limit() -> None:
    server = make_server(max_in_flight=3, threads=1, metrics=True)
    stuck = Stuck(server)
    async with server.service() as service, server.open_memory(Silent()) as connection:
        await connection.call(methods.INITIALIZE, methods.INITIALIZE.params(1))
        running = [asyncio.ensure_future(call(connection, "/stuck")) for _ in range(3)]
        await asyncio.to_thread(stuck.begun.wait, PATIENCE)
        for _ in range(20):
            with pytest.raises(ResourceUnavailable, match="too many requests in flight") as shed:
                await call(connection, "/stuck")
            assert shed.value.data == {"limit": 3}
        assert service.threads.queued <= 2
        stuck.go.set()
        await asyncio.gather(*running)
        assert stuck.calls == 3
        assert (await metrics_of(server))[requests_of("", "-32005")] == 20
        assert (await metrics_of(server))[requests_of("/stuck", "ok")] == 3


@pytest.mark.parametrize("component", ["/stuck", "/turn"])
async def test_calls_that_nobody_waits_for_do_not_pile_up_behind_stuck_components(component: str) -> None:
    server = make_server(threads=1)
    stuck = Stuck(server)
    async with server.service() as service:
        profile = service.profile()
        runtime_end, _ = connect(Silent(), Dispatcher(service, profile))
        first = asyncio.ensure_future(call(runtime_end, component))
        await asyncio.to_thread(stuck.begun.wait, PATIENCE)
        for _ in range(2500):
            gone, _ = connect(Silent(), Dispatcher(service, profile))
            waiting = asyncio.ensure_future(call(gone, component))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            gone.close()
            with pytest.raises(ResourceUnavailable):
                await waiting
        assert service.executor.unanswered == 1
        assert service.executor.queued <= 1000
        stuck.go.set()
        await first
        # Those that were forgotten have given their turns back.
        assert await call(runtime_end, component) is None


class Warnings(logging.Handler):
    """Keeps the warnings of servers, and tells when one comes."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []
        self.came = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.came.set()


async def test_a_slow_component_is_warned_of_while_it_runs_and_when_it_ends() -> None:
    server = make_server(slow_after=0.02)
    stuck = Stuck(server)
    warnings = Warnings()
    logging.getLogger("stepflow_sdk.server").addHandler(warnings)
    try:
        async with LocalRuntime(server) as runtime:
            running = asyncio.ensure_future(runtime.execute("/stuck", 1))
            await asyncio.wait_for(warnings.came.wait(), PATIENCE)
            stuck.go.set()
            await running
    finally:
        logging.getLogger("stepflow_sdk.server").removeHandler(warnings)
    first, second = warnings.records
    assert first.getMessage() == "/stuck has not ended after 0.02 s"
    assert first.__dict__["component"] == "/stuck"
    assert second.getMessage().startswith("/stuck ended after ")


class Silent:
    """A runtime that serves nothing."""

    def request(self, connection: Connection, request: Any) -> None:
        connection.fail(request, ResourceUnavailable("no"))

    def notification(self, connection: Connection, notification: Any) -> None: ...

    def closed(self, connection: Connection) -> None: ...


async def call(connection: Connection, component: str) -> Any:
    params = ComponentExecuteParams(component, msgspec.Raw(b"1"), 1, ObservabilityContext())
    return json.loads(bytes((await connection.call(methods.EXECUTE, params)).output))
