import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from msgspec import Raw

from stepflow_sdk.errors import InternalError, RequestTimeout, ResourceUnavailable
from stepflow_sdk.protocol import METHODS, Notification, ObservabilityContext, Request
from stepflow_sdk.protocol.messages import ComponentExecuteParams
from stepflow_sdk.transports import Connection, line_process
from stepflow_sdk.transports.process import ServerProcess, open_process

EXECUTE = METHODS["components/execute"]

PRELUDE = """
import json, os, signal, sys, time
def answer(message, output):
    result = {"jsonrpc": "2.0", "id": message["id"], "result": {"output": output}}
    sys.stdout.write(json.dumps(result) + "\\n"); sys.stdout.flush()
"""

ECHO = "for line in sys.stdin:\n    m = json.loads(line); answer(m, m['params']['input'])\n"


class Silent:
    """Takes what arrives and does nothing."""

    def __init__(self) -> None:
        self.ended = anyio.Event()

    def request(self, connection: Connection, request: Request) -> None:
        connection.reply(request, {})

    def notification(self, connection: Connection, notification: Notification) -> None:
        pass

    def closed(self, connection: Connection) -> None:
        self.ended.set()


def program(code: str) -> Sequence[str]:
    return [sys.executable, "-c", PRELUDE + code]


async def ask(server: ServerProcess, input: bytes = b"1", timeout: float | None = 30) -> Any:
    params = ComponentExecuteParams("/x", Raw(input), 1, ObservabilityContext())
    return bytes((await server.connection.call(EXECUTE, params, timeout=timeout)).output)


async def test_a_server_answers_on_its_stdout() -> None:
    async with open_process(program(ECHO), handler=Silent()) as server:
        assert await ask(server, b'{"a": [1, 2]}') == b'{"a": [1, 2]}'
    assert server.returncode == 0


async def test_messages_of_many_megabytes_pass_both_ways_at_once() -> None:
    text = b'"' + b"x" * 3_000_000 + b'"'
    answers: list[bytes] = []

    async def one(server: ServerProcess) -> None:
        await server.drain()
        answers.append(await ask(server, text))

    async with open_process(program(ECHO), handler=Silent()) as server, anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(one, server)
    assert answers == [text] * 5


@pytest.mark.parametrize(
    ("end", "how"),
    [
        ("sys.exit(7)", "ended with exit code 7"),
        ("sys.exit()", "ended with exit code 0"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was ended by SIGKILL"),
        ("os.close(1); time.sleep(60)", "closed its stdout but still runs"),
    ],
)
async def test_a_server_that_ends_closes_the_connection_with_the_reason(
    end: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "still runs" not in how:
        monkeypatch.setattr(line_process, "_LAST_WORDS", 60)
    code = f"sys.stdin.readline(); sys.stderr.write('the last words'); sys.stderr.flush(); {end}"
    async with open_process(program(code), handler=Silent(), name="frail", stop_grace=0) as server:
        with pytest.raises(ResourceUnavailable) as caught:
            await ask(server)
        assert "'frail'" in caught.value.message
        assert how in caught.value.message
        assert "the last words" in caught.value.message
        assert server.connection.closed


async def test_an_answer_before_the_end_still_arrives() -> None:
    code = "m = json.loads(sys.stdin.readline()); answer(m, 'x' * 200000); os._exit(1)"
    async with open_process(program(code), handler=Silent()) as server:
        assert len(await ask(server)) == 200_002


async def test_what_is_printed_to_stdout_is_logged_and_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    noise = "for n in range(1000): print('loading', n)\nprint()\nsys.stdout.buffer.write(b'\\xff\\n')\n"
    async with open_process(program(noise + ECHO), handler=Silent()) as server:
        assert await ask(server) == b"1"
    logged = [record.message for record in caplog.records if "no message" in record.message]
    assert "loading 0" in logged[0]
    assert len(logged) <= 20


async def test_stderr_is_read_all_the_time_and_its_end_is_kept() -> None:
    flood = "for n in range(20000): sys.stderr.write('x' * 500 + '\\n')\nsys.stderr.write('the end\\n')\n"
    async with open_process(program(flood + ECHO), handler=Silent()) as server:
        assert await ask(server) == b"1"
    assert server.stderr_tail().endswith("the end\n")
    assert len(server.stderr_tail()) <= 8192


async def test_stderr_goes_to_a_logger_of_the_server(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "stepflow_sdk.server.talker")
    code = "sys.stderr.write('one\\n\\ntwo ' + 'x' * 20000 + '\\nthree'); sys.stderr.flush()\n"
    async with open_process(program(code + ECHO), handler=Silent(), name="talker") as server:
        await ask(server)
    messages = [record.message for record in caplog.records if record.name == "stepflow_sdk.server.talker"]
    assert messages[0] == "one"
    assert messages[-1] == "three"
    assert max(map(len, messages)) <= 4096


async def test_an_answer_that_is_too_long_fails_its_call_alone() -> None:
    code = "m = json.loads(sys.stdin.readline()); answer(m, 'x' * 5000)\n" + ECHO
    async with open_process(program(code), handler=Silent(), max_message_bytes=2000) as server:
        with pytest.raises(InternalError, match="longer than 2000 bytes"):
            await ask(server)
        assert await ask(server) == b"1"


async def test_a_call_without_an_answer_is_given_up_in_time() -> None:
    async with open_process(program("sys.stdin.read()"), handler=Silent()) as server:
        with pytest.raises(RequestTimeout):
            await ask(server, timeout=0.01)


async def test_a_server_that_asks_without_reading_answers_is_given_up() -> None:
    code = """
request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "blobs/get", "params": {}}) + "\\n"
try:
    while True: sys.stdout.write(request)
except BrokenPipeError:
    os._exit(0)
"""
    handler = Silent()
    async with open_process(program(code), handler=handler, max_message_bytes=50_000, stop_grace=0):
        with anyio.fail_after(60):
            await handler.ended.wait()


async def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(ResourceUnavailable, match="'no-such-program': there is no such program on the PATH"):
        async with open_process(["no-such-program"], handler=Silent()):
            pass


async def test_a_working_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResourceUnavailable, match="nowhere' does not exist"):
        async with open_process(program(ECHO), handler=Silent(), cwd=tmp_path / "nowhere"):
            pass


async def test_a_server_gets_the_environment_and_directory_that_it_is_given(tmp_path: Path) -> None:
    code = "m = json.loads(sys.stdin.readline()); answer(m, [os.environ.get('A'), os.environ.get('HOME'), os.getcwd()])"
    async with open_process(program(code), handler=Silent(), env={"A": "1"}, cwd=tmp_path) as server:
        answer = await ask(server)
    assert answer == f'["1", null, "{tmp_path}"]'.encode()


async def test_a_server_that_ends_with_its_stdin_is_not_signalled() -> None:
    code = "sys.stdin.read(); sys.exit(5)"
    async with open_process(program(code), handler=Silent(), stop_grace=60) as server:
        pass
    assert server.returncode == 5


async def test_a_server_that_ignores_everything_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_process, "TERMINATE_GRACE", 0.1)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code = f"""
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
held = os.open({str(pipe)!r}, os.O_WRONLY)
if os.getpid() == os.getpgid(0):
    answer(json.loads(sys.stdin.readline()), "ready")
time.sleep(600)
"""
    alive = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(alive, True)
    try:
        async with open_process(program(code), handler=Silent(), stop_grace=0.1) as server:
            await ask(server)
        assert server.returncode == -9
        # Nobody who held the other end is left: only then does reading come to an end.
        with anyio.fail_after(60):
            assert await anyio.to_thread.run_sync(os.read, alive, 1, abandon_on_cancel=True) == b""
    finally:
        os.close(alive)


async def test_a_cancelled_owner_leaves_no_process() -> None:
    with anyio.CancelScope() as scope:
        async with open_process(program(ECHO), handler=Silent()) as server:
            scope.cancel()
            await anyio.sleep_forever()
    assert server.returncode is not None
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


async def test_waiting_gives_the_exit_code() -> None:
    async with open_process(program("sys.exit(3)"), handler=Silent()) as server:
        assert await server.wait() == 3
