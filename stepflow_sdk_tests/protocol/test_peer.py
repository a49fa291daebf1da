"""The sans-I/O conversation."""

import json
import uuid
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepflow_sdk import errors
from stepflow_sdk.protocol import Answer, Complaint, Notification, Peer, Request, decode_params, methods
from stepflow_sdk.protocol.messages import ComponentInfoParams, PutBlobParams
from stepflow_sdk.protocol.values import BlobType


def sent(peer: Peer) -> list[Any]:
    return [json.loads(frame) for frame in peer.take()]


def request_of(peer: Peer, **message: Any) -> Request:
    (event,) = peer.receive(json.dumps({"jsonrpc": "2.0", "params": {}, **message}).encode())
    assert isinstance(event, Request)
    return event


def error_answer(frame: bytes) -> tuple[int, Any]:
    peer = Peer()
    assert list(peer.receive(frame)) == []
    (reply,) = sent(peer)
    assert reply["jsonrpc"] == "2.0"
    return reply["error"]["code"], reply["id"]


@pytest.mark.parametrize("id", [0, -1, 2**63 - 1, 2**70, "", "x", "é\n", "9" * 200])
def test_a_request_is_answered_with_its_own_id(id: int | str) -> None:
    peer = Peer()
    request = request_of(peer, id=id, method="components/list")
    assert peer.reply(request, {"components": []})
    assert sent(peer) == [{"jsonrpc": "2.0", "id": id, "result": {"components": []}}]


def test_a_second_answer_to_a_request_is_not_sent() -> None:
    peer = Peer()
    request = request_of(peer, id=1, method="m")
    assert peer.fail(request, errors.ComponentError("no"))
    assert not peer.reply(request, {})
    assert not peer.fail(request, errors.ComponentError("no"))
    assert len(peer.take()) == 1
    assert peer.in_flight == 0


@pytest.mark.parametrize(
    ("frame", "code", "id"),
    [
        (b"{", -32700, None),
        (b'{"jsonrpc":"2.0","id":7,"method":"m","params":{"a":', -32700, 7),
        (b'{"jsonrpc":"2.0","id":"a","method":"m","params":{"a":NaN}}', -32700, "a"),
        (b'{"jsonrpc":"2.0","id":"a","method":"m","params":{"a":"\xff"}}', -32700, "a"),
        (b'{"jsonrpc":"2.0","id":"a","method":"m","params":{"a":"\\ud800"}}', -32700, "a"),
        (b'{"jsonrpc":"2.0","id":3,"method":"m","params":' + b"[" * 50_000 + b"]" * 50_000 + b"}", -32700, 3),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"m","params":{}}', -32600, None),
        (b'{"jsonrpc":"2.0","id":true,"method":"m","params":{}}', -32600, None),
        (b'{"jsonrpc":"2.0","id":null,"method":"m","params":{}}', -32600, None),
        (b'{"jsonrpc":"2.0","id":4,"method":5,"params":{}}', -32600, 4),
        (b'{"jsonrpc":"1.0","id":4,"method":"m","params":{}}', -32600, 4),
        (b'{"jsonrpc":2,"id":4,"method":"m","params":{}}', -32600, 4),
        (b'{"jsonrpc":"2.0","id":4}', -32600, 4),
        (b"{}", -32600, None),
        (b"3", -32600, None),
        (b'"text"', -32600, None),
        (b"null", -32600, None),
        (b"[]", -32600, None),
        (b"[1,", -32700, None),
        (b"\x00", -32700, None),
    ],
)
def test_what_is_not_a_message_is_answered_with_the_right_code_and_id(frame: bytes, code: int, id: Any) -> None:
    assert error_answer(frame) == (code, id)


@pytest.mark.parametrize("frame", [b"", b"  ", b"\r", b"\t\r\n"])
def test_a_blank_frame_is_nothing(frame: bytes) -> None:
    peer = Peer()
    assert list(peer.receive(frame)) == []
    assert peer.take() == []


def test_a_byte_order_mark_is_skipped() -> None:
    peer = Peer()
    (event,) = peer.receive(b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"m"}\r')
    assert isinstance(event, Request)


def test_a_missing_version_is_tolerated_as_the_schema_says() -> None:
    peer = Peer()
    (event,) = peer.receive(b'{"id":1,"method":"m","params":{},"more":1}')
    assert isinstance(event, Request)


def test_a_notification_is_never_answered() -> None:
    peer = Peer()
    (event,) = peer.receive(b'{"jsonrpc":"2.0","method":"initialized","params":{}}')
    assert isinstance(event, Notification)
    assert peer.take() == []


def test_a_batch_is_answered_with_one_list_when_all_of_it_is_answered() -> None:
    peer = Peer()
    batch = [
        {"jsonrpc": "2.0", "id": 1, "method": "a"},
        {"jsonrpc": "2.0", "method": "initialized"},
        7,
        {"jsonrpc": "2.0", "id": 2, "method": "b"},
    ]
    first, note, second = peer.receive(json.dumps(batch).encode())
    assert isinstance(first, Request)
    assert isinstance(note, Notification)
    assert isinstance(second, Request)
    peer.reply(second, 2)
    assert peer.take() == []
    peer.reply(first, 1)
    (replies,) = sent(peer)
    assert [(reply["id"], reply.get("result")) for reply in replies] == [(None, None), (2, 2), (1, 1)]


def test_a_batch_of_nothing_but_notifications_is_not_answered() -> None:
    peer = Peer()
    assert len(peer.receive(b'[{"jsonrpc":"2.0","method":"a"},{"jsonrpc":"2.0","method":"b"}]')) == 2
    assert peer.take() == []


def test_a_batch_of_nothing_but_nonsense_is_answered_with_a_list() -> None:
    peer = Peer()
    assert list(peer.receive(b"[1,2]")) == []
    (replies,) = sent(peer)
    assert [reply["error"]["code"] for reply in replies] == [-32600, -32600]


def test_requests_above_the_limit_are_refused_until_others_are_answered() -> None:
    peer = Peer(max_in_flight=2)
    first = request_of(peer, id=1, method="m")
    request_of(peer, id=2, method="m")
    assert list(peer.receive(b'{"jsonrpc":"2.0","id":3,"method":"m"}')) == []
    (refusal,) = sent(peer)
    assert (refusal["id"], refusal["error"]["code"], refusal["error"]["data"]) == (3, -32005, {"limit": 2})
    peer.reply(first, None)
    request_of(peer, id=4, method="m")


def call(peer: Peer) -> tuple[Any, str]:
    made = peer.call(methods.PUT_BLOB, PutBlobParams(msgspec.Raw(b"1"), BlobType.data))
    (frame,) = sent(peer)
    assert uuid.UUID(frame["id"]).version == 4
    return made, frame["id"]


def answer_to(peer: Peer, **message: Any) -> Answer:
    (event,) = peer.receive(json.dumps({"jsonrpc": "2.0", **message}).encode())
    assert isinstance(event, Answer)
    return event


def test_answers_find_their_calls_in_any_order() -> None:
    peer = Peer()
    calls = [call(peer) for _ in range(20)]
    for made, id in reversed(calls):
        answer = answer_to(peer, id=id, result={"blob_id": id})
        assert (answer.call, answer.result.blob_id, answer.error) == (made, id, None)


def test_requests_and_answers_are_told_apart_in_whatever_way_they_are_read() -> None:
    peer = Peer()
    made, id = call(peer)
    observability = {"trace_id": "method"}
    params = {"component": "/a", "input": 1, "attempt": 1, "observability": observability}
    head = {"jsonrpc": "2.0", "id": "1"}
    near = json.dumps({**head, "method": "components/execute", "params": params}).encode()
    far = json.dumps({**head, "unknown": "x" * 200, "method": "components/execute", "params": params}).encode()
    answer = json.dumps({"jsonrpc": "2.0", "id": id, "result": {"blob_id": "method"}}).encode()
    assert peer.receive_execute(near) is not None
    assert peer.receive_execute(far) is None
    (event,) = peer.receive(far)
    assert isinstance(event, Request)
    assert peer.receive_execute(answer) is None
    (event,) = peer.receive(answer)
    assert isinstance(event, Answer)
    assert event.call is made
    assert peer.in_flight == 2


@pytest.mark.parametrize(
    "answer",
    [
        {"result": None},
        {"result": {"wrong": 1}},
        {"result": {"blob_id": 5}},
        {"result": {"blob_id": "b"}, "error": {"code": 1, "message": "m"}},
        {"error": None},
        {"error": {"code": "x", "message": "m"}},
        {"error": 3},
        {},
        {"result": {"blob_id": "b"}, "error": 1.5},
    ],
)
def test_a_broken_answer_ends_the_wait_with_an_internal_error(answer: dict[str, Any]) -> None:
    peer = Peer()
    made, id = call(peer)
    event = answer_to(peer, id=id, **answer)
    assert event.call is made
    assert isinstance(event.error, errors.InternalError)
    assert peer.take() == []


def test_an_answer_that_is_cut_short_still_ends_the_wait() -> None:
    peer = Peer()
    made, id = call(peer)
    (event,) = peer.receive(f'{{"jsonrpc":"2.0","id":"{id}","result":{{"blob'.encode())
    assert isinstance(event, Answer)
    assert event.call is made
    assert isinstance(event.error, errors.InternalError)


@pytest.mark.parametrize("extra", [{"error": None}, {"result": {"blob_id": "b"}, "error": None}])
def test_a_null_error_beside_a_result_counts_as_absent(extra: dict[str, Any]) -> None:
    peer = Peer()
    _, id = call(peer)
    assert answer_to(peer, id=id, result={"blob_id": "b"}, error=None).error is None


def test_unknown_late_and_repeated_answers_are_ignored() -> None:
    peer = Peer()
    made, id = call(peer)
    answer = json.dumps({"jsonrpc": "2.0", "id": id, "result": {"blob_id": "b"}}).encode()
    assert len(peer.receive(answer)) == 1
    assert list(peer.receive(answer)) == []
    late, late_id = call(peer)
    peer.abandon(late)
    assert list(peer.receive(answer.replace(id.encode(), late_id.encode()))) == []
    assert list(peer.receive(b'{"jsonrpc":"2.0","id":5,"result":1}')) == []
    assert peer.take() == []
    assert made.method is methods.PUT_BLOB


def test_an_error_without_an_id_is_a_complaint() -> None:
    peer = Peer()
    (event,) = peer.receive(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what?"}}')
    assert isinstance(event, Complaint)
    assert isinstance(event.error, errors.ParseError)


@pytest.mark.parametrize("cls", [*errors.WIRE_ERRORS.values()], ids=lambda cls: str(cls.__name__))
def test_an_error_comes_out_at_the_other_end_as_the_same_class(cls: type[errors.WireError]) -> None:
    here, there = Peer(), Peer()
    here.call(methods.INFO, ComponentInfoParams("/x"))
    (request,) = there.receive(here.take()[0])
    assert isinstance(request, Request)
    there.fail(request, cls("what happened", data={"path": "$.a", "n": 2**60}))
    (answer,) = here.receive(there.take()[0])
    assert isinstance(answer, Answer)
    assert answer.error is not None
    assert type(answer.error) is cls
    assert answer.error.message == "what happened"
    assert answer.error.data == {"path": "$.a", "n": 2**60}


def test_a_code_of_nobody_comes_out_as_a_remote_error() -> None:
    peer = Peer()
    _, id = call(peer)
    error = answer_to(peer, id=id, error={"code": 42, "message": "m", "data": [1]}).error
    assert isinstance(error, errors.RemoteError)
    assert (error.code, error.message, error.data) == (42, "m", [1])


def test_the_end_of_input_fails_calls_but_lets_replies_leave() -> None:
    peer = Peer()
    request = request_of(peer, id=1, method="m")
    made, _ = call(peer)
    assert peer.end_input() == [made]
    with pytest.raises(errors.ResourceUnavailable):
        call(peer)
    assert peer.reply(request, 1)
    assert len(peer.take()) == 1


def test_nothing_leaves_after_the_end() -> None:
    peer = Peer()
    request = request_of(peer, id=1, method="m")
    assert peer.close() == []
    assert not peer.reply(request, 1)
    peer.notify("initialized", ComponentInfoParams("/x"))
    peer.receive(b"rubbish")
    assert peer.take() == []


@pytest.mark.parametrize(
    ("params", "path"),
    [({}, "$"), ({"component": 5}, "$.component"), ({"component": None}, "$.component")],
)
def test_params_that_do_not_fit_are_named_with_their_path(params: Any, path: str) -> None:
    request = request_of(Peer(), id=1, method="components/info", params=params)
    with pytest.raises(errors.InvalidParams) as caught:
        decode_params(request, methods.INFO)
    assert caught.value.data == {"method": "components/info", "path": path}


def test_unknown_fields_are_tolerated() -> None:
    request = request_of(Peer(), id=1, method="components/info", params={"component": "/x", "new": [1]})
    assert decode_params(request, methods.INFO) == ComponentInfoParams("/x")


def test_a_result_that_cannot_be_encoded_is_an_error_and_not_silence() -> None:
    peer = Peer()
    peer.reply(request_of(peer, id=1, method="m"), object())
    (reply,) = sent(peer)
    assert reply["error"]["code"] == -32603


# ---- whatever arrives, in whatever order ----------------------------------------------------------------------

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
_messages = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | _json,
        "id": st.integers() | st.text(max_size=5) | _json,
        "method": st.sampled_from(["initialize", "components/execute", "x"]) | _json,
        "params": _json,
        "result": _json,
        "error": st.fixed_dictionaries({"code": st.integers(), "message": st.text()}) | _json,
    },
)
_frames = st.one_of(
    st.binary(max_size=60),
    _messages.map(lambda message: json.dumps(message).encode()),
    st.lists(_messages, max_size=3).map(lambda batch: json.dumps(batch).encode()),
    st.tuples(_messages, st.integers(0, 60)).map(lambda pair: json.dumps(pair[0]).encode()[: pair[1]]),
)


@settings(max_examples=600, deadline=None)
@given(st.lists(_frames, max_size=6))
def test_no_bytes_make_it_raise_and_every_request_is_answered_once(frames: list[bytes]) -> None:
    peer = Peer()
    for frame in frames:
        events = peer.receive(frame)
        early = peer.take()
        for event in events:
            if isinstance(event, Request):
                assert peer.reply(event, {})
                assert not peer.reply(event, {})
        replies = [json.loads(reply) for reply in early + peer.take()]
        flat = [one for reply in replies for one in (reply if isinstance(reply, list) else [reply])]
        assert all(("result" in one) != ("error" in one) and "id" in one for one in flat)
        assert peer.in_flight == 0
        expected = _ids_that_want_an_answer(frame)
        if expected is not None:
            assert sorted(repr(one["id"]) for one in flat) == sorted(expected)


def _ids_that_want_an_answer(frame: bytes) -> list[str] | None:
    """By JSON-RPC 2.0, section 4, read independently; None when the frame is not plain JSON."""
    try:
        message = json.loads(frame, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    elements = message if isinstance(message, list) else [message]
    if isinstance(message, list) and not elements:
        return ["None"]
    answered = []
    for element in elements:
        known = _id_of(element)
        if not isinstance(element, dict):
            answered.append("None")
        elif _is_sound(element) and "method" not in element and ("result" in element or "error" in element):
            continue  # an answer that nobody waits for
        elif _is_sound(element) and "method" in element and "id" not in element and _version(element):
            continue  # a notification
        else:
            answered.append(known)
    return answered


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _version(element: dict[str, Any]) -> bool:
    return bool(element.get("jsonrpc", "2.0") == "2.0")


def _id_of(element: Any) -> str:
    id = element.get("id") if isinstance(element, dict) else None
    return repr(id) if isinstance(id, (int, str)) and not isinstance(id, bool) else "None"


def _is_sound(element: dict[str, Any]) -> bool:
    id, method, version = element.get("id"), element.get("method", ""), element.get("jsonrpc", "2.0")
    id_is_sound = id is None or (isinstance(id, (int, str)) and not isinstance(id, bool))
    return id_is_sound and isinstance(method, str) and isinstance(version, str)
