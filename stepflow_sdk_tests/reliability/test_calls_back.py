"""Calls back: whatever the runtime answers, once, twice, late or never, no component waits for ever."""

import json
import threading
from typing import Any

import pytest

from stepflow_sdk_tests.e2e.wire import eventually
from stepflow_sdk_tests.reliability.ends import TRANSPORTS, Asking, End, HttpEnd, StdioEnd, Transport, open_end

COMPONENTS = ["/call/async", "/call/thread"]


def deep(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


ANSWERS: list[tuple[str, bytes, int]] = [
    ("an error", b'{"jsonrpc":"2.0","id":ID,"error":{"code":-32008,"message":"gone"}}', -32008),
    ("an error of nobody", b'{"jsonrpc":"2.0","id":ID,"error":{"code":77,"message":"odd"}}', 77),
    ("an error with data", b'{"jsonrpc":"2.0","id":ID,"error":{"code":-32000,"message":"m","data":[1]}}', -32000),
    ("an error beside a null result", b'{"id":ID,"result":null,"error":{"code":-32008,"message":"m"}}', -32008),
    ("an error without a message", b'{"jsonrpc":"2.0","id":ID,"error":{"code":1}}', -32603),
    ("an error without a code", b'{"jsonrpc":"2.0","id":ID,"error":{"message":"m"}}', -32603),
    ("an error with a code in words", b'{"jsonrpc":"2.0","id":ID,"error":{"code":"x","message":"m"}}', -32603),
    ("an error with a fraction as its code", b'{"jsonrpc":"2.0","id":ID,"error":{"code":1.5,"message":"m"}}', -32603),
    ("an error that is text", b'{"jsonrpc":"2.0","id":ID,"error":"bad"}', -32603),
    ("an error that is a list", b'{"jsonrpc":"2.0","id":ID,"error":[]}', -32603),
    ("an error that is false", b'{"jsonrpc":"2.0","id":ID,"error":false}', -32603),
    ("both", b'{"jsonrpc":"2.0","id":ID,"result":{"blob_id":"b"},"error":{"code":1,"message":"m"}}', -32603),
    ("neither", b'{"jsonrpc":"2.0","id":ID}', -32603),
    ("a null error alone", b'{"jsonrpc":"2.0","id":ID,"error":null}', -32603),
    ("a null result", b'{"jsonrpc":"2.0","id":ID,"result":null}', -32603),
    ("a result without its field", b'{"jsonrpc":"2.0","id":ID,"result":{}}', -32603),
    ("a result with a null field", b'{"jsonrpc":"2.0","id":ID,"result":{"blob_id":null}}', -32603),
    ("a result with a number", b'{"jsonrpc":"2.0","id":ID,"result":{"blob_id":5}}', -32603),
    ("a result that is text", b'{"jsonrpc":"2.0","id":ID,"result":"b"}', -32603),
    ("a result that is a list", b'{"jsonrpc":"2.0","id":ID,"result":["b"]}', -32603),
    ("a deep result", b'{"jsonrpc":"2.0","id":ID,"result":{"blob_id":' + deep(100_000) + b"}}", -32603),
    ("a result with NaN", b'{"jsonrpc":"2.0","id":ID,"result":{"blob_id":NaN}}', -32603),
    ("a broken byte", b'{"jsonrpc":"2.0","id":ID,"result":{"blob_id":"\xff"}}', -32603),
    ("a lone surrogate", b'{"jsonrpc":"2.0","id":ID,"result":{"blob_id":"\\ud800"}}', -32603),
    ("cut short", b'{"jsonrpc":"2.0","id":ID,"result":{"blob', -32603),
    ("text behind", b'{"jsonrpc":"2.0","id":ID,"result":{"blob_id":"b"}} x', -32603),
    ("a result", b'{"jsonrpc":"2.0","id":ID,"result":{"blob_id":"b"}}', 0),
    ("a result without a version", b'{"id":ID,"result":{"blob_id":"b"}}', 0),
    ("a result with a null error", b'{"jsonrpc":"2.0","id":ID,"result":{"blob_id":"b"},"error":null}', 0),
    ("a result with more", b'{"x":1,"jsonrpc":"2.0","id":ID,"result":{"blob_id":"b","more":[]}}', 0),
    ("a result before its id", b'{"result":{"blob_id":"b"},"id":ID,"jsonrpc":"2.0"}', 0),
    ("a large result", b'{"jsonrpc":"2.0","id":ID,"result":{"blob_id":"' + b"b" * 20_000_000 + b'"}}', 0),
    ("a byte-order mark", b'\xef\xbb\xbf{"jsonrpc":"2.0","id":ID,"result":{"blob_id":"b"}}', 0),
]


def fill(template: bytes, id: str) -> bytes:
    return template.replace(b"ID", json.dumps(id).encode(), 1)


def good(id: str, result: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id, "result": result}).encode()


def begin(end: End, component: str, input: Any = None) -> tuple[Asking, str]:
    asking = end.ask(component, input)
    call = asking.next()
    assert "method" in call
    return asking, call["id"]


@pytest.mark.promise("R7")
@pytest.mark.parametrize(("name", "answer", "code"), ANSWERS, ids=[name for name, _, _ in ANSWERS])
@pytest.mark.parametrize("component", COMPONENTS)
def test_any_answer_ends_the_wait(end: End, component: str, name: str, answer: bytes, code: int) -> None:
    asking, id = begin(end, component, 1)
    asking.answer(fill(answer, id))
    reply = asking.next()
    asking.close()
    assert reply.get("error", {}).get("code", 0) == code
    assert len(json.dumps(reply)) < 30_000 or name == "a large result"
    assert end.execute("/echo", 1)["result"]["output"] == 1


IGNORED: list[tuple[str, bytes]] = [
    ("another id", b'{"jsonrpc":"2.0","id":"another","result":{"blob_id":"wrong"}}'),
    ("a number as the id", b'{"jsonrpc":"2.0","id":1,"result":{"blob_id":"wrong"}}'),
    ("no id", b'{"jsonrpc":"2.0","result":{"blob_id":"wrong"}}'),
    ("a null id", b'{"jsonrpc":"2.0","id":null,"result":{"blob_id":"wrong"}}'),
    ("a complaint", b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what?"}}'),
    ("the id in capitals", b'{"jsonrpc":"2.0","id":UPPER,"result":{"blob_id":"wrong"}}'),
    ("half the id", b'{"jsonrpc":"2.0","id":HALF,"result":{"blob_id":"wrong"}}'),
    ("a notification", b'{"jsonrpc":"2.0","method":"initialized","params":{}}'),
    ("a notification that answers", b'{"jsonrpc":"2.0","method":"blobs/put","params":{"blob_id":"wrong"}}'),
]


@pytest.mark.promise("R7", "S7")
@pytest.mark.parametrize(("name", "answer"), IGNORED, ids=[name for name, _ in IGNORED])
@pytest.mark.parametrize("component", COMPONENTS)
def test_what_is_not_the_answer_does_not_end_the_wait(end: End, component: str, name: str, answer: bytes) -> None:
    asking, id = begin(end, component, 1)
    upper = id.upper() if id.upper() != id else id[:-1]
    answer = answer.replace(b"UPPER", json.dumps(upper).encode()).replace(b"HALF", json.dumps(id[:18]).encode())
    asking.answer(answer)
    asking.answer(good(id, {"blob_id": "right"}))
    assert asking.next()["result"]["output"] == "right"
    asking.close()


@pytest.mark.promise("R7")
@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize(
    "again", [b'{"id":ID,"result":{"blob_id":"second"}}', b'{"id":ID,"error":{"code":1,"message":"m"}}', b'{"id":ID']
)
def test_the_first_answer_counts_and_later_ones_are_ignored(end: End, component: str, again: bytes) -> None:
    asking, id = begin(end, component, 1)
    asking.answer(good(id, {"blob_id": "first"}))
    assert asking.next()["result"]["output"] == "first"
    asking.close()
    if again.endswith(b"}"):
        assert end.tell(fill(again, id), 0) == []
    else:
        # What cannot be read, and belongs to nothing any more, is told so once.
        (reply,) = end.tell(fill(again, id))
        assert reply["error"]["code"] == -32700


@pytest.mark.promise("R7")
def test_ids_of_calls_back_are_uuids_and_random_where_strangers_could_answer(end: End) -> None:
    import uuid

    ids = set()
    beginnings = set()
    for _ in range(20):
        asking, id = begin(end, "/call/async", 1)
        assert uuid.UUID(id).version == 4
        assert str(uuid.UUID(id)) == id
        ids.add(id)
        beginnings.add(id[:8])
        asking.answer(good(id, {"blob_id": "b"}))
        asking.next()
        asking.close()
    assert len(ids) == 20
    assert len(beginnings) == (20 if isinstance(end, HttpEnd) else 1)


TYPED: list[tuple[bytes, int]] = [
    (b"5", 0),
    (b'"5"', -32011),
    (b"5.5", -32011),
    (b"null", -32011),
    (b"{}", -32011),
    (b"1e400", -32011),
]


@pytest.mark.promise("R7")
@pytest.mark.parametrize(("data", "code"), TYPED)
def test_a_blob_of_another_type_than_asked_for_is_an_error_of_the_call(end: End, data: bytes, code: int) -> None:
    asking, id = begin(end, "/get/int", {"blob_id": "b"})
    asking.answer(fill(b'{"id":ID,"result":{"blob_type":"data","data":', id) + data + b"}}")
    reply = asking.next()
    asking.close()
    assert reply.get("error", {}).get("code", 0) in {code, -32603 if code else 0}


@pytest.mark.promise("R6", "R7")
@pytest.mark.parametrize("component", ["/get/async", "/get/thread"])
def test_an_answer_of_twenty_megabytes_arrives_whole(end: End, component: str) -> None:
    text = "é" * 10_000_000
    asking, id = begin(end, component, {"blob_id": "b"})
    asking.answer(good(id, {"data": text, "blob_type": "data"}))
    assert asking.next()["result"]["output"] == text
    asking.close()


@pytest.mark.promise("R7", "S7")
@pytest.mark.parametrize("component", COMPONENTS)
def test_two_hundred_contexts_at_once_keep_their_answers_apart(end: End, component: str) -> None:
    askings = [end.ask(component, number) for number in range(200)]
    calls = [asking.next() for asking in askings]
    assert sorted(call["params"]["data"] for call in calls) == list(range(200))
    for asking, call in reversed(list(zip(askings, calls, strict=True))):
        asking.answer(good(call["id"], {"blob_id": f"blob {call['params']['data']}"}))
    outputs = {asking.next()["result"]["output"] for asking in askings}
    assert outputs == {f"blob {number}" for number in range(200)}
    for asking in askings:
        asking.close()


@pytest.mark.promise("R7")
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_many_calls_of_one_component_find_their_answers_in_any_order(transport: Transport) -> None:
    with open_end(transport) as end:
        asking = end.ask("/call/many", {"count": 300})
        calls = [asking.next() for _ in range(300)]
        for call in sorted(calls, key=lambda call: str(call["id"])):
            asking.answer(good(call["id"], {"blob_id": f"{call['params']['data']}"}))
        assert asking.next()["result"]["output"] == [str(number) for number in range(300)]
        asking.close()


@pytest.mark.promise("R7")
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("component", COMPONENTS)
def test_an_answer_that_never_comes_or_comes_late_ends_with_the_time_limit(
    transport: Transport, component: str
) -> None:
    with open_end(transport, environment={"CALL_TIMEOUT": "0.1"}) as end:
        asking, id = begin(end, component, 1)
        reply = asking.next()
        asking.close()
        assert (reply["error"]["code"], reply["error"]["data"]) == (-32006, {"timeout": 0.1})
        assert end.tell(good(id, {"blob_id": "late"}), 0) == []


@pytest.mark.promise("R7")
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_context_is_closed_when_its_component_has_ended(transport: Transport) -> None:
    with open_end(transport, environment={"CALL_TIMEOUT": "0.1"}) as end:
        asking = end.ask("/call/leave")
        messages = [asking.next()]
        if "method" in messages[0] or isinstance(end, StdioEnd):
            messages.append(asking.next())
        asking.close()
        (reply,) = [message for message in messages if "result" in message]
        assert reply["result"] == {"output": "done"}
        eventually(lambda: bool(end.execute("/call/outcomes")["result"]["output"]))
        assert "closed" in end.execute("/call/outcomes")["result"]["output"][0]


@pytest.mark.promise("R7")
def test_calls_that_nobody_will_answer_any_more_end_with_the_input() -> None:
    with open_end("stdio") as end:
        assert isinstance(end, StdioEnd)
        askings = [begin(end, component, number) for number in range(20) for component in COMPONENTS]
        end.wire.end_input()
        replies = end.wire.rest()
        assert len(replies) == len(askings)
        assert {reply["error"]["code"] for reply in replies} == {-32005}
        assert end.wire.wait() == 0


@pytest.mark.promise("R7", "R10")
def test_answers_from_many_threads_at_once_are_taken() -> None:
    with open_end("http") as end:
        assert isinstance(end, HttpEnd)
        outputs: list[Any] = []

        def go(number: int) -> None:
            asking, id = begin(end, COMPONENTS[number % 2], number)
            end.web.send(body=good(id, {"blob_id": str(number)}))
            outputs.append(asking.next()["result"]["output"])
            asking.close()

        threads = [threading.Thread(target=go, args=[number]) for number in range(60)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outputs, key=int) == [str(number) for number in range(60)]
