import subprocess
import sys

import pytest

PROGRAM = """
import os, subprocess, sys
from stepflow_sdk.transports.relay import OutputRelay

relay = OutputRelay()
{body}
relay.stop()
"""


def start(body: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", PROGRAM.format(body=body)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("print('é', flush=True); print('ü', file=sys.stderr)", "é\nü\n"),
        ("os.write(1, b'a\\xff\\n'); os.write(2, b'\\xfe')", "a\ufffd\n\ufffd"),
        ("os.write(2, '😀'.encode()[:2]); os.write(2, '😀'.encode()[2:])", "😀"),
        ("os.write(2, '😀'.encode()[:2])", "\ufffd"),
        ("subprocess.run([sys.executable, '-c', 'print(1)'], check=True)", "1\n"),
        ("os.write(2, b'x' * 1_000_000)", "x" * 1_000_000),
    ],
)
def test_what_is_written_goes_out_as_text(body: str, expected: str) -> None:
    with start(body) as process:
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err.decode("utf-8").replace("\r", "")) == (0, expected)


def test_what_nobody_reads_any_more_breaks_nobody() -> None:
    child = "subprocess.run([sys.executable, '-c', 'print(2)'], check=True)"
    body = f"print(1, file=sys.stderr, flush=True); sys.stdin.read(); os.write(1, b'x' * 1_000_000); {child}"
    with start(body) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"1\n"
        process.stderr.close()
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0


def test_what_is_written_after_its_end_goes_where_it_went_before() -> None:
    with start("relay.stop(); print('after', file=sys.stderr)") as process:
        assert process.communicate(timeout=60)[1].split() == [b"after"]
