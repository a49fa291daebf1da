"""HTTP clients that go away behind a pipeline, and clients that send everything before they read."""

import contextlib
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stepflow_sdk_tests.e2e.web import Web, serving_http
from stepflow_sdk_tests.e2e.wire import PATIENCE, eventually
from stepflow_sdk_tests.reliability.ends import execution
from stepflow_sdk_tests.reliability.http_cases import head, post
from stepflow_sdk_tests.reliability.test_http import PARSERS, one_answer, parser_environment, status_of


@pytest.fixture(scope="module", params=PARSERS)
def web(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    environment = parser_environment(request.param, tmp_path_factory.mktemp("parser"))
    with serving_http("careless", environment=environment) as web:
        yield web


def connect(web: Web) -> socket.socket:
    return socket.create_connection(("127.0.0.1", web.port), PATIENCE)


def request(component: str) -> bytes:
    return post(json.dumps(execution(1, component)).encode())


def hanging(web: Web) -> int:
    count: int = web.execute("/hang/count")["result"]["output"]
    return count


@pytest.mark.promise("R10")
@pytest.mark.parametrize("component", ["/hang/counted", "/hang/call"])
@pytest.mark.parametrize("behind", [1, 20])
def test_a_client_that_goes_away_with_requests_behind_the_one_that_runs_cancels_it(
    web: Web, component: str, behind: int
) -> None:
    before = hanging(web)
    with connect(web) as connection:
        connection.sendall(request(component) + request(component) * behind)
        eventually(lambda: hanging(web) == before + 1)
    eventually(lambda: hanging(web) == before)


@pytest.mark.promise("R10")
@pytest.mark.parametrize("component", ["/hang/counted", "/hang/call"])
@pytest.mark.parametrize("later", [request("/hang/count"), head("content-length: 1000000") + b"{" * 30_000])
def test_so_does_one_whose_next_requests_come_when_the_server_is_waiting_for_its_end(
    web: Web, component: str, later: bytes
) -> None:
    before = hanging(web)
    with connect(web) as connection:
        connection.sendall(request(component))
        eventually(lambda: hanging(web) == before + 1)
        # As long as the server takes to wait for the end of a connection, and longer.
        for _ in range(8):
            assert "within 0.05 s" in web.execute("/slow/async")["error"]["message"]
        connection.sendall(later)
        hanging(web)
    eventually(lambda: hanging(web) == before)


def everything_until_closed(connection: socket.socket) -> bytes:
    """Unlike a client that is lenient, this one has lost the answer when the connection is reset."""
    answer = b""
    while piece := connection.recv(65536):
        answer += piece
    return answer


@pytest.mark.promise("S5")
@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_sends_all_of_a_body_above_the_limit_before_it_reads_is_told(chunked: bool) -> None:
    with serving_http(str(Path(__file__).parent / "servers" / "reckless"), environment={"MAX_BYTES": "100000"}) as web:
        body = b"f4240\r\n" + b"x" * 1_000_000 + b"\r\n" if chunked else b"x" * 1_000_000
        with connect(web) as connection:
            connection.sendall(head("transfer-encoding: chunked" if chunked else "content-length: 10000000"))
            for _ in range(10):
                connection.sendall(body)
            answer = everything_until_closed(connection)
    assert status_of(answer) == 413
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.promise("R1")
@pytest.mark.parametrize(
    ("status", "beginning"),
    [
        (403, head("origin: null", "content-length: 3000000")),
        (404, head("content-length: 3000000", path="/x")),
        (421, head("content-length: 3000000", host="evil.example")),
    ],
)
def test_what_is_refused_by_its_head_has_one_answer_whatever_its_body(web: Web, status: int, beginning: bytes) -> None:
    with connect(web) as connection:
        connection.sendall(beginning)
        for _ in range(30):
            connection.sendall(b"x" * 100_000)
        assert status_of(one_answer(connection)) == status
        connection.sendall(request("/hang/count"))
        # The next answer is that of the next request, or the connection has ended.
        assert status_of(one_answer(connection)) in {200, 0}


@pytest.mark.promise("R8")
@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_clients_that_go_on_sending_what_was_refused_do_not_hold_up_the_end() -> None:
    with serving_http("careless") as web, contextlib.ExitStack() as stack:
        for beginning in (head("content-length: 3000000", path="/x"), head("content-length: 300000000"), b"x\r\n\r\n"):
            connection = stack.enter_context(connect(web))
            connection.sendall(beginning)
            assert status_of(one_answer(connection)) in {400, 404, 413}
        web.process.terminate()
        assert web.process.wait(PATIENCE) == 0
        # uvicorn says so when it had to end what did not end by itself.
        assert b"graceful" not in web.stderr
