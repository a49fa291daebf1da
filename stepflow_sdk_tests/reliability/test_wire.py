"""The wire: whatever comes, each request has one answer, and the next one is served."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from stepflow_sdk_tests.e2e.wire import Wire, serving
from stepflow_sdk_tests.reliability.ends import RECKLESS, TRANSPORTS, End, StdioEnd, Transport, execution, open_end
from stepflow_sdk_tests.reliability.memory import linux_only, peak_while
from stepflow_sdk_tests.reliability.wire_cases import CASES, GOOD, NOTHING, RESULT, Case, execute_raw


@pytest.mark.promise("R1", "R2", "R13", "R14")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_message_has_the_answer_that_it_should_have(end: End, case: Case) -> None:
    replies = end.tell(case.body, 0 if case.code == NOTHING else 1)
    for reply in replies:
        assert reply["jsonrpc"] == "2.0"
        assert reply["id"] == case.id
        assert type(reply["id"]) is type(case.id)
        assert set(reply) == {"jsonrpc", "id", "result" if case.code == RESULT else "error"}
        if case.code != RESULT:
            assert reply["error"]["code"] == case.code
            assert len(json.dumps(reply)) <= 200_000
            assert len(reply["error"]["message"]) <= 20_000
        if case.where is not None:
            assert reply["error"]["data"]["path"] == case.where


UNHARMED = [
    *("0", "-0", "-0.0", "1.0", "0.1", "9007199254740993", "9223372036854775807", "-9223372036854775808"),
    *(
        "18446744073709551615",
        "1e308",
        "5e-324",
        "1.7976931348623157e+308",
        "2.2250738585072014e-308",
        "0.30000000000000004",
    ),
    *(
        json.dumps(text)
        for text in ("", "\0", "\x7f", "\u2028\u2029", "\ufeff", "\ufffe\uffff", "😀", "\U0010ffff", "e\u0301")
    ),
    *(json.dumps(text, ensure_ascii=False) for text in ("é", "漢字", "😀" * 1000, "\u202etxt", "a\u0000b")),
    *("[]", "{}", '{"":""}', "[[[[[]]]]]", "[null,true,false]", '{"a":{"b":[{}]}}'),
]
IN_ERROR = [str(2**64), str(2**64 + 1), str(-(2**63) - 1), "1" * 310, "1" * 5000, "1e309", "-1e309", "1e400"]


@pytest.mark.promise("R13")
@pytest.mark.parametrize("raw", UNHARMED, ids=lambda raw: ascii(raw)[:30])
@pytest.mark.parametrize("component", ["/echo", "/echo/thread"])
def test_what_json_can_say_comes_back_unharmed(end: End, component: str, raw: str) -> None:
    (reply,) = end.tell(execute_raw(raw.encode()).replace(b"/echo", component.encode()))
    assert json.dumps(reply["result"]["output"]) == json.dumps(json.loads(raw))


@pytest.mark.promise("R13")
@pytest.mark.parametrize("raw", IN_ERROR, ids=lambda raw: raw[:30])
def test_a_number_that_cannot_be_kept_is_an_error_and_not_another_number(end: End, raw: str) -> None:
    (reply,) = end.tell(execute_raw(raw.encode()))
    assert reply["error"]["code"] in {-32003, -32004}


@pytest.mark.promise("R1")
@pytest.mark.parametrize("id", [7, "seven"])
def test_a_repeated_id_in_flight_has_an_answer_for_each_request(id: int | str) -> None:
    with open_end("stdio") as end:
        assert isinstance(end, StdioEnd)
        end.wire.send(*(execution(id, "/echo/thread", number) for number in range(50)))
        replies = [end.wire.receive() for _ in range(50)]
        assert {reply["id"] for reply in replies} == {id}
        assert sorted(reply["result"]["output"] for reply in replies) == list(range(50))


# ---- batches --------------------------------------------------------------------------------------------------

INFO: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "components/info", "params": {"component": "/echo"}}
TOLD: dict[str, Any] = {"jsonrpc": "2.0", "method": "initialized", "params": {}}
ANSWER: dict[str, Any] = {"jsonrpc": "2.0", "id": "nobody", "result": {}}

BATCHES: list[tuple[str, Any, list[tuple[Any, int]] | tuple[Any, int] | None]] = [
    ("nothing", [], (None, -32600)),
    ("one", [INFO], [(1, 0)]),
    ("two with one id", [INFO, INFO], [(1, 0), (1, 0)]),
    ("a notification", [TOLD], None),
    ("notifications and answers", [TOLD, ANSWER, TOLD], None),
    ("a request among notifications", [TOLD, INFO, TOLD], [(1, 0)]),
    ("numbers", [1, 2], [(None, -32600), (None, -32600)]),
    ("rubbish and a request", ["x", INFO, None], [(None, -32600), (None, -32600), (1, 0)]),
    ("a batch within", [[INFO]], [(None, -32600)]),
    ("an empty batch within", [[]], [(None, -32600)]),
    ("an unknown method", [{**INFO, "method": "no"}], [(1, -32601)]),
    ("a thread", [execution(5, "/echo/thread", 1), execution(6, "/echo", 2)], [(5, 0), (6, 0)]),
    ("a failure", [execution(5, "/raise/thread", {"how": "exit"}), INFO], [(1, 0), (5, -32004)]),
    ("a thousand", [{**INFO, "id": number} for number in range(1000)], [(number, 0) for number in range(1000)]),
]


@pytest.mark.promise("R1")
@pytest.mark.parametrize(("name", "batch", "expected"), BATCHES, ids=[name for name, _, _ in BATCHES])
def test_a_batch_is_answered_as_json_rpc_says_or_refused_as_a_whole(
    end: End, name: str, batch: Any, expected: Any
) -> None:
    body = json.dumps(batch).encode()
    if not isinstance(end, StdioEnd):
        (reply,) = end.tell(body)
        assert (reply["id"], reply["error"]["code"]) == (None, -32600)
        return
    replies = end.tell(body, 0 if expected is None else 1)
    if isinstance(expected, list):
        outcomes = [(reply["id"], reply.get("error", {}).get("code", 0)) for reply in replies[0]]
        assert sorted(outcomes, key=str) == sorted(expected, key=str)
    elif expected is not None:
        assert (replies[0]["id"], replies[0]["error"]["code"]) == expected


@pytest.mark.parametrize("broken", [b"[", b"[1,", b"[{]", b"[\xff]", b'[{"id":1,"method":NaN}]'])
def test_a_batch_that_is_not_json_has_one_error(end: End, broken: bytes) -> None:
    (reply,) = end.tell(broken)
    assert (reply["id"], reply["error"]["code"]) == (None, -32700)


# ---- how it comes ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wire() -> Any:
    with serving(RECKLESS, environment={"MAX_BYTES": "1000000"}) as wire:
        yield wire


BLANKS = [b"\n", b"\n\n\n", b"\r\n", b" \n", b"\t\r\n", b" " * 100_000 + b"\n"]


@pytest.mark.promise("R2")
@pytest.mark.parametrize("blank", BLANKS, ids=lambda blank: repr(blank)[:20])
def test_blank_lines_are_nothing(wire: Wire, blank: bytes) -> None:
    wire.send_bytes(blank + GOOD + b"\n" + blank)
    assert wire.receive()["result"]["output"] == {"a": ["é", 1.5, None]}


@pytest.mark.promise("R2")
@pytest.mark.parametrize("seed", range(8))
def test_the_pieces_in_which_messages_come_make_no_difference(wire: Wire, seed: int) -> None:
    random_ = random.Random(seed)
    lines = [
        json.dumps(execution(number, "/echo", "é" * random_.randrange(3000)), ensure_ascii=False)
        for number in range(40)
    ]
    data = "\n".join(lines).encode() + b"\n"
    while data:
        size = random_.choice([1, 2, 7, 100, 5000])
        wire.send_bytes(data[:size])
        data = data[size:]
    replies = wire.receive_all(40)
    assert [replies[number]["result"]["output"] for number in range(40)] == [
        json.loads(line)["params"]["input"] for line in lines
    ]


@pytest.mark.promise("R2", "S5")
@pytest.mark.parametrize("size", [1_000_001, 1_500_000, 30_000_000])
@pytest.mark.parametrize(
    "start", [b'{"jsonrpc":"2.0","id":"big","method":"', b"x", b'{"method":"m","id":5,"params":"', b"\xff"]
)
def test_a_line_above_the_limit_costs_one_error_and_is_skipped(wire: Wire, size: int, start: bytes) -> None:
    wire.send_bytes(start + b"x" * (size - len(start)) + b"\n" + GOOD + b"\n")
    replies = [wire.receive(), wire.receive()]
    assert (replies[0]["error"]["code"], replies[0]["error"]["data"]) == (-32600, {"limit": 1_000_000})
    assert replies[0]["id"] == {b"x": None, b"\xff": None}.get(start, "big" if b"big" in start else 5)
    assert "result" in replies[1]


@pytest.mark.promise("R2", "S5")
@linux_only
def test_a_line_without_an_end_does_not_fill_the_memory(wire: Wire) -> None:
    def send() -> None:
        for _ in range(300):
            wire.send_bytes(b"x" * 1_000_000)
        wire.send_bytes(b"\n" + GOOD + b"\n")
        assert "error" in wire.receive()
        assert "result" in wire.receive()

    assert peak_while(wire.process.pid, send) < 30_000_000


@pytest.mark.promise("R6", "S5")
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_requests_above_the_limit_are_refused_and_those_after_them_served(transport: Transport, tmp_path: Path) -> None:
    with open_end(transport, environment={"MAX_IN_FLIGHT": "5"}) as end:
        waiting = [end.ask("/call/async", number) for number in range(5)]
        calls = [asking.next() for asking in waiting]
        assert {call["method"] for call in calls} == {"blobs/put"}
        more = end.ask("/echo", 1)
        refusal = more.next()
        assert refusal["error"]["code"] == -32005
        assert refusal["error"]["data"] == {"limit": 5}
        more.close()
        for asking, call in zip(waiting, calls, strict=True):
            asking.answer(json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": {"blob_id": "b"}}).encode())
        answers = [asking.next() for asking in waiting]
        assert all(answer["result"]["output"] == "b" for answer in answers)
        for asking in waiting:
            asking.close()
        assert end.execute("/echo", 1)["result"]["output"] == 1


@pytest.mark.promise("R1")
@pytest.mark.parametrize(
    "method",
    ["components/list", "components/info", "components/execute", "no/such", ""],
    ids=lambda name: name or "empty",
)
def test_nothing_is_served_over_stdio_before_initialize_and_everything_after_it(method: str) -> None:
    with serving(RECKLESS, initialize=False) as wire:
        wire.request(1, method, {"component": "/echo"})
        assert wire.receive()["error"]["code"] in ({-32002} if "components" in method else {-32601})
        wire.send({"jsonrpc": "2.0", "method": "initialized"})
        wire.request(2, "initialize", {"runtime_protocol_version": -1})
        assert wire.receive()["error"]["code"] == -32602
        wire.request(3, "components/list", {})
        assert wire.receive()["error"]["code"] == -32002
        for version in (0, 1, 2, 10**6):
            wire.request(4, "initialize", {"runtime_protocol_version": version})
            assert wire.receive()["result"]["server_protocol_version"] == 1
        wire.request(5, "components/list", {})
        assert "result" in wire.receive()


@pytest.mark.promise("R1", "R2")
def test_thousands_of_good_and_bad_messages_at_once_are_answered_once_each() -> None:
    bad = [case for case in CASES if len(case.body) < 1000 and case.code not in {RESULT, NOTHING}]
    with serving(RECKLESS) as wire:
        lines: list[bytes] = []
        for number in range(5000):
            lines += [json.dumps(execution(f"good {number}", "/echo", number)).encode(), bad[number % len(bad)].body]
        wire.send_bytes(b"\n".join(lines) + b"\n")
        replies = [wire.receive() for _ in lines]
        good = {reply["id"]: reply["result"]["output"] for reply in replies if "result" in reply}
        assert good == {f"good {number}": number for number in range(5000)}
        assert sum("error" in reply for reply in replies) == 5000


@pytest.mark.promise("R2")
@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b" \t \n"])
def test_requests_among_very_many_blank_lines_are_answered(blank: bytes) -> None:
    blanks = blank * 200_000
    requests = [json.dumps(execution(number, "/echo", number)).encode() + b"\n" for number in range(3)]
    with serving(RECKLESS) as wire:
        wire.send_bytes(blanks.join([b"", *requests, b"[\n", b"x\n" * 100, b""]))
        replies = [wire.receive() for _ in range(104)]
        assert [reply["id"] for reply in replies if "result" in reply] == [0, 1, 2]
        assert [reply["error"]["code"] for reply in replies if "error" in reply] == [-32700] * 101
