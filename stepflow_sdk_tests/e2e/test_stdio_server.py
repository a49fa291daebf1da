"""A server as a real process: what its stdin says is answered on its stdout, exactly once, whatever happens."""

import json
import os
import shlex
import signal
import subprocess
import sys
from typing import Any

import pytest

from stepflow_sdk_tests.e2e.wire import PATIENCE, SERVERS, Wire, eventually, runs, serving

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")


def result_of(wire: Wire, component: str, input: Any = None) -> Any:
    wire.execute("r", component, input)
    reply = wire.receive()
    assert reply["id"] == "r"
    return reply


def test_components_are_listed_with_their_schemas() -> None:
    with serving("careless") as wire:
        wire.request(1, "components/list", {})
        components = {info["component"]: info for info in wire.receive()["result"]["components"]}
        assert components["/large"]["input_schema"]["properties"]["size"]["type"] == "integer"
        wire.request(2, "components/info", {"component": "/large"})
        assert wire.receive()["result"]["info"] == components["/large"]


def test_requests_before_initialize_are_refused() -> None:
    with serving("careless", initialize=False) as wire:
        wire.execute(1, "/echo", {})
        assert wire.receive()["error"]["code"] == -32002
        wire.initialize()
        assert result_of(wire, "/echo", 1)["result"] == {"output": 1}


@pytest.mark.parametrize("spelling", ["runtime_protocol_version", "runtimeProtocolVersion"])
def test_initialize_is_answered_in_both_spellings_and_may_come_again(spelling: str) -> None:
    with serving("careless") as wire:
        wire.request("again", "initialize", {spelling: 1})
        assert wire.receive()["result"] == {"server_protocol_version": 1, "serverProtocolVersion": 1}


@pytest.mark.parametrize("params", [{}, [], 3, {"runtime_protocol_version": "1"}, {"runtime_protocol_version": -1}])
def test_a_wrong_initialize_is_answered_with_invalid_params(params: Any) -> None:
    with serving("careless", initialize=False) as wire:
        wire.request(1, "initialize", params)
        assert wire.receive()["error"]["code"] == -32602


VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    2**63 - 1,
    -(2**63),
    2**64 - 1,
    1.5,
    1e-300,
    -0.0,
    "",
    "é\u2028😀\x00",
    [],
    {},
    [[{}]],
    {"": None},
]


@pytest.mark.parametrize("component", ["/echo", "/echo/thread"])
def test_values_of_every_kind_come_back_unharmed(component: str) -> None:
    with serving("careless") as wire:
        for number, value in enumerate(VALUES):
            wire.execute(number, component, value)
        replies = wire.receive_all(len(VALUES))
        for number, value in enumerate(VALUES):
            assert json.dumps(replies[number]["result"]["output"]) == json.dumps(value)


def test_thousands_of_requests_at_once_are_answered_once_each() -> None:
    count = 5000
    with serving("careless") as wire:
        params = {"component": "/echo", "attempt": 1, "observability": {}}
        wire.send(
            *(
                {"jsonrpc": "2.0", "id": n, "method": "components/execute", "params": {**params, "input": n}}
                for n in range(count)
            )
        )
        replies = wire.receive_all(count)
        assert all(replies[n]["result"]["output"] == n for n in range(count))


def test_a_message_may_come_byte_by_byte_and_with_carriage_returns() -> None:
    with serving("careless") as wire:
        message = {"jsonrpc": "2.0", "id": 1, "method": "components/info", "params": {"component": "/echo"}}
        for byte in json.dumps(message).encode() + b"\r\n":
            wire.send_bytes(bytes([byte]))
        assert wire.receive()["result"]["info"]["component"] == "/echo"


def test_rubbish_is_answered_and_the_next_request_served() -> None:
    with serving("careless") as wire:
        wire.send_bytes(b'{"jsonrpc"\n\n\xff\xfe\n[1,2]\n')
        assert [wire.receive()["error"]["code"] for _ in range(2)] == [-32700, -32700]
        assert [reply["error"]["code"] for reply in wire.receive()] == [-32600, -32600]
        assert result_of(wire, "/echo", 1)["result"]["output"] == 1


def test_a_message_above_the_limit_is_refused_with_its_id_and_the_server_goes_on() -> None:
    with serving("careless") as wire:
        wire.execute("big", "/echo", "x" * (65 * 1024 * 1024))
        refusal = wire.receive()
        assert (refusal["id"], refusal["error"]["code"]) == ("big", -32600)
        assert refusal["error"]["data"] == {"limit": 64 * 1024 * 1024}
        assert result_of(wire, "/echo", 1)["result"]["output"] == 1


@pytest.mark.parametrize("size", [10, 70_000, 2_000_000])
def test_large_replies_arrive_whole(size: int) -> None:
    with serving("careless") as wire:
        assert result_of(wire, "/large", {"size": size})["result"]["output"] == "é" * size


def test_a_large_request_comes_back_whole() -> None:
    text = "aé\n" * 1_000_000
    with serving("careless") as wire:
        assert result_of(wire, "/echo", text)["result"]["output"] == text


def test_nothing_that_a_component_prints_touches_the_wire() -> None:
    with serving("careless") as wire:
        wire.execute(1, "/noise", {"text": "printed text"}, run_id="run-7", step_id="step-9")
        assert wire.receive() == {"jsonrpc": "2.0", "id": 1, "result": {"output": "read ''"}}
        wire.end_input()
        assert wire.rest() == []
        assert wire.wait() == 0
        log = wire.stderr.decode()
        for text in ("forged", "written to descriptor one", "from a child", "by another name"):
            assert text in log
        (line,) = [line for line in log.splitlines() if "printed text" in line]
        assert "run=run-7" in line
        assert "step=step-9" in line


def test_log_records_carry_the_ids_of_the_step() -> None:
    with serving("careless") as wire:
        wire.execute(1, "/log", {"text": "look here"}, run_id="run-7", step_id="step-9")
        wire.receive()
        wire.end_input()
        wire.wait()
        (line,) = [line for line in wire.stderr.decode().splitlines() if "look here" in line]
        assert "run=run-7 step=step-9" in line


FAILURES = {
    "value": "ValueError: a bad value",
    "exit": "SystemExit: 3",
    "interrupt": "KeyboardInterrupt",
    "cancelled": "CancelledError",
    "generator": "GeneratorExit",
    "rude": "Rude: no manners",
    "unprintable": "Unprintable",
    "recursion": "RecursionError: too deep",
    "memory": "MemoryError",
    "group": "ExceptionGroup: ValueError: one; KeyError: 'other'",
}


@pytest.mark.parametrize("component", ["/fail", "/fail/thread"])
def test_whatever_a_component_raises_is_a_failed_execution(component: str) -> None:
    with serving("careless") as wire:
        for how, message in FAILURES.items():
            error = result_of(wire, component, {"how": how})["error"]
            assert error["code"] == -32004
            assert error["message"] == message
            assert "careless.py" not in json.dumps(error)
        assert result_of(wire, "/echo", 1)["result"]["output"] == 1
        wire.end_input()
        wire.wait()
        assert "careless.py" in wire.stderr.decode(), "the traceback belongs into the log"


def test_a_component_chooses_its_message_and_data() -> None:
    with serving("careless") as wire:
        assert result_of(wire, "/fail", {"how": "own"})["error"] == {
            "code": -32004,
            "message": "my own",
            "data": {"why": 1, "retryable": True},
        }
        odd = result_of(wire, "/fail", {"how": "secret"})["error"]
        assert (odd["message"], odd["data"]) == ("with odd data", {"omitted": "data of type object is not JSON"})


@pytest.mark.parametrize("how", ["nan", "cycle", "deep", "object", "int", "key", "raw"])
def test_an_output_that_is_not_json_is_a_failed_execution(how: str) -> None:
    with serving("careless") as wire:
        error = result_of(wire, "/output", {"how": how})["error"]
        assert error["code"] == -32004
        assert "$" in error["message"] or "deep" in error["message"]
        assert result_of(wire, "/echo", 1)["result"]["output"] == 1


@pytest.mark.parametrize(("input", "told"), [({"reason": "not today"}, "not today"), ({}, True)])
def test_a_skip_is_null_with_the_reason_beside_it(input: Any, told: Any) -> None:
    with serving("careless") as wire:
        assert result_of(wire, "/skip", input)["result"] == {"output": None, "skipped": told}


def test_bad_input_names_every_path() -> None:
    with serving("careless") as wire:
        error = result_of(wire, "/large", {"size": "x"})["error"]
        assert error["code"] == -32003
        assert [problem["path"] for problem in error["data"]["problems"]] == ["$.size"]


def test_an_unknown_component_is_named_with_the_nearest() -> None:
    with serving("careless") as wire:
        error = result_of(wire, "/ecko")["error"]
        assert (error["code"], error["data"]["did_you_mean"]) == (-32001, "/echo")


@pytest.mark.parametrize("component", ["/slow", "/slow/async"])
def test_a_component_that_takes_too_long_is_answered_for(component: str) -> None:
    with serving("careless") as wire:
        error = result_of(wire, component)["error"]
        assert (error["code"], error["data"]) == (-32006, {"timeout": 0.05})


def test_async_components_answer_while_a_hundred_threads_are_blocked() -> None:
    with serving("careless") as wire:
        for number in range(100):
            wire.execute(f"blocked {number}", "/hang")
        assert result_of(wire, "/echo", 1)["result"]["output"] == 1


def test_calls_above_the_limit_of_a_component_wait_their_turn() -> None:
    with serving("careless") as wire:
        for number in range(40):
            wire.execute(number, "/limited")
        assert {reply["result"]["output"] for reply in wire.receive_all(40).values()} <= {1, 2}
        assert result_of(wire, "/limited")["result"]["output"] == 2


@pytest.mark.parametrize("component", ["/call/back", "/call/back/thread"])
def test_a_component_calls_back_and_is_answered(component: str) -> None:
    with serving("careless") as wire:
        wire.execute(1, component, {"a": 1}, run_id="run-7")
        put = wire.receive()
        assert put["method"] == "blobs/put"
        assert put["params"] == {"data": {"a": 1}, "blob_type": "data", "observability": {"run_id": "run-7"}}
        wire.send({"jsonrpc": "2.0", "id": put["id"], "result": {"blob_id": "b"}})
        get = wire.receive()
        assert (get["method"], get["params"]["blob_id"]) == ("blobs/get", "b")
        wire.send({"jsonrpc": "2.0", "id": get["id"], "result": {"data": [2], "blob_type": "data"}})
        assert wire.receive()["result"]["output"] == ["b", [2]]


@pytest.mark.parametrize("component", ["/call/back", "/call/back/thread"])
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"error": {"code": -32008, "message": "gone"}}, -32008),
        ({"error": {"code": 77, "message": "odd"}}, 77),
        ({"result": {}}, -32603),
        ({"result": 5}, -32603),
        ({}, -32603),
    ],
)
def test_any_answer_to_a_call_back_ends_the_wait(component: str, answer: Any, code: int) -> None:
    with serving("careless") as wire:
        wire.execute(1, component, 1)
        wire.send({"jsonrpc": "2.0", "id": wire.receive()["id"], **answer})
        reply = wire.receive()
        assert (reply["id"], reply["error"]["code"]) == (1, code)


def test_two_hundred_contexts_at_once_do_not_mix_up_their_answers() -> None:
    with serving("careless") as wire:
        for number in range(200):
            wire.execute(number, "/call/back", number)
        outputs: dict[Any, Any] = {}
        while len(outputs) < 200:
            message = wire.receive()
            match message.get("method"):
                case "blobs/put":
                    blob_id = f"blob of {message['params']['data']}"
                    wire.send({"jsonrpc": "2.0", "id": message["id"], "result": {"blob_id": blob_id}})
                case "blobs/get":
                    result = {"data": message["params"]["blob_id"], "blob_type": "data"}
                    wire.send({"jsonrpc": "2.0", "id": message["id"], "result": result})
                case _:
                    outputs[message["id"]] = message["result"]["output"]
        assert all(outputs[number] == [f"blob of {number}"] * 2 for number in range(200))


# ---- the end of the process -----------------------------------------------------------------------------------


def test_at_the_end_of_input_everything_in_flight_is_answered() -> None:
    with serving("careless") as wire:
        for number in range(20):
            wire.execute(number, "/large", {"size": number})
        wire.end_input()
        assert sorted(reply["id"] for reply in wire.rest()) == list(range(20))
        assert wire.wait() == 0


def test_a_last_message_without_a_newline_is_answered() -> None:
    with serving("careless") as wire:
        wire.send_bytes(b'{"jsonrpc":"2.0","id":1,"method":"components/info","params":{"component":"/echo"}}')
        wire.end_input()
        assert [reply["id"] for reply in wire.rest()] == [1]
        assert wire.wait() == 0


def test_a_call_back_that_can_get_no_answer_fails_at_the_end_of_input() -> None:
    with serving("careless") as wire:
        wire.execute(1, "/call/back", 1)
        assert wire.receive()["method"] == "blobs/put"
        wire.end_input()
        (reply,) = wire.rest()
        assert reply["error"]["code"] == -32005
        assert wire.wait() == 0


@pytest.mark.slow
@pytest.mark.parametrize("component", ["/hang", "/hang/async", "/hang/stubborn", "/leave/thread"])
def test_nothing_that_a_component_does_keeps_the_process_alive(component: str) -> None:
    with serving("careless", environment={"DRAIN": "0.2"}) as wire:
        wire.execute(1, component)
        wire.end_input()
        (reply,) = wire.rest()
        assert reply["id"] == 1
        assert ("result" in reply) == (component == "/leave/thread")
        assert wire.wait() == 0


@posix_only
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_components_end_and_ends_the_process(number: signal.Signals) -> None:
    with serving("careless") as wire:
        wire.execute(1, "/call/back", 1)
        put = wire.receive()
        wire.process.send_signal(number)
        eventually(lambda: _refused(wire))
        wire.send({"jsonrpc": "2.0", "id": put["id"], "result": {"blob_id": "b"}})
        messages = [wire.receive()]
        while messages[-1].get("method") != "blobs/get":
            messages.append(wire.receive())
        wire.send({"jsonrpc": "2.0", "id": messages[-1]["id"], "result": {"data": 2, "blob_type": "data"}})
        replies = {reply["id"]: reply for reply in wire.rest()}
        assert replies[1]["result"]["output"] == ["b", 2]
        assert wire.wait() == 0


def _refused(wire: Wire) -> bool:
    wire.request("probe", "components/list", {})
    reply = wire.receive()
    return bool(reply.get("error", {}).get("code") == -32005)


@posix_only
def test_a_second_signal_ends_the_process_at_once() -> None:
    with serving("careless") as wire:
        wire.execute(1, "/hang")
        assert result_of(wire, "/echo", 1)
        wire.process.send_signal(signal.SIGTERM)
        eventually(lambda: _refused(wire))
        wire.process.send_signal(signal.SIGTERM)
        assert wire.wait() == 128 + signal.SIGTERM


@posix_only
@pytest.mark.slow
def test_a_signal_ends_the_process_also_when_a_component_blocks_the_event_loop() -> None:
    with serving("careless", environment={"DRAIN": "0.2"}) as wire:
        wire.execute(1, "/hang/loop")
        wire.process.send_signal(signal.SIGTERM)
        assert wire.wait() == 0


def test_a_component_that_kills_the_process_leaves_no_half_line() -> None:
    with serving("careless") as wire:
        wire.execute(1, "/die", {"code": 7})
        assert wire.rest() == []
        assert wire.wait() == 7


def test_regular_files_serve_as_stdin_and_stdout(tmp_path: Any) -> None:
    requests = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"runtime_protocol_version": 1}},
        {"jsonrpc": "2.0", "id": 2, "method": "components/info", "params": {"component": "/echo"}},
    ]
    (tmp_path / "in").write_text("".join(json.dumps(request) + "\n" for request in requests))
    with (tmp_path / "in").open("rb") as stdin, (tmp_path / "out").open("wb") as stdout:
        command = [sys.executable, str(SERVERS / "careless.py")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run(command, stdin=stdin, stdout=stdout, env=environment, timeout=PATIENCE, check=True)
    assert [json.loads(line)["id"] for line in (tmp_path / "out").read_text().splitlines()] == [1, 2]


@posix_only
@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_descriptors_that_are_closed_at_the_start_do_not_upset_it(closed: str) -> None:

    command = f"{shlex.join([sys.executable, str(SERVERS / 'careless.py')])} {closed}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    request = b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"runtime_protocol_version":1}}\n'
    done = subprocess.run(
        ["/bin/sh", "-c", command], input=request, capture_output=True, env=environment, timeout=PATIENCE, check=True
    )
    assert (b'"id":1' in done.stdout) == (closed == "2>&-")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads memory from /proc")
@pytest.mark.parametrize("component", ["/large", "/large/async"])
def test_a_reader_that_stalls_costs_bounded_memory_and_loses_nothing(component: str) -> None:
    # All the requests fit into the pipe: a server whose outputs nobody takes reads none of them.
    count, size = 300, 1_000_000
    with serving("careless") as wire:
        wire.stall()
        before = wire.memory()
        for number in range(count):
            wire.execute(number, component, {"size": size})
        peak = wire.peak_memory_until_idle()
        # 32 threads may each hold one output of 2 MB.
        assert peak - before < 150_000_000
        wire.read_on()
        replies = wire.receive_all(count)
        assert all(len(replies[number]["result"]["output"]) == size for number in range(count))


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_twenty_thousand_requests_leave_nothing_behind() -> None:
    def rounds(count: int) -> None:
        for start in range(0, count, 500):
            for number in range(start, start + 500):
                wire.execute(number, ("/echo", "/echo/thread", "/fail", "/slow/async")[number % 4], {"how": "own"})
            wire.receive_all(500)

    with serving("careless") as wire:
        rounds(4000)
        memory, descriptors, threads = wire.memory(), wire.descriptors(), wire.threads()
        rounds(20_000)
        assert wire.memory() - memory < 5_000_000
        assert wire.descriptors() == descriptors
        # On a busy machine more of the 32 worker threads may have been woken, and those stay.
        assert wire.threads() <= threads + 32


@posix_only
def test_a_server_ends_when_its_parent_is_killed() -> None:
    code = f"""
import subprocess, sys, time
server = subprocess.Popen([sys.executable, {str(SERVERS / "careless.py")!r}], stdin=subprocess.PIPE)
print(server.pid, flush=True)
time.sleep(3600)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
    try:
        assert parent.stdout is not None
        server_id = int(parent.stdout.readline())
        os.kill(server_id, 0)
    finally:
        parent.kill()
        parent.wait(PATIENCE)
        parent.stdout.close()  # type: ignore[union-attr]
    eventually(lambda: not runs(server_id))
