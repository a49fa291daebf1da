"""A server over HTTP as a real process: plain answers, event streams, sessions, refusals and its end."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from stepflow_sdk_tests.e2e.test_stdio_server import FAILURES, VALUES
from stepflow_sdk_tests.e2e.web import HEADERS, Reply, Web, execution, serving_http
from stepflow_sdk_tests.e2e.wire import PATIENCE, SERVERS, eventually, runs

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with serving_http("careless") as web:
        yield web


@pytest.fixture(scope="module", params=["httptools", "h11"])
def either(request: pytest.FixtureRequest) -> Iterator[Web]:
    """A server on each of the two parsers that uvicorn has."""
    with serving_http("careless", environment={"HTTP_PARSER": request.param}) as web:
        yield web


def test_health_is_open_and_says_nothing_of_the_inside(web: Web) -> None:
    assert web.send("GET", "/health").json == {"status": "healthy"}
    assert web.send("HEAD", "/health").status == 200


def test_initialize_and_initialized_are_answered_as_runtimes_demand(web: Web) -> None:
    body = {"jsonrpc": "2.0", "id": "i", "method": "initialize", "params": {"runtime_protocol_version": 1}}
    reply = web.send(body=body)
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json["result"] == {"server_protocol_version": 1, "serverProtocolVersion": 1}
    reply = web.send(body={"jsonrpc": "2.0", "method": "initialized", "params": {}})
    assert (reply.status, reply.body) == (202, b"")


def test_values_of_every_kind_come_back_unharmed(web: Web) -> None:
    for component in ("/echo", "/echo/thread"):
        for value in VALUES:
            assert json.dumps(web.execute(component, value)["result"]["output"]) == json.dumps(value)


def test_many_requests_on_one_connection(web: Web) -> None:
    connection = web.connect()
    for number in range(200):
        connection.request("POST", "/", json.dumps(execution("/echo", number, number)), HEADERS)
        assert json.loads(connection.getresponse().read()) == {
            "jsonrpc": "2.0",
            "id": number,
            "result": {"output": number},
        }
    connection.close()


def test_whatever_a_component_raises_is_a_failed_execution(web: Web) -> None:
    for how, message in FAILURES.items():
        reply = web.send(body=execution("/fail", {"how": how}))
        assert reply.status == 200
        assert reply.json["error"]["message"] == message
        assert b"careless.py" not in reply.body


def test_a_component_with_a_context_that_makes_no_calls_is_answered_plainly(web: Web) -> None:
    reply = web.send(body=execution("/log", {"text": "x"}))
    assert (reply.headers["content-type"], reply.json["result"]) == ("application/json", {"output": None})


@pytest.mark.parametrize("component", ["/call/back", "/call/back/thread"])
def test_calls_back_come_as_events_and_their_answers_as_posts(web: Web, component: str) -> None:
    stream = web.open(body=execution(component, "é😀"))
    assert stream.headers["content-type"] == "text/event-stream"
    put = stream.message()
    assert (put["method"], put["params"]["data"]) == ("blobs/put", "é😀")
    for answer in ({"blob_id": "b"}, {"data": "\u2028", "blob_type": "data"}):
        reply = web.send(body={"jsonrpc": "2.0", "id": put["id"], "result": answer})
        assert (reply.status, reply.body) == (202, b"")
        put = stream.message()
    assert put == {"jsonrpc": "2.0", "id": 1, "result": {"output": ["b", "\u2028"]}}
    assert all(line.isascii() for line in stream.lines)
    assert stream.response.read() == b""
    stream.close()


def test_a_failing_call_back_ends_the_stream_with_its_error(web: Web) -> None:
    stream = web.open(body=execution("/call/back", 1))
    error = {"code": -32008, "message": "gone"}
    web.send(body={"jsonrpc": "2.0", "id": stream.message()["id"], "error": error})
    assert stream.message()["error"] == error
    stream.close()


def test_an_answer_for_another_process_is_refused_and_a_late_one_accepted(web: Web) -> None:
    answer = {"jsonrpc": "2.0", "id": "nobody's", "result": {}}
    assert web.send(body=answer).status == 202
    reply = web.send(body=answer, headers={"stepflow-instance-id": "another"})
    assert reply.status == 421
    assert "another process" in reply.json["error"]["message"]


def test_event_streams_name_the_process(web: Web) -> None:
    streams = [web.open(body=execution("/call/back", number)) for number in range(2)]
    names = {stream.headers["stepflow-instance-id"] for stream in streams}
    assert len(names) == 1
    for stream in streams:
        answer = {"jsonrpc": "2.0", "id": stream.message()["id"], "error": {"code": 1, "message": "m"}}
        assert web.send(body=answer, headers={"stepflow-instance-id": names.copy().pop()}).status == 202
        stream.close()


REFUSALS: list[tuple[dict[str, Any], int, int]] = [
    ({"path": "/elsewhere", "body": {}}, 404, -32012),
    ({"method": "GET"}, 405, -32600),
    ({"method": "DELETE"}, 405, -32600),
    ({"method": "POST", "path": "/health", "body": {}}, 405, -32600),
    ({"method": "POST", "path": "/runtime/events", "body": {}}, 405, -32600),
    ({"body": {}, "headers": {"content-type": "text/plain"}}, 415, -32600),
    ({"body": {}, "headers": {"content-type": "text/plain; x=application/json"}}, 415, -32600),
    ({"body": {}, "headers": {"content-type": "application/jsonx"}}, 415, -32600),
    ({"body": {}, "headers": {"content-encoding": "gzip"}}, 415, -32600),
    ({"body": {}, "headers": {"accept": "application/json"}}, 406, -32600),
    ({"body": {}, "headers": {"accept": ""}}, 406, -32600),
    ({"body": {}, "headers": {"host": "evil.example"}}, 421, -32007),
    ({"body": {}, "headers": {"host": "localhost.evil.example:80"}}, 421, -32007),
    ({"method": "GET", "path": "/health", "headers": {"host": "evil.example"}}, 421, -32007),
    ({"body": {}, "headers": {"origin": "http://evil.example"}}, 403, -32007),
    ({"body": {}, "headers": {"origin": "null"}}, 403, -32007),
    ({"body": {}, "headers": {"origin": "http://localhost"}}, 403, -32007),
    ({"body": b""}, 400, -32700),
    ({"body": b"{"}, 400, -32700),
    ({"body": b"\xff"}, 400, -32700),
    ({"body": []}, 400, -32600),
    ({"body": [execution("/echo", 1)]}, 400, -32600),
    ({"path": "/session/unknown", "body": execution("/echo", 1)}, 404, -32010),
]


@pytest.mark.parametrize(("request_", "status", "code"), REFUSALS)
def test_what_is_not_served_has_a_status_and_an_error(
    web: Web, request_: dict[str, Any], status: int, code: int
) -> None:
    reply = web.send(**request_)
    assert (reply.status, reply.json["error"]["code"]) == (status, code)
    assert web.execute("/echo", 1)["result"]["output"] == 1


@pytest.mark.parametrize("host", ["localhost", "localhost:80", "127.0.0.1", "[::1]:80", "LOCALHOST"])
def test_the_names_of_this_machine_are_known(web: Web, host: str) -> None:
    assert web.send("GET", "/health", headers={"host": host}).status == 200


def test_hosts_and_origins_can_be_allowed() -> None:
    with serving_http("careless", "--allow-host", "api.example", "--allow-origin", "https://app.example") as web:
        headers = {"host": "api.example:443", "origin": "https://app.example"}
        assert web.send(body=execution("/echo", 1), headers=headers).status == 200
        assert web.send(body=execution("/echo", 1), headers={"origin": "https://other.example"}).status == 403


def test_a_body_above_the_limit_is_refused_before_it_is_read() -> None:
    with serving_http("careless", environment={"MAX_BYTES": "1000"}) as web:
        reply = web.send(body=execution("/echo", "x" * 2000))
        assert (reply.status, reply.json["error"]["data"]) == (413, {"limit": 1000})
        connection = web.connect()
        chunks = (b"x" * 100 for _ in range(11))
        connection.request("POST", "/", chunks, HEADERS, encode_chunked=True)
        assert Reply(connection.getresponse()).status == 413
        connection.close()
        assert web.execute("/echo", 1)["result"]["output"] == 1


def test_a_token_is_demanded_where_one_is_set() -> None:
    with serving_http("careless", "--token-env", "SECRET", environment={"SECRET": "s3cret"}) as web:
        assert web.send("GET", "/health").status == 200
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic s3cret"}):
            for request in ({"body": execution("/echo", 1)}, {"method": "GET", "path": "/runtime/events"}):
                reply = web.send(**request, headers=headers)
                assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
                assert b"s3cret" not in reply.body
        assert web.send(body=execution("/echo", 1), headers={"authorization": "Bearer s3cret"}).status == 200


def test_the_server_refuses_to_listen_beyond_the_machine_without_a_token() -> None:
    with pytest.raises(AssertionError, match="--token-env"), serving_http("careless", "--host", "0.0.0.0"):
        pass


@pytest.mark.parametrize("address", [["--port", "{taken}"], ["--host", "nowhere.invalid", "--insecure"]])
def test_an_address_that_cannot_be_had_is_one_line(web: Web, address: list[str]) -> None:
    arguments = [part.format(taken=web.port) for part in address]
    with pytest.raises(AssertionError) as caught, serving_http("careless", *arguments):
        pass
    lines = [line for line in str(caught.value).splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1
    assert lines[0].startswith("cannot listen on ")


def test_a_wrong_option_is_a_usage_error() -> None:
    with pytest.raises(AssertionError, match="NOT_SET"), serving_http("careless", "--token-env", "NOT_SET"):
        pass


# ---- sessions -------------------------------------------------------------------------------------------------


def test_a_session_answers_posts_and_sends_calls_down_its_stream(web: Web) -> None:
    stream = web.open("/runtime/events", method="GET")
    first = stream.event()
    address = json.loads(first["data"])["endpoint"]
    assert (first["event"], address.rpartition("/")[0]) == ("endpoint", "/session")
    assert web.execute("/echo", 1, path=address)["result"]["output"] == 1
    replies: list[Any] = []
    poster = threading.Thread(target=lambda: replies.append(web.execute("/call/back", "é", path=address)))
    poster.start()
    for answer in ({"blob_id": "b"}, {"data": 2, "blob_type": "data"}):
        event = stream.event()
        assert event["event"] == "message"
        call = json.loads(event["data"])
        assert web.send(path=address, body={"jsonrpc": "2.0", "id": call["id"], "result": answer}).status == 202
    poster.join(PATIENCE)
    assert replies == [{"jsonrpc": "2.0", "id": 1, "result": {"output": ["b", 2]}}]
    stream.close()


def test_no_session_can_answer_the_calls_of_another(web: Web) -> None:
    one, other = (web.open("/runtime/events", method="GET") for _ in range(2))
    address, foreign = (json.loads(stream.event()["data"])["endpoint"] for stream in (one, other))
    assert address != foreign
    replies: list[Any] = []
    poster = threading.Thread(target=lambda: replies.append(web.execute("/call/back", 1, path=address)))
    poster.start()
    call = json.loads(one.event()["data"])
    stolen = {"jsonrpc": "2.0", "id": call["id"], "result": {"blob_id": "stolen"}}
    for path in (foreign, "/"):
        assert web.send(path=path, body=stolen).status == 202
    failure = {"code": 5, "message": "the real answer"}
    web.send(path=address, body={"jsonrpc": "2.0", "id": call["id"], "error": failure})
    poster.join(PATIENCE)
    assert replies[0]["error"] == failure
    one.close()
    other.close()


def test_a_session_ends_with_its_stream(web: Web) -> None:
    stream = web.open("/runtime/events", method="GET")
    address = json.loads(stream.event()["data"])["endpoint"]
    stream.close()
    eventually(lambda: web.send(path=address, body=execution("/echo", 1)).status == 404)


# ---- life -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 50])
def test_a_client_that_goes_away_cancels_its_component(web: Web, count: int) -> None:
    before = web.execute("/hang/count")["result"]["output"]
    streams = [web.open(body=execution("/hang/call", 1)) for _ in range(count)]
    for stream in streams:
        stream.message()
    assert web.execute("/hang/count")["result"]["output"] == before + count
    for stream in streams:
        stream.close()
    eventually(lambda: bool(web.execute("/hang/count")["result"]["output"] == before))


def test_a_client_that_goes_away_before_a_plain_answer_cancels_its_component(web: Web) -> None:
    before = web.execute("/hang/count")["result"]["output"]
    connection = web.connect()
    connection.request("POST", "/", json.dumps(execution("/hang/counted")), HEADERS)
    eventually(lambda: bool(web.execute("/hang/count")["result"]["output"] == before + 1))
    connection.close()
    eventually(lambda: bool(web.execute("/hang/count")["result"]["output"] == before))


@posix_only
def test_a_signal_answers_what_runs_while_streams_are_open() -> None:
    with serving_http("careless") as web:
        session = web.open("/runtime/events", method="GET")
        session.event()
        stream = web.open(body=execution("/call/back", 1))
        call = stream.message()
        web.process.send_signal(signal.SIGTERM)
        probe = {"jsonrpc": "2.0", "id": 1, "method": "components/list", "params": {}}
        eventually(lambda: "error" in web.send(body=probe).json)
        web.send(body={"jsonrpc": "2.0", "id": call["id"], "result": {"blob_id": "b"}})
        call = stream.message()
        web.send(body={"jsonrpc": "2.0", "id": call["id"], "result": {"data": 2, "blob_type": "data"}})
        assert stream.message()["result"]["output"] == ["b", 2]
        assert web.process.wait(PATIENCE) == 0
        session.close()
        stream.close()


@posix_only
def test_a_second_signal_ends_the_process_at_once() -> None:
    with serving_http("careless") as web:
        stream = web.open(body=execution("/hang/call", 1))
        stream.message()
        web.process.send_signal(signal.SIGTERM)
        probe = {"jsonrpc": "2.0", "id": 1, "method": "components/list", "params": {}}
        eventually(lambda: "error" in web.send(body=probe).json)
        web.process.send_signal(signal.SIGTERM)
        assert web.process.wait(PATIENCE) == 128 + signal.SIGTERM
        stream.close()


def test_a_body_that_never_ends_is_given_up() -> None:
    with serving_http("careless", environment={"BODY_TIMEOUT": "0.2"}) as web:
        raw = socket.create_connection(("127.0.0.1", web.port), PATIENCE)
        head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        raw.sendall(head.encode() + b"\r\n{")
        assert raw.recv(1000).startswith(b"HTTP/1.1 408 ")
        raw.close()


@pytest.mark.parametrize("beginning", [b"", b"POST / HTTP/1.1\r\nhost: local"])
@pytest.mark.parametrize("after_a_request", [False, True])
def test_a_head_that_never_ends_is_given_up(beginning: bytes, after_a_request: bool) -> None:
    # Long enough for what is sent at once, also where this process has to wait for its turn in between.
    with serving_http("careless", environment={"HEAD_TIMEOUT": "2"}) as web:
        raw = socket.create_connection(("127.0.0.1", web.port), PATIENCE)
        if after_a_request:
            raw.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert raw.recv(1000).startswith(b"HTTP/1.1 200 ")
            if not beginning:
                raw.close()
                return
        raw.sendall(beginning)
        answer = b""
        while piece := raw.recv(1000):
            answer += piece
        assert not answer.startswith(b"HTTP/1.1 200 ")
        raw.close()
        assert web.execute("/echo", 1)["result"]["output"] == 1


def exchange_raw(web: Web, data: bytes) -> bytes:
    """Send bytes on one connection and return everything that comes until the server closes it."""
    raw = socket.create_connection(("127.0.0.1", web.port), PATIENCE)
    raw.sendall(data)
    answer = b""
    while piece := raw.recv(65536):
        answer += piece
    raw.close()
    return answer


def head_of(*more: str) -> bytes:
    lines = ["POST / HTTP/1.1", "host: localhost", *(f"{name}: {value}" for name, value in HEADERS.items()), *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def test_the_head_of_a_request_is_bounded(either: Web) -> None:
    endless = b"GET /health HTTP/1.1\r\nhost: localhost\r\nx: " + b"x" * 100_000
    assert exchange_raw(either, endless).startswith(b"HTTP/1.1 4")
    many = b"GET /health HTTP/1.1\r\nhost: localhost\r\n" + b"x: 1\r\n" * 100 + b"\r\n"
    assert exchange_raw(either, many).startswith(b"HTTP/1.1 431 ")
    assert either.send("GET", "/health").status == 200


SMUGGLED = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        head_of(f"content-length: {5 + len(SMUGGLED)}", "transfer-encoding: chunked") + b"0\r\n\r\n" + SMUGGLED,
        head_of("transfer-encoding: chunked", "content-length: 5") + b"0\r\n\r\n" + SMUGGLED,
        head_of("content-length: 2", "content-length: 5") + b"{}" + SMUGGLED,
        head_of("content-length: -1") + SMUGGLED,
        head_of("transfer-encoding: chunked, identity") + b"0\r\n\r\n" + SMUGGLED,
        head_of("transfer-encoding: chunked") + b"zz\r\n" + SMUGGLED,
        b"POST / HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n" + SMUGGLED,
    ],
)
def test_a_request_with_two_lengths_smuggles_nothing(either: Web, data: bytes) -> None:
    answer = exchange_raw(either, data)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"healthy" not in answer


def test_requests_in_a_pipeline_are_answered_in_order(web: Web) -> None:
    requests = b""
    for number in range(20):
        body = json.dumps(execution("/echo/thread" if number % 2 else "/echo", number, number)).encode()
        requests += head_of(f"content-length: {len(body)}") + body
    last = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    answer = exchange_raw(web, requests + last).decode()
    assert [int(number) for number in re.findall(r'"id":(\d+)', answer)] == list(range(20))


@pytest.mark.parametrize("parser", ["httptools", "h11"])
def test_as_many_connections_as_may_be_are_served_and_no_more(parser: str) -> None:
    with ExitStack() as stack:
        web = stack.enter_context(
            serving_http("careless", environment={"HTTP_PARSER": parser, "MAX_CONNECTIONS": "20"})
        )
        for _ in range(19):
            stack.enter_context(socket.create_connection(("127.0.0.1", web.port), PATIENCE))
        with closing(web.connect()) as last:
            for _ in range(2):
                last.request("POST", "/", json.dumps(execution("/echo", 1)), HEADERS)
                assert Reply(last.getresponse()).json["result"] == {"output": 1}
            refused = web.send(body=execution("/large", {"text": "x" * 1_000_000}))
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            assert refused.json["error"]["data"] == {"limit": 20}
        eventually(lambda: web.send(body=execution("/echo", 1)).status == 200)


@posix_only
@pytest.mark.slow
def test_with_several_processes_an_answer_reaches_its_own_or_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "asking.py").write_text("""
from stepflow_sdk import StepflowContext, StepflowServer

server = StepflowServer("asking")

@server.component
async def ask(ctx: StepflowContext) -> str:
    return await ctx.put_blob(1)
""")
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.close()
    command = [sys.executable, "-m", "uvicorn", "asking:server", "--port", str(port), "--workers", "2"]
    # A worker that has not begun to answer after this time is killed, and another started in its place.
    command += ["--timeout-worker-healthcheck", str(int(PATIENCE))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, start_new_session=True)
    try:
        web = Web(process, port)
        eventually(lambda: web.stderr.count(b"Application startup complete") == 2)
        statuses: set[int] = set()
        while len(statuses) < 2:
            stream = web.open(body=execution("/ask"))
            call = stream.message()
            answer = {"jsonrpc": "2.0", "id": call["id"], "result": {"blob_id": "b"}}
            headers = {"stepflow-instance-id": stream.headers["stepflow-instance-id"]}
            while (status := web.send(body=answer, headers=headers).status) == 421:
                statuses.add(status)
            statuses.add(status)
            assert stream.message()["result"]["output"] == "b"
            stream.close()
        assert statuses == {202, 421}
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


@posix_only
def test_a_server_that_a_runtime_started_ends_with_it() -> None:
    code = f"""
import subprocess, sys, time
command = [sys.executable, {str(SERVERS / "careless.py")!r}, "--http"]
server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
server.stdout.readline()
print(server.pid, flush=True)
time.sleep(3600)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
    try:
        assert parent.stdout is not None
        server_id = int(parent.stdout.readline())
    finally:
        parent.kill()
        parent.wait(PATIENCE)
        if parent.stdout is not None:
            parent.stdout.close()
    eventually(lambda: not runs(server_id))
