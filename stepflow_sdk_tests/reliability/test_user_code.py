"""User code: whatever a component raises, returns or does besides, its request is answered and nobody else notices."""

import json
import os
import signal
import sys
from typing import Any

import pytest

from stepflow_sdk_tests.e2e.wire import PATIENCE, eventually, runs, serving
from stepflow_sdk_tests.reliability.ends import RECKLESS, TRANSPORTS, End, StdioEnd, Transport, execution, open_end
from stepflow_sdk_tests.reliability.memory import linux_only, memory, threads
from stepflow_sdk_tests.reliability.processes import INITIALIZE, running
from stepflow_sdk_tests.reliability.servers.reckless import DEEDS, DOINGS, ERRORS, LOOPS, OUTPUTS, TASKS

WAYS = ["async", "later", "thread", "inline"]

CODES = {"resource": -32005, "invalid input": -32003}
"""Errors that say themselves what they are; all others are failed executions."""

SAID = {
    "stop iteration": "RuntimeError|StopIteration",
    "exit": "SystemExit: 3",
    "exit with text": "SystemExit: good bye",
    "interrupt": "KeyboardInterrupt",
    "cancelled": "CancelledError",
    "generator exit": "GeneratorExit",
    "rude": "Rude: no manners",
    "silent": "Silent",
    "group": "ExceptionGroup: ValueError: one; KeyError: 'other'",
    "real recursion": "RecursionError",
    "real memory": "MemoryError|OverflowError",
    "sys.exit": "SystemExit: 5",
    "surrogate": "ValueError: half ? a character",
    "no class": "NoClass",
    "no attributes": "NoAttributes",
    "of a nameless class": "OfNamelessClass",
    "group of no class": "NoClass",
}


@pytest.mark.promise("R3", "R14", "S8")
@pytest.mark.parametrize("how", [*ERRORS, *DOINGS])
@pytest.mark.parametrize("way", WAYS)
def test_whatever_is_raised_is_a_failed_execution(end: End, way: str, how: str) -> None:
    error = end.execute(f"/raise/{way}", {"how": how})["error"]
    assert error["code"] == CODES.get(how, -32004)
    assert len(error["message"]) <= 20_000 + 200
    assert error["message"]
    assert any(error["message"].startswith(said) for said in SAID.get(how, error["message"]).split("|"))
    text = json.dumps(error)
    assert "reckless.py" not in text
    assert "Traceback" not in text


@pytest.mark.promise("R1", "R3")
@pytest.mark.parametrize("how", [*ERRORS, *DOINGS])
@pytest.mark.parametrize("component", ["/read/dataclass", "/read/struct", "/read/fields"])
def test_whatever_the_class_of_an_input_raises_is_answered(end: End, component: str, how: str) -> None:
    input = {"how": how}
    error = end.execute(component, {"first": input} if component == "/read/fields" else input)["error"]
    assert error["code"] < 0
    assert "Traceback" not in json.dumps(error)


@pytest.mark.promise("R13")
@pytest.mark.parametrize("how", ["not a number in data", "surrogate in data", "cyclic data", "deep data"])
@pytest.mark.parametrize("way", WAYS)
def test_data_of_an_error_that_are_not_json_are_left_out_and_never_changed(end: End, way: str, how: str) -> None:
    data = end.execute(f"/raise/{way}", {"how": how})["error"]["data"]
    assert list(data) == ["omitted"]
    assert data["omitted"].endswith("is not JSON")


@pytest.mark.promise("R3", "R13")
@pytest.mark.parametrize("how", list(OUTPUTS))
@pytest.mark.parametrize("way", ["async", "thread"])
def test_an_output_that_is_not_json_is_a_failed_execution_with_its_path(end: End, way: str, how: str) -> None:
    error = end.execute(f"/output/{way}", {"how": how})["error"]
    assert error["code"] == -32004
    assert "$" in error["message"] or "deep" in error["message"]


@pytest.mark.promise("R3")
@pytest.mark.parametrize("value", [None, "5", 1.5, [], {}, True, "x" * 1_000_000], ids=lambda value: str(value)[:10])
def test_an_output_of_another_type_than_promised_is_a_failed_execution(end: End, value: Any) -> None:
    error = end.execute("/output/int", {"value": value})["error"]
    assert error["code"] == -32004
    assert len(error["message"]) <= 20_000


@pytest.mark.promise("R1", "R6")
@pytest.mark.parametrize("size", [0, 1, 32_700, 65_536, 524_288, 10_000_000])
def test_outputs_of_any_size_arrive_whole(end: End, size: int) -> None:
    assert end.execute("/output/large", {"size": size})["result"]["output"] == "é" * size


@pytest.mark.parametrize("how", range(6))
def test_a_skip_with_any_reason_is_answered(end: End, how: int) -> None:
    reply = end.execute("/skip", {"how": how})
    assert "result" in reply or reply["error"]["code"] == -32004


# ---- what is done besides -------------------------------------------------------------------------------------

LASTING = {
    "closes stdout",
    "closes descriptor 1",
    "has no stdout",
    "leaves a thread",
    "stops the log",
    "changes the directory",
}
"""What changes the process for good."""


@pytest.mark.promise("R3", "R4", "R12")
@pytest.mark.parametrize("how", [how for how in DEEDS if how not in LASTING])
@pytest.mark.parametrize("way", ["/do", "/do/async"])
def test_what_is_done_besides_touches_neither_the_wire_nor_the_next(end: End, way: str, how: str) -> None:
    if how == "forks" and sys.platform == "win32":
        pytest.skip("there is no fork")
    assert end.execute(way, {"how": how})["result"] == {"output": "done"}


@pytest.mark.promise("R3", "R4", "R8")
@pytest.mark.parametrize("how", sorted(LASTING))
@pytest.mark.parametrize("way", ["/do", pytest.param("/do/async", marks=pytest.mark.slow)])
def test_a_process_that_was_changed_for_good_serves_on_and_ends(way: str, how: str) -> None:
    with serving(RECKLESS, environment={"DRAIN": "0"}) as wire:
        end = StdioEnd(wire)
        assert end.execute(way, {"how": how})["result"] == {"output": "done"}
        for after in ("prints a reply", "has a child that prints", "reads stdin", "floods the log"):
            if how not in {"closes descriptor 1", "closes stdout", "has no stdout"} or after != "prints a reply":
                assert end.execute(way, {"how": after})["result"] == {"output": "done"}
        wire.end_input()
        assert wire.rest() == []
        assert wire.wait() == 0


@pytest.mark.promise("R3")
@pytest.mark.parametrize("how", list(TASKS))
def test_a_task_that_is_left_behind_disturbs_nobody(end: End, how: str) -> None:
    for _ in range(3):
        assert end.execute("/leave/task", {"how": how})["result"] == {"output": "done"}


@pytest.mark.promise("R3", "R8")
@pytest.mark.parametrize("how", list(LOOPS))
def test_what_is_done_to_the_event_loop_ends_neither_it_nor_another_request(how: str) -> None:
    if how == "has an alarm that raises" and sys.platform == "win32":
        pytest.skip("there is no alarm")
    with serving(RECKLESS) as wire:
        wire.execute("blocked", "/block")
        wire.execute("does it", "/leave/loop", {"how": how})
        assert wire.receive()["result"] == {"output": "done"}
        wire.execute("echo", "/echo", 1)
        assert wire.receive()["result"] == {"output": 1}
        wire.execute("releases it", "/block/released")
        assert {reply["id"] for reply in (wire.receive(), wire.receive()) if "result" in reply} == {
            "blocked",
            "releases it",
        }
        wire.end_input()
        assert wire.rest() == []
        assert wire.wait() == 0


@pytest.mark.promise("R3", "R8")
@pytest.mark.parametrize(
    "how", [how for how in LOOPS if how not in {"cancels all tasks but its own", "makes no more tasks"}]
)
def test_what_is_done_to_the_event_loop_does_not_end_an_http_server(how: str) -> None:
    if how == "has an alarm that raises" and sys.platform == "win32":
        pytest.skip("there is no alarm")
    with open_end("http") as end:
        assert end.execute("/leave/loop", {"how": how})["result"] == {"output": "done"}
        assert end.execute("/echo", 1)["result"]["output"] == 1


forking = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")


@forking
@pytest.mark.promise("R1", "R3", "R4")
@pytest.mark.parametrize(("how", "code"), [("returns", 0), ("raises", 1), ("exits", 5)])
@pytest.mark.parametrize("way", ["/fork/thread", "/fork/inline", "/fork/async"])
def test_a_child_that_goes_on_behind_a_fork_answers_nothing_and_ends(end: End, way: str, how: str, code: int) -> None:
    assert end.execute(way, {"how": how})["result"] == {"output": code}


@forking
@pytest.mark.promise("R1", "R4")
@pytest.mark.parametrize("how", ["returns", "raises", "exits"])
def test_a_child_that_waits_on_the_loop_of_its_parent_answers_nothing_and_ends(how: str) -> None:
    with serving(RECKLESS, environment={"DRAIN": "0"}) as wire:
        # Which of its parent's events it meets first is open, and so is its code.
        assert isinstance(StdioEnd(wire).execute("/fork/later", {"how": how})["result"]["output"], int)
        wire.end_input()
        assert wire.rest() == []


@forking
@pytest.mark.promise("R4", "R9")
def test_a_forked_child_does_not_keep_the_wire_open() -> None:
    with serving(RECKLESS) as wire:
        wire.execute(1, "/fork/lasting")
        child = wire.receive()["result"]["output"]
        try:
            wire.end_input()
            assert wire.rest() == []
            assert wire.process.wait(PATIENCE) == 0
            assert runs(child)
        finally:
            os.kill(child, signal.SIGKILL)


@pytest.mark.promise("R3")
@pytest.mark.parametrize("wait", [False, True])
def test_a_component_that_cancels_itself_is_answered(end: End, wait: bool) -> None:
    for _ in range(3):
        reply = end.execute("/cancel/self", {"wait": wait})
        assert "result" in reply or reply["error"]["message"].startswith("CancelledError")


@pytest.mark.promise("R5")
@pytest.mark.parametrize("component", ["/late", "/late/async", "/late/stubborn", "/late/returns", "/late/raises"])
def test_a_component_that_ignores_its_end_is_answered_for_in_time(end: End, component: str) -> None:
    for _ in range(4):
        error = end.execute(component)["error"]
        assert (error["code"], error["data"]) == (-32006, {"timeout": 0.05})


@pytest.mark.promise("R5")
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_async_components_answer_while_a_hundred_others_block(transport: Transport) -> None:
    with open_end(transport, environment={"DRAIN": "0.2"}) as end:
        connections = [end.begin("/block") for _ in range(100)]
        for number in range(20):
            assert end.execute("/echo", number)["result"]["output"] == number
        if sys.platform == "linux":
            assert threads(end.process_id) < 60
        if isinstance(end, StdioEnd):
            end.wire.end_input()
            assert {reply["error"]["code"] for reply in end.wire.rest()} == {-32005}
        for connection in connections:
            connection.close()


@pytest.mark.promise("R12")
@pytest.mark.parametrize("component", ["/do", "/do/async"])
@pytest.mark.parametrize("how", ["floods the log", "writes to stderr"])
def test_a_log_that_nobody_reads_stops_nobody(component: str, how: str) -> None:
    # With this much time to drain, the watchdog would come too late: the process has to end by itself.
    with running(environment={"DRAIN": str(2 * PATIENCE)}) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(INITIALIZE)
        for number in range(5):
            # 5,000 records are far more than a pipe holds; 50 KB of plain text are just less.
            how_often = how if how == "floods the log" or number == 0 else "warns"
            process.stdin.write(json.dumps(execution(number, component, {"how": how_often})).encode() + b"\n")
        process.stdin.write(json.dumps(execution("more", "/echo", 1)).encode() + b"\n")
        process.stdin.flush()
        ids = {json.loads(process.stdout.readline())["id"] for _ in range(7)}
        assert ids == {"init", 0, 1, 2, 3, 4, "more"}
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


@pytest.mark.promise("R12")
@linux_only
@pytest.mark.parametrize("component", ["/raise/async", "/raise/later", "/raise/thread", "/raise/inline", "/do"])
def test_long_texts_that_wait_to_be_logged_do_not_fill_the_memory(component: str) -> None:
    how = "prints a reply" if component == "/do" else "long"
    with running() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(INITIALIZE)
        process.stdin.flush()
        assert process.stdout.readline()
        before = memory(process.pid)
        for number in range(200):
            # Each writes a million characters to the log, and nobody reads it.
            process.stdin.write(json.dumps(execution(number, component, {"how": how})).encode() + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["id"] == number
        assert memory(process.pid) - before < 60_000_000


@pytest.mark.promise("R3")
def test_a_log_flood_is_counted_where_it_cannot_be_kept() -> None:
    with serving(RECKLESS) as wire:
        wire.execute(1, "/do", {"how": "floods the log"})
        assert wire.receive()["result"]
        eventually(lambda: b"record 0" in wire.stderr)
        wire.end_input()
        wire.wait()
        written = wire.stderr.count(b" record ") + wire.stderr.count(b" records were dropped")
        assert written >= 2000
