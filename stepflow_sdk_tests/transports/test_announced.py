import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from stepflow_sdk.errors import RequestTimeout, ResourceUnavailable
from stepflow_sdk.transports import announced
from stepflow_sdk.transports.announced import open_announcing_server


def program(code: str) -> Sequence[str]:
    return [sys.executable, "-u", "-c", f"import json, os, signal, sys, time\n{code}"]


WAIT = "\ntime.sleep(600)"


def real(path: Path) -> Path:
    return path.resolve()


def is_reaped(pid: int) -> bool:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


@pytest.mark.parametrize(
    "said",
    [
        """print('{"port": 8123}')""",
        """print('  {"instance": "x", "port": 8123} ')""",
        """print('loading'); print('{"ready": true}'); print('{"port": "80"}'); print('{"port": 0}'); print('[8]')
sys.stdout.buffer.write(b'\\xff{\\n{"port": 70000}\\n' + b'{' * 100000 + b'\\n' + b'x' * 200000 + b'\\n')
print('{"port": 8123}'); print('{"port": 9}')""",
        """sys.stdout.write('{"po'); time.sleep(0.01); sys.stdout.write('rt": 8123}\\nmore')""",
        """sys.stdout.write('{"port": 8123}'); sys.stdout.flush(); os.close(1)""",
    ],
)
async def test_a_server_says_its_port_on_a_line_of_stdout(said: str) -> None:
    async with open_announcing_server(program(said + WAIT)) as server:
        assert server.port == 8123
        assert server.returncode is None
    assert server.returncode == -15


@pytest.mark.parametrize(
    ("code", "how"),
    [
        (
            "sys.stderr.write('no config'); sys.exit(3)",
            r"'frail' ended with exit code 3, and its stdout(.|\n)*no config",
        ),
        ("print('half a thought'); sys.exit()", r"exit code 0(.|\n)*the end of its stdout:\nhalf a thought"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was ended by SIGKILL"),
        ("os.close(1)" + WAIT, "still runs, and its stdout ended without"),
    ],
)
async def test_a_server_that_ends_without_a_port_is_told_with_its_last_words(
    code: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "still runs" not in how:
        monkeypatch.setattr(announced, "LAST_WORDS", 60)
    with pytest.raises(ResourceUnavailable, match=how):
        async with open_announcing_server(program(code), name="frail"):
            pass


async def test_a_server_that_never_says_its_port_is_given_up() -> None:
    with pytest.raises(RequestTimeout, match=r"did not print \{\"port\": N\} on a line of stdout within 0\.2 s"):
        async with open_announcing_server(program(WAIT), announce_timeout=0.2):
            pass


async def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(ResourceUnavailable, match="'no-such-program': there is no such program"):
        async with open_announcing_server(["no-such-program"]):
            pass


async def test_both_outputs_are_read_all_the_time_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "stepflow_sdk.server.talker")
    code = """
print('{"port": 1}')
for n in range(10000):
    print('out', 'x' * 300)
    print('err', 'x' * 300, file=sys.stderr)
print('last out'); print('last err', file=sys.stderr); sys.exit(4)
"""
    ended = anyio.Event()
    async with open_announcing_server(program(code), name="talker", on_end=ended.set) as server:
        with anyio.fail_after(60):
            await ended.wait()
        assert server.returncode == 4
        said = server.describe_end()
    assert said.startswith("the server 'talker' ended with exit code 4")
    assert "last out" in said
    assert "last err" in said
    assert len(said) < 20_000
    messages = [record.message for record in caplog.records]
    assert messages.count("last out") == messages.count("last err") == 1


async def test_nothing_is_on_its_stdin() -> None:
    code = """print(json.dumps({"port": 1 + len(sys.stdin.read())}))""" + WAIT
    async with open_announcing_server(program(code)) as server:
        assert server.port == 1


async def test_a_server_gets_the_environment_and_directory_that_it_is_given(tmp_path: Path) -> None:
    code = """print(os.environ.get("A"), os.environ.get("HOME"), os.getcwd(), file=sys.stderr); print('{"port": 1}')"""
    async with open_announcing_server(program(code), env={"A": "1"}, cwd=tmp_path) as server:
        with anyio.fail_after(60):
            await server.ended.wait()
    assert server.stderr_tail() == f"1 None {real(tmp_path)}\n"


async def test_a_server_that_ignores_everything_is_killed_with_its_children(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code = f"""
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
held = os.open({str(pipe)!r}, os.O_WRONLY)
if os.getpid() == os.getpgid(0):
    print('{{"port": 1}}')
time.sleep(600)
"""
    alive = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(alive, True)
    try:
        async with open_announcing_server(program(code), stop_grace=0.1) as server:
            pass
        assert server.returncode == -9
        # Nobody who held the other end is left: only then does reading come to an end.
        with anyio.fail_after(60):
            assert await anyio.to_thread.run_sync(os.read, alive, 1, abandon_on_cancel=True) == b""
    finally:
        os.close(alive)


async def test_a_cancelled_owner_leaves_no_process(tmp_path: Path) -> None:
    with anyio.CancelScope() as scope:
        async with open_announcing_server(program("""print('{"port": 1}')""" + WAIT)) as server:
            scope.cancel()
            await anyio.sleep_forever()
    assert is_reaped(server.pid)
