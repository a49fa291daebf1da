"""Life: however a server starts, is stopped or is left alone, it answers what it can, ends in time, and is gone."""

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from stepflow_sdk_tests.e2e.wire import PATIENCE, eventually, runs, serving
from stepflow_sdk_tests.reliability.ends import RECKLESS, TRANSPORTS, StdioEnd, Transport, execution, open_end
from stepflow_sdk_tests.reliability.memory import (
    OWN_THREADS,
    POOL_THREADS,
    descriptors,
    linux_only,
    memory,
    threads,
)
from stepflow_sdk_tests.reliability.processes import INITIALIZE, command_of, environment_of, running

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals and terminals")


def lines(*messages: Any) -> bytes:
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


ECHOES = lines(*(execution(number, "/echo/thread", number) for number in range(50)))

LAST_WORDS: list[tuple[str, bytes, list[Any]]] = [
    ("nothing", b"", []),
    ("a line end", b"\n", []),
    ("half a line", b'{"jsonrpc":"2.0","id":5,"method', [5]),
    ("a line without its end", lines(execution(5, "/echo", 1))[:-1], [5]),
    ("a broken byte", b"\xff", [None]),
    ("a notification", lines({"jsonrpc": "2.0", "method": "initialized"}), []),
    ("fifty requests", ECHOES, list(range(50))),
    ("fifty requests and a half", ECHOES + b'{"id":50,', [*range(51)]),
    ("a batch", lines([execution(1, "/echo", 1), execution(2, "/echo/thread", 2)]), [[1, 2]]),
    ("a failure", lines(execution(1, "/raise/thread", {"how": "exit"})), [1]),
]


@pytest.mark.promise("R1", "R8")
@pytest.mark.parametrize(("name", "data", "ids"), LAST_WORDS, ids=[name for name, _, _ in LAST_WORDS])
def test_at_the_end_of_input_all_is_answered_and_the_exit_code_is_zero(name: str, data: bytes, ids: list[Any]) -> None:
    with serving(RECKLESS) as wire:
        wire.send_bytes(data)
        wire.end_input()
        answers = [
            sorted(part["id"] for part in reply) if isinstance(reply, list) else reply["id"] for reply in wire.rest()
        ]
        assert sorted(answers, key=str) == sorted(ids, key=str)
        assert wire.wait() == 0


# To be given up, coroutines that swallow their cancellation take the process some seconds.
STUBBORN = pytest.param("/late/stubborn", marks=pytest.mark.slow)
STUCK = ["/block", "/wait/async", STUBBORN, "/call/async", "/call/thread"]
SIGNALS = [signal.SIGTERM, signal.SIGINT]


@pytest.mark.promise("R8")
@pytest.mark.parametrize("component", STUCK)
@pytest.mark.parametrize(
    "how", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow), None], ids=["SIGTERM", "SIGINT", "EOF"]
)
def test_what_does_not_end_is_answered_for_and_does_not_keep_the_process(
    how: signal.Signals | None, component: str
) -> None:
    with serving(RECKLESS, environment={"DRAIN": "0.1"}) as wire:
        end = StdioEnd(wire)
        end.begin(component, 1)
        if component.startswith("/call"):
            assert wire.receive()["method"] == "blobs/put"
        assert end.execute("/echo", 1)["result"]["output"] == 1
        if how is None:
            wire.end_input()
        else:
            wire.process.send_signal(how)
        (reply,) = wire.rest()
        assert reply["error"]["code"] in {-32005, -32006}
        assert wire.wait() == 0


@pytest.mark.promise("R8")
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(("first", "second"), [SIGNALS, SIGNALS[::-1]])
def test_a_second_signal_ends_the_process_at_once(
    transport: Transport, first: signal.Signals, second: signal.Signals
) -> None:
    with open_end(transport, environment={"DRAIN": "60"}) as end:
        begun = end.begin("/block")
        assert end.execute("/echo", 1)["result"]["output"] == 1
        os.kill(end.process_id, first)
        # The first one has been seen when a request is refused.
        probe = json.dumps(execution("p", "/echo", 1)).encode()
        if isinstance(end, StdioEnd):
            process = end.wire.process
            end.wire.send_bytes(probe + b"\n")
            while "error" not in end.wire.receive():
                end.wire.send_bytes(probe + b"\n")
        else:
            process = end.web.process  # type: ignore[attr-defined]  # there are two kinds of ends
            eventually(lambda: "error" in end.web.send(body=execution("p", "/echo", 1)).json)  # type: ignore[attr-defined]
        os.kill(end.process_id, second)
        assert process.wait(PATIENCE) == 128 + second
        begun.close()


@pytest.mark.promise("R8", "R10")
@pytest.mark.parametrize("how", SIGNALS)
def test_an_http_server_ends_with_open_streams_and_connections(how: signal.Signals) -> None:
    with open_end("http", environment={"DRAIN": "0.1"}) as end:
        web = end.web  # type: ignore[attr-defined]  # it is over HTTP
        sockets = [socket.create_connection(("127.0.0.1", web.port)) for _ in range(5)]
        session = web.open("/runtime/events", method="GET")
        session.event()
        stream = web.open(body=execution(1, "/call/async", 1))
        stream.message()
        blocked = end.begin("/block")
        os.kill(end.process_id, how)
        assert stream.message()["error"]["code"] == -32005
        assert web.process.wait(PATIENCE) == 0
        for connection in (*sockets, stream, session, blocked):
            connection.close()


@pytest.mark.promise("R8")
@pytest.mark.parametrize("how", SIGNALS)
def test_a_signal_to_an_idle_server_ends_it_with_zero_and_without_a_traceback(how: signal.Signals) -> None:
    for transport in TRANSPORTS:
        with open_end(transport) as end:
            process = end.wire.process if isinstance(end, StdioEnd) else end.web.process  # type: ignore[attr-defined]
            process.send_signal(how)
            assert process.wait(PATIENCE) == 0
            assert "Traceback" not in end.log


@pytest.mark.promise("R8")
def test_a_runtime_that_closes_its_end_of_stdout_ends_the_server() -> None:
    with running() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(INITIALIZE)
        process.stdin.flush()
        assert process.stdout.readline()
        process.stdout.close()
        # It may see that nobody reads, and end, before it is asked anything.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(ECHOES)
            process.stdin.flush()
        assert process.wait(PATIENCE) == 0


# ---- what stdin and stdout can be -----------------------------------------------------------------------------


@pytest.mark.promise("R4")
def test_a_terminal_can_be_stdin() -> None:
    master, slave = pty.openpty()
    with running(stdin=slave) as process:
        os.close(slave)
        assert process.stdout is not None
        os.write(master, INITIALIZE)
        assert json.loads(process.stdout.readline())["id"] == "init"
        os.write(master, lines(execution(1, "/echo", 5)))
        assert json.loads(process.stdout.readline())["result"] == {"output": 5}
        os.write(master, b"\x04")  # the end, as a terminal says it
        assert process.wait(PATIENCE) == 0
        os.close(master)


@pytest.mark.promise("R4")
def test_sockets_can_be_stdin_and_stdout() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, running(stdin=theirs.fileno(), stdout=theirs.fileno()) as process:
        theirs.close()
        ours.sendall(INITIALIZE + ECHOES)
        with ours.makefile("rb") as answers:
            assert len([answers.readline() for _ in range(51)]) == 51
        ours.shutdown(socket.SHUT_WR)
        assert process.wait(PATIENCE) == 0


@pytest.mark.promise("R4")
def test_nothing_can_be_stdin() -> None:
    with running(stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b""
        assert process.wait(PATIENCE) == 0


@pytest.mark.promise("R4")
def test_stdout_can_be_a_file(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out, running(stdout=out) as process:
        process.communicate(INITIALIZE + ECHOES, PATIENCE)
        assert process.returncode == 0
    assert len((tmp_path / "out").read_bytes().splitlines()) == 51


@pytest.mark.promise("R4", "R8")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_as_stdout_ends_the_server() -> None:
    with Path("/dev/full").open("wb") as full, running(stdout=full) as process:
        process.communicate(INITIALIZE + ECHOES, PATIENCE)
        assert process.returncode == 0


@pytest.mark.promise("R4")
@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&-", "1>&- 2>&-", "0<&- 2>&-", "0<&- 1>&- 2>&-"])
def test_descriptors_that_are_closed_at_the_start_are_nobody_elses(closed: str) -> None:
    import shlex

    command = f"{shlex.join(command_of())} {closed}"
    request = INITIALIZE + lines(execution(1, "/do", {"how": "prints a reply"}))
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        input=request,
        capture_output=True,
        env=environment_of(),
        timeout=PATIENCE,
        check=True,
    )
    ids = [json.loads(line)["id"] for line in done.stdout.splitlines()]
    assert ids == (["init", 1] if "0" not in closed and "1>" not in closed else [])


@pytest.mark.promise("R4")
@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&-", "1>&- 2>&-", "0<&- 2>&-", "0<&- 1>&- 2>&-"])
def test_an_http_server_listens_whatever_is_closed_at_the_start(closed: str) -> None:
    import http.client
    import shlex

    with socket.socket() as free:  # it cannot say which port it has where its stdout is closed
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = f"exec {shlex.join(command_of('--http', '--port', str(port)))} {closed}"
    process = subprocess.Popen(["/bin/sh", "-c", command], stdin=subprocess.DEVNULL, env=environment_of())

    def answers() -> bool:
        assert process.poll() is None
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except ConnectionRefusedError:
            return False
        finally:
            connection.close()

    try:
        eventually(answers)
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


# ---- nobody is left, and nothing -------------------------------------------------------------------------------


@pytest.mark.promise("R9")
@pytest.mark.parametrize("component", [None, "/block", STUBBORN, "/call/async"])
def test_a_killed_runtime_leaves_no_server(component: str | None) -> None:
    request = INITIALIZE + (lines(execution(1, component, 1)) if component else b"")
    code = f"""
import subprocess, sys, time
server = subprocess.Popen({command_of()!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
server.stdin.write({request!r})
server.stdin.flush()
server.stdout.readline()
print(server.pid, flush=True)
time.sleep(3600)
"""
    environment = environment_of({"DRAIN": "0.1"})
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        server = int(parent.stdout.readline())
        parent.kill()
    eventually(lambda: not runs(server))


@pytest.mark.promise("R6")
@linux_only
@pytest.mark.parametrize("size", [100, 100_000])
def test_a_reader_that_stalls_costs_bounded_memory_and_loses_nothing(size: int) -> None:
    count = 100_000_000 // (size * 10)
    count = min(count, 5000)
    with serving(RECKLESS) as wire:
        wire.stall()
        before = wire.memory()
        sender = threading.Thread(
            target=wire.send, args=[execution(number, "/output/large", {"size": size}) for number in range(count)]
        )
        sender.start()
        assert wire.peak_memory_until_idle() - before < 50_000_000
        wire.read_on()
        replies = wire.receive_all(count)
        sender.join()
        assert all(len(reply["result"]["output"]) == size for reply in replies.values())


MIXED = ["/echo", "/echo/thread", "/raise/async", "/raise/thread", "/no/such", "/number"]


@pytest.mark.promise("R11")
@linux_only
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_thousands_of_requests_leave_no_memory_descriptors_or_threads(transport: Transport) -> None:
    def go(rounds: int) -> None:
        for number in range(rounds):
            end.execute(MIXED[number % len(MIXED)], {"how": "group"}, number)

    with open_end(transport) as end:
        go(400)
        before = memory(end.process_id), descriptors(end.process_id), threads(end.process_id)
        go(800)
        assert memory(end.process_id) - before[0] < 5_000_000
        assert descriptors(end.process_id) <= before[1]
        # On a busy machine its threads come late to their work, and others are started: up to the pool's limit.
        assert threads(end.process_id) <= max(before[2], OWN_THREADS + POOL_THREADS)
