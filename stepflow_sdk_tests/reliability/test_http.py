"""HTTP: requests that mean two things, that are broken, too large, too slow or not allowed, and too many of them."""

import contextlib
import json
import os
import re
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stepflow_sdk_tests.e2e.web import Web, serving_http
from stepflow_sdk_tests.e2e.wire import PATIENCE, eventually
from stepflow_sdk_tests.reliability.ends import RECKLESS, execution
from stepflow_sdk_tests.reliability.http_cases import (
    BROKEN,
    ECHO,
    KNOWN,
    REFUSED,
    SERVED,
    SMUGGLED,
    SMUGGLING,
    Raw,
    head,
    post,
)
from stepflow_sdk_tests.reliability.memory import descriptors, linux_only, memory, peak_while, threads

PARSERS = ["httptools", "h11"]


def parser_environment(parser: str, folder: Path) -> dict[str, str]:
    """An environment in which uvicorn finds this parser, and no faster one."""
    if parser == "httptools":
        pytest.importorskip("httptools")
        return {}
    (folder / "httptools.py").write_text("raise ImportError")
    return {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}


@pytest.fixture(scope="module", params=PARSERS)
def web(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    environment = parser_environment(request.param, tmp_path_factory.mktemp("parser"))
    with serving_http(RECKLESS, environment=environment) as web:
        yield web


def connect(web: Web) -> socket.socket:
    return socket.create_connection(("127.0.0.1", web.port), PATIENCE)


def everything(connection: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    answer = b""
    try:
        while piece := connection.recv(65536):
            answer += piece
    except ConnectionResetError:
        pass  # the server closed it with bytes of ours unread
    return answer


def one_answer(connection: socket.socket) -> bytes:
    """A head and the body that belongs to it, or what came before the connection was closed."""
    answer = b""
    try:
        while not _whole(answer) and (piece := connection.recv(65536)):
            answer += piece
    except ConnectionResetError:
        pass
    return answer


def _whole(answer: bytes) -> bool:
    beginning, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", beginning.lower())
    return bool(end) and (length is None or len(body) >= int(length[1]))


def status_of(answer: bytes) -> int:
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0


def send(connection: socket.socket, data: bytes) -> None:
    # A server that has seen enough may have closed the connection already.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(data)


def still_serves(web: Web) -> None:
    assert web.execute("/echo", 5)["result"] == {"output": 5}
    assert b"Exception in ASGI" not in web.stderr


@pytest.mark.promise("S6")
@pytest.mark.parametrize("raw", SMUGGLING, ids=lambda raw: raw.name)
def test_a_request_that_means_two_things_is_refused_and_its_connection_closed(web: Web, raw: Raw) -> None:
    with connect(web) as connection:
        send(connection, raw.data)
        answer = everything(connection)
    assert status_of(answer) in raw.statuses
    assert b"healthy" not in answer
    assert answer.count(b"HTTP/1.1 ") == 1
    still_serves(web)


@pytest.mark.promise("S6")
@pytest.mark.parametrize("to", ["h2c", "websocket", "TLS/1.0, HTTP/1.1", "x"])
def test_the_body_of_a_request_that_asks_for_an_upgrade_is_not_the_next_request(web: Web, to: str) -> None:
    more = ["connection: upgrade", f"upgrade: {to}", f"content-length: {len(SMUGGLED)}"]
    with connect(web) as connection:
        send(connection, head(*more))
        send(connection, SMUGGLED + post(b"{", "connection: close"))
        answer = everything(connection)
    assert status_of(answer) == 400
    assert b"healthy" not in answer
    still_serves(web)


@pytest.mark.promise("S6")
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_upgrade_in_a_pipeline_or_in_pieces_smuggles_nothing(web: Web, size: int) -> None:
    more = ["connection: upgrade", "upgrade: h2c", f"content-length: {len(SMUGGLED)}"]
    data = post(ECHO) + head(*more) + SMUGGLED + post(b"{", "connection: close")
    with connect(web) as connection:
        with contextlib.suppress(ConnectionError):  # it may be closed at the second request
            for start in range(0, len(data), size):
                send(connection, data[start : start + size])
        answer = everything(connection)
    assert status_of(answer) == 200
    assert b"healthy" not in answer
    still_serves(web)


@pytest.mark.promise("S5", "S6")
@pytest.mark.parametrize("raw", BROKEN, ids=lambda raw: raw.name)
def test_what_is_no_request_is_refused_or_dropped(web: Web, raw: Raw) -> None:
    with connect(web) as connection:
        send(connection, raw.data)
        connection.shutdown(socket.SHUT_WR)
        answer = everything(connection)
    assert status_of(answer) in raw.statuses
    assert b"Traceback" not in answer
    still_serves(web)


@pytest.mark.promise("S2", "S3", "S7")
@pytest.mark.parametrize("raw", REFUSED, ids=lambda raw: raw.name)
def test_what_is_not_allowed_is_refused(web: Web, raw: Raw) -> None:
    with connect(web) as connection:
        send(connection, raw.data)
        answer = one_answer(connection) if raw.name != "HEAD" else connection.recv(65536)
    assert status_of(answer) in raw.statuses
    assert b'"output"' not in answer
    assert b"access-control" not in answer.lower()
    still_serves(web)


@pytest.mark.promise("S3", "S6")
@pytest.mark.parametrize("raw", SERVED, ids=lambda raw: raw.name)
def test_what_is_only_unusual_is_served(web: Web, raw: Raw, request: pytest.FixtureRequest) -> None:
    if reason := KNOWN.get((request.node.callspec.params["web"], raw.name)):
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))
    with connect(web) as connection:
        send(connection, raw.data)
        answer = one_answer(connection)
        if status_of(answer) == 100:
            answer = answer.partition(b"\r\n\r\n")[2] or one_answer(connection)
    assert status_of(answer) == 200
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"jsonrpc": "2.0", "id": 1, "result": {"output": 1}}


@pytest.mark.promise("R1")
@pytest.mark.parametrize("size", [1, 3, 50, 4096])
def test_the_pieces_in_which_a_request_comes_make_no_difference(web: Web, size: int) -> None:
    data = post(ECHO) + head("transfer-encoding: chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(ECHO), ECHO)
    with connect(web) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(data), size):
            send(connection, data[at : at + size])
        answer = b""
        while answer.count(b'"output":1') < 2:
            piece = connection.recv(65536)
            assert piece
            answer += piece


@pytest.mark.promise("R1")
@pytest.mark.parametrize("count", [2, 100])
def test_a_pipeline_is_answered_in_its_order(web: Web, count: int) -> None:
    data = b"".join(
        post(json.dumps(execution(number, ("/echo", "/echo/thread", "/late")[number % 3], number)).encode())
        if number % 5
        else post(b"{")
        for number in range(count)
    )
    with connect(web) as connection:
        send(connection, data + b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        answer = everything(connection).decode()
    ids = re.findall(r'"id":(\d+|null)', answer)
    assert ids == [str(number) if number % 5 else "null" for number in range(count)]


_NO_REQUEST = b"\x00\x01 is no request\r\n\r\n"
_NO_CHUNK = head("transfer-encoding: chunked") + b"x\r\n"


@pytest.mark.promise("R1", "S5")
@pytest.mark.parametrize("component", ["/echo", "/late/async"])
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("broken", [_NO_REQUEST, _NO_CHUNK], ids=["no request", "no chunk"])
def test_what_is_no_request_is_refused_after_those_before_it_are_answered(
    web: Web, component: str, count: int, broken: bytes
) -> None:
    data = b"".join(post(json.dumps(execution(number, component, number)).encode()) for number in range(count))
    with connect(web) as connection:
        send(connection, data + broken + post(ECHO))
        answer = everything(connection).decode()
    assert re.findall(r"HTTP/1.1 (\d+)", answer) == ["200"] * count + ["400"]
    assert re.findall(r'"id":(\d+)', answer) == [str(number) for number in range(count)]
    still_serves(web)


def _send_without_end(connection: socket.socket) -> int:
    """Send 100 MB, or as much as the server takes before it closes the connection or takes no more for a while."""
    connection.settimeout(3)
    sent = 0
    with contextlib.suppress(OSError):
        while sent < 100_000_000:
            sent += connection.send(b"x-a: b\r\n" * 20_000)
    return sent


_WAITING = post(json.dumps(execution(1, "/wait/async")).encode())
_ENDLESS = {
    "trailers": head("transfer-encoding: chunked") + b"0\r\n",
    "trailers of what is answered early": b"GET /health HTTP/1.1\r\nhost: localhost\r\n"
    b"transfer-encoding: chunked\r\n\r\n0\r\n",
    "a head behind a request": _WAITING + b"POST / HTTP/1.1\r\n",
}


@pytest.mark.promise("S5")
@linux_only
@pytest.mark.parametrize("name", _ENDLESS)
def test_what_comes_without_end_beside_bodies_is_not_kept(name: str) -> None:
    with serving_http(RECKLESS) as web, connect(web) as connection:
        send(connection, _ENDLESS[name])
        still_serves(web)
        before = memory(web.process.pid)
        _send_without_end(connection)
        assert memory(web.process.pid) - before < 20_000_000
        still_serves(web)


@pytest.mark.promise("S5")
def test_behind_what_is_no_request_nothing_more_is_read() -> None:
    with serving_http(RECKLESS) as web, connect(web) as connection:
        send(connection, _WAITING + _NO_REQUEST)
        assert _send_without_end(connection) < 50_000_000
        still_serves(web)


def test_a_refused_client_that_stays_does_not_hold_up_the_end() -> None:
    with serving_http(RECKLESS) as web, connect(web) as connection:
        send(connection, _NO_CHUNK)
        assert status_of(one_answer(connection)) == 400
        web.process.terminate()
        assert web.process.wait(PATIENCE) == 0
        assert b"ERROR" not in web.stderr


@pytest.mark.promise("S5")
@pytest.mark.parametrize("parser", PARSERS)
def test_slow_heads_and_bodies_are_given_up_while_others_are_served(parser: str, tmp_path: Path) -> None:
    # Long enough for what is sent at once, also where this process has to wait for its turn in between.
    times = {"HEAD_TIMEOUT": "2", "BODY_TIMEOUT": "2"}
    beginnings = [
        b"",
        b"P",
        b"POST / HTTP/1.1\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\nx: ",
        head("content-length: 100"),
        head("content-length: 100") + b"{",
        head("transfer-encoding: chunked"),
        head("transfer-encoding: chunked") + b"5\r\n{",
        post(ECHO) + head("content-length: 100"),
    ]
    with serving_http(RECKLESS, environment={**parser_environment(parser, tmp_path), **times}) as web:
        connections: list[tuple[bytes, socket.socket]] = []
        for beginning in beginnings * 20:
            connection = connect(web)
            send(connection, beginning)
            connections.append((beginning, connection))
        still_serves(web)
        for beginning, connection in connections:
            answer = everything(connection)
            assert answer.count(b"HTTP/1.1 200") == (1 if beginning.startswith(post(ECHO)) else 0)
            connection.close()
        still_serves(web)


@pytest.mark.promise("S5")
@linux_only
def test_bodies_above_the_limit_are_not_kept(tmp_path: Path) -> None:
    with serving_http(RECKLESS, environment={"MAX_BYTES": "100000"}) as web:

        def flood() -> None:
            for _ in range(4):
                with connect(web) as connection:
                    send(connection, head("content-length: 50000000"))
                    for _ in range(50):
                        send(connection, b"x" * 1_000_000)
                    assert status_of(everything(connection)) in {413, 0}
                with connect(web) as connection:
                    send(connection, head("transfer-encoding: chunked"))
                    for _ in range(50):
                        send(connection, b"f4240\r\n" + b"x" * 1_000_000 + b"\r\n")
                    assert status_of(everything(connection)) in {413, 0}

        assert peak_while(web.process.pid, flood) < 30_000_000
        still_serves(web)


@pytest.mark.promise("R11", "S5")
@linux_only
def test_five_hundred_connections_are_served_and_leave_nothing(web: Web) -> None:
    still_serves(web)
    before = descriptors(web.process.pid)
    connections = [connect(web) for _ in range(500)]
    for round_ in range(2):
        for connection in connections:
            send(connection, post(json.dumps(execution(round_, "/echo/thread", 1)).encode()))
        for connection in connections:
            assert status_of(one_answer(connection)) == 200
    for connection in connections:
        connection.close()
    eventually(lambda: descriptors(web.process.pid) <= before + 1)


def served(connection: socket.socket) -> int:
    send(connection, post(ECHO))
    return status_of(one_answer(connection))


@pytest.mark.promise("S5")
@pytest.mark.slow
@linux_only
def test_ten_thousand_connections_are_served_and_those_above_refused() -> None:
    times = {"HEAD_TIMEOUT": "600"}
    with room_for_files(10_500), serving_http(RECKLESS, environment=times) as web, contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connect(web)) for _ in range(10_200)]
        # First those above the limit: who was served and says no more makes room after some time.
        assert [served(each) for each in connections[10_000:]] == [503] * 200
        assert [served(each) for each in connections[:10_000]] == [200] * 10_000
        for connection in connections[-300:]:
            connection.close()
        eventually(lambda: web.send(body=execution(1, "/echo", 1)).status == 200)


@contextlib.contextmanager
def room_for_files(wanted: int) -> Iterator[None]:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip("the system lets nobody open so many files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.promise("S5")
@linux_only
def test_strangers_who_connect_and_say_nothing_are_held_up_to_the_limit_only() -> None:
    with serving_http(RECKLESS, environment={"MAX_CONNECTIONS": "50"}) as web, contextlib.ExitStack() as stack:
        before = descriptors(web.process.pid)
        connections = [stack.enter_context(connect(web)) for _ in range(400)]
        assert [served(each) for each in connections[:50]] == [200] * 50
        # What is on its way out is gone soon, whether it asks for something or not.
        eventually(lambda: descriptors(web.process.pid) <= before + 50)
        for connection in connections[:50]:
            assert served(connection) == 200
            connection.close()
        eventually(lambda: web.send(body=execution(1, "/echo", 1)).status == 200)


@pytest.mark.promise("S5")
@linux_only
def test_a_server_takes_no_more_connections_than_it_may_have_files() -> None:
    with serving_http(RECKLESS, environment={"MAX_FILES": "300"}) as web, contextlib.ExitStack() as stack:
        statuses = [served(stack.enter_context(connect(web))) for _ in range(120)]
        assert statuses == [200] * 75 + [503] * 45
        assert b"at most 75 connections are served" in web.stderr
        for _ in range(500):
            stack.enter_context(connect(web))
        stack.close()
        eventually(lambda: web.send(body=execution(1, "/echo", 1)).status == 200)
        assert b"out of system resource" not in web.stderr


@pytest.mark.promise("S5")
@linux_only
def test_a_server_that_runs_out_of_files_serves_who_is_there_and_then_the_others() -> None:
    import resource

    with serving_http(RECKLESS) as web, contextlib.ExitStack() as stack:
        first = stack.enter_context(connect(web))
        assert served(first) == 200
        limits = resource.prlimit(web.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(web.process.pid, resource.RLIMIT_NOFILE, (descriptors(web.process.pid), limits[1]))
        later = [stack.enter_context(connect(web)) for _ in range(20)]
        eventually(lambda: b"out of system resource" in web.stderr)
        assert served(first) == 200
        resource.prlimit(web.process.pid, resource.RLIMIT_NOFILE, limits)
        assert {served(each) for each in later} == {200}


@pytest.mark.promise("R10", "R11")
@linux_only
@pytest.mark.parametrize("component", ["/call/async", "/wait/async"])
def test_two_hundred_clients_that_go_away_leave_nothing_running(web: Web, component: str) -> None:
    def burst() -> None:
        bodies = [post(json.dumps(execution(number, component, number)).encode()) for number in range(200)]
        connections = [connect(web) for _ in bodies]
        for connection, body in zip(connections, bodies, strict=True):
            send(connection, body)
        if component == "/call/async":
            for connection in connections:
                assert b"blobs/put" in until(connection, b"blobs/put")
        still_serves(web)
        for connection in connections:
            connection.close()
        eventually(lambda: descriptors(web.process.pid) <= before + 2)

    still_serves(web)
    before = descriptors(web.process.pid)
    # What the allocator keeps for another time, and what waits for the garbage collector, is there after some.
    for _ in range(12):
        burst()
    used, running = memory(web.process.pid), threads(web.process.pid)
    for _ in range(2):
        burst()
    assert memory(web.process.pid) - used < 5_000_000
    assert threads(web.process.pid) <= running


def until(connection: socket.socket, text: bytes) -> bytes:
    answer = b""
    while text not in answer:
        piece = connection.recv(65536)
        assert piece
        answer += piece
    return answer


@pytest.mark.promise("R10")
def test_sessions_that_are_opened_and_dropped_leave_room_for_others(web: Web) -> None:
    for _ in range(3):
        connections = [connect(web) for _ in range(80)]
        for connection in connections:
            send(connection, b"GET /runtime/events HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert b"/session/" in until(connection, b"/session/")
        for connection in connections:
            connection.close()

        def has_room() -> bool:
            stream = web.open("/runtime/events", method="GET")
            stream.close()
            return stream.status == 200

        eventually(has_room)


TOKENS: list[tuple[str, str | None]] = [
    ("nothing", None),
    ("an empty one", ""),
    ("the scheme alone", "Bearer"),
    ("an empty token", "Bearer "),
    ("another", "Bearer other"),
    ("a part", "Bearer s3cre"),
    ("more", "Bearer s3crets"),
    ("capitals", "Bearer S3CRET"),
    ("another scheme", "Basic s3cret"),
    ("no scheme", "s3cret"),
    ("a list", "Bearer s3cret, Bearer other"),
    ("quotes", 'Bearer "s3cret"'),
    ("Latin-1", "Bearer s3cr\xe9t"),
    ("twice", "Bearer Bearer s3cret"),
    ("a long one", "Bearer " + "s" * 30_000),
]


@pytest.fixture(scope="module")
def guarded() -> Iterator[Web]:
    with serving_http(RECKLESS, "--token-env", "SECRET", environment={"SECRET": "s3cret"}) as web:
        yield web


@pytest.mark.promise("S4")
@pytest.mark.parametrize(("name", "value"), TOKENS, ids=[name for name, _ in TOKENS])
@pytest.mark.parametrize("path", ["/", "/session/x", "/runtime/events"])
def test_without_the_token_nothing_is_served_or_read(guarded: Web, path: str, name: str, value: str | None) -> None:
    method = "GET" if path == "/runtime/events" else "POST"
    more = [] if value is None else [f"authorization: {value}"]
    with connect(guarded) as connection:
        # The body that is announced never comes: it must not be waited for.
        send(connection, head(*more, "content-length: 1000", method=method, path=path))
        answer = one_answer(connection)
    assert status_of(answer) == 401
    assert b"s3cret" not in answer
    answer_to_nobody = {"jsonrpc": "2.0", "id": "x", "result": {}}
    headers = {} if value is None else {"authorization": value}
    if method == "POST":
        assert guarded.send(path=path, body=answer_to_nobody, headers=headers).status == 401
    assert b"s3cret" not in bytes(guarded.stderr)


@pytest.mark.promise("S4")
@pytest.mark.parametrize("value", ["Bearer s3cret", "bearer s3cret", "BEARER s3cret", "Bearer s3cret "])
def test_with_the_token_everything_is_served(guarded: Web, value: str) -> None:
    assert guarded.send(body=execution(1, "/echo", 1), headers={"authorization": value}).json["result"]["output"] == 1


@pytest.mark.promise("S1")
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.invalid"])
def test_another_address_than_this_machine_needs_a_token(host: str) -> None:
    with pytest.raises(AssertionError, match="--insecure"), serving_http(RECKLESS, "--host", host):
        pass


@pytest.mark.promise("S7")
def test_an_answer_reaches_nobody_but_the_one_who_was_asked(web: Web) -> None:
    streams = [web.open(body=execution(number, "/call/async", number)) for number in range(10)]
    calls = [stream.message() for stream in streams]
    assert len({call["id"] for call in calls}) == 10
    session = web.open("/runtime/events", method="GET")
    address = json.loads(session.event()["data"])["endpoint"]
    for call in calls:
        stolen = {"jsonrpc": "2.0", "id": call["id"], "result": {"blob_id": "stolen"}}
        assert web.send(path=address, body=stolen).status == 202
    for stream, call in zip(streams, calls, strict=True):
        right: dict[str, Any] = {"jsonrpc": "2.0", "id": call["id"], "result": {"blob_id": f"{call['params']['data']}"}}
        assert web.send(body=right).status == 202
        assert stream.message()["result"]["output"] == f"{call['params']['data']}"
        stream.close()
    session.close()


@pytest.mark.promise("R1", "R10")
def test_clients_that_abuse_it_together_disturb_no_other(web: Web) -> None:
    over = threading.Event()
    cases = [*SMUGGLING, *BROKEN, *REFUSED]

    def abuse(start: int) -> None:
        number = start
        while not over.is_set():
            with connect(web) as connection, contextlib.suppress(TimeoutError, ConnectionError):
                send(connection, cases[number % len(cases)].data)
                # Not to read at all would only open connections faster than a server can close them.
                connection.settimeout(0.05)
                connection.recv(1000)
            number += 1

    abusers = [threading.Thread(target=abuse, args=[start * 17]) for start in range(4)]
    for abuser in abusers:
        abuser.start()
    try:
        for number in range(200):
            assert web.execute("/echo", number)["result"]["output"] == number
    finally:
        over.set()
        for abuser in abusers:
            abuser.join()
