"""What an operator sees of a server process."""

import json
import signal
from typing import Any

import pytest

from stepflow_sdk_tests.e2e.web import serving_http
from stepflow_sdk_tests.e2e.wire import PATIENCE, eventually, serving


def records(stderr: bytes | bytearray) -> list[dict[str, Any]]:
    return [json.loads(line) for line in bytes(stderr).splitlines()]


def test_a_process_answers_for_its_health_its_readiness_and_its_metrics() -> None:
    with serving_http("careless", "--metrics") as web:
        assert web.send("GET", "/ready").json == {"status": "ready"}
        web.execute("/echo", {"data": 1})
        metrics = web.send("GET", "/metrics")
        assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
        count = 'stepflow_requests_total{method="components/execute",component="/echo",code="ok"} 1'
        assert count in metrics.body.decode().splitlines()
        web.process.send_signal(signal.SIGTERM)
        assert web.process.wait(PATIENCE) == 0


def test_without_the_option_there_are_no_metrics() -> None:
    with serving_http("careless") as web:
        assert web.send("GET", "/metrics").status == 404


def test_on_stdio_the_metrics_are_logged_at_the_end() -> None:
    with serving("careless", "--metrics", "--log-format", "json") as wire:
        wire.execute(1, "/echo", {"data": 1})
        wire.receive()
        wire.end_input()
        assert wire.wait() == 0
        messages = [record["message"] for record in records(wire.stderr)]
        assert 'stepflow_requests_total{method="components/execute",component="/echo",code="ok"} 1' in messages
        assert not any("_bucket" in message for message in messages)


def test_on_stdio_what_is_refused_before_it_is_a_request_is_counted_too() -> None:
    with serving("careless", "--metrics", "--log-format", "json") as wire:
        for line in (
            b"{",
            b'{"jsonrpc": "2.0", "id": null, "method": "components/list"}',
            b'{"jsonrpc": "1.0", "id": 5, "method": "x"}',
        ):
            wire.send_bytes(line + b"\n")
            wire.receive()
        wire.end_input()
        assert wire.wait() == 0
        messages = [record["message"] for record in records(wire.stderr)]
    counted = sorted(message for message in messages if message.startswith("stepflow_requests_total"))
    assert counted[-2:] == [
        'stepflow_requests_total{method="other",component="",code="-32600"} 2',
        'stepflow_requests_total{method="other",component="",code="-32700"} 1',
    ]


def test_logs_as_json_are_an_object_on_each_line_with_ids_and_traceback() -> None:
    with serving("careless", "--log-format", "json") as wire:
        wire.execute(1, "/log", {"text": 'a "line"\nand more'}, run_id="run-7", step_id="s")
        wire.execute(2, "/fail", {"how": "value"}, run_id="run-8")
        wire.receive_all(2)
        wire.end_input()
        wire.wait()
        found = records(wire.stderr)
    logged = next(record for record in found if record["message"].startswith('a "line"'))
    assert (logged["component"], logged["run_id"], logged["step_id"]) == ("/log", "run-7", "s")
    assert logged["time"].endswith("+00:00")
    failed = next(record for record in found if "exception" in record)
    assert failed["run_id"] == "run-8"
    assert failed["exception"].startswith("Traceback")
    assert "Traceback" not in failed["message"]


def test_a_slow_component_is_warned_of() -> None:
    with serving("careless", "--slow", "0.05", "--log-format", "json") as wire:
        wire.execute(1, "/hang", {}, run_id="run-9")
        eventually(lambda: b"/hang has not ended after 0.05 s" in wire.stderr)
        warning = records(wire.stderr)[-1]
        assert (warning["level"], warning["run_id"]) == ("WARNING", "run-9")


@pytest.mark.parametrize("wrong", ["0", "-1", "soon", "nan", "inf"])
def test_a_time_that_is_none_is_refused(wrong: str) -> None:
    with serving("careless", f"--slow={wrong}", initialize=False) as wire:
        assert wire.wait() == 2
        assert b"--slow" in wire.stderr
