"""The sans-I/O conversation in MessagePack."""

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from stepflow_sdk import errors
from stepflow_sdk.packed import Packed
from stepflow_sdk.protocol import Answer, Notification, Peer, Request, decode_params, methods
from stepflow_sdk.protocol.messages import (
    ComponentExecuteParams,
    ComponentExecuteResult,
    ComponentInfo,
    ComponentListParams,
    GetBlobParams,
    GetBlobResult,
    Initialized,
    ListComponentsResult,
    PutBlobParams,
    SubmitBatchParams,
)
from stepflow_sdk.protocol.packing import PACKED
from stepflow_sdk.protocol.values import BlobId, BlobType, ObservabilityContext, decode_value

IDS = ObservabilityContext(run_id="r", step_id="s")
BLOB_ID = BlobId("0" * 64)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def packed_peer() -> Peer:
    peer = Peer()
    peer.use(PACKED)
    return peer


def carried(method: methods.Method, params: msgspec.Struct, result: Any) -> tuple[Any, Any]:
    """The params and the result of a call between two peers, as the other end has them."""
    caller, server = packed_peer(), packed_peer()
    call = caller.call(method, params)
    (request,) = server.receive(caller.take()[0])
    assert isinstance(request, Request)
    said = decode_params(request, method)
    assert server.reply(request, result)
    (answer,) = caller.receive(server.take()[0])
    assert isinstance(answer, Answer)
    assert answer.call is call
    assert answer.error is None
    return said, answer.result


@settings(max_examples=200, deadline=None)
@given(json_values, json_values, st.booleans())
def test_values_arrive_as_they_were_sent(value: Any, output: Any, as_json: bool) -> None:
    params = ComponentExecuteParams("/c", value, 2, IDS)
    result = ComponentExecuteResult(Raw(msgspec.json.encode(output)) if as_json else output)
    said, answered = carried(methods.EXECUTE, params, result)
    assert (said.component, said.attempt, said.observability) == ("/c", 2, IDS)
    assert decode_value(said.input) == value
    assert decode_value(answered.output) == output


def test_a_value_is_handed_on_as_it_came() -> None:
    data = msgspec.msgpack.encode({"k": [1, 2.5]})
    _, answered = carried(
        methods.EXECUTE, ComponentExecuteParams("/c", None, 1, IDS), ComponentExecuteResult(Packed(data))
    )
    assert isinstance(answered.output, Packed)
    assert bytes(answered.output.data) == data


@pytest.mark.parametrize("size", [0, 1, 31, 32, 255, 256, 65_535, 65_536, 1_000_000])
def test_bytes_of_any_size_travel_as_bytes_and_text_as_text(size: int) -> None:
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    put, got = carried(methods.PUT_BLOB, PutBlobParams(content, BlobType.data, IDS), {"blob_id": BLOB_ID})
    assert decode_value(put.data) == content
    _, got = carried(methods.GET_BLOB, GetBlobParams(BLOB_ID), GetBlobResult(content, BlobType.data))
    assert decode_value(got.data) == content
    text = Raw(msgspec.json.encode("x" * size))
    _, got = carried(methods.GET_BLOB, GetBlobParams(BLOB_ID), GetBlobResult(text, BlobType.data))
    assert isinstance(got.data, Raw)
    assert decode_value(got.data) == "x" * size


def test_bytes_in_json_are_their_base64_text() -> None:
    peer = Peer()
    peer.call(methods.PUT_BLOB, PutBlobParams(b"\xff\x00", BlobType.data))
    assert json.loads(peer.take()[0])["params"]["data"] == "/wA="


def test_messages_without_values_travel_too() -> None:
    listed = ListComponentsResult([ComponentInfo("/c", "é" * 100, {"type": "object"})])
    assert carried(methods.LIST, ComponentListParams(), listed) == (ComponentListParams(), listed)
    assert carried(methods.LIST, ComponentListParams(), Raw(msgspec.json.encode(listed)))[1] == listed
    batch = SubmitBatchParams(BLOB_ID, [Raw(b"1"), Raw(b'{"a":[null]}')], 3, IDS)
    said, _ = carried(methods.SUBMIT_BATCH, batch, {"batch_id": "b", "total_runs": 2})
    assert [bytes(raw) for raw in said.inputs] == [b"1", b'{"a":[null]}']


def test_a_notification_arrives() -> None:
    caller, server = packed_peer(), packed_peer()
    caller.notify(methods.INITIALIZED, Initialized())
    (event,) = server.receive(caller.take()[0])
    assert isinstance(event, Notification)
    assert event.method == "initialized"


def test_an_error_arrives_with_its_code_and_data() -> None:
    caller, server = packed_peer(), packed_peer()
    caller.call(methods.LIST, ComponentListParams())
    (request,) = server.receive(caller.take()[0])
    assert isinstance(request, Request)
    assert server.fail(request, errors.InvalidInput("wrong", data={"problems": [{"path": "$", "message": "é"}]}))
    (answer,) = caller.receive(server.take()[0])
    assert isinstance(answer, Answer)
    assert isinstance(answer.error, errors.InvalidInput)
    assert answer.error.data == {"problems": [{"path": "$", "message": "é"}]}


def pack(value: Any) -> bytes:
    return msgspec.msgpack.encode(value)


EXECUTE = {"component": "/c", "input": 1, "attempt": 1, "observability": {}}


@pytest.mark.parametrize(
    ("frame", "code", "id"),
    [
        (b"", -32700, None),
        (b"\xc1", -32700, None),
        (b"{}", -32600, None),
        (pack([]), -32600, None),
        (pack({}), -32600, None),
        (pack({"id": 1}), -32600, 1),
        (pack({"id": None, "method": "m"}), -32600, None),
        (pack({"id": 1.5, "method": "m"}), -32600, None),
        (pack({"id": "a", "method": 5}), -32600, "a"),
        (pack({"id": 7, "method": "m", "params": {"a": 1}})[:-1], -32700, 7),
        (pack({"id": -200, "method": "m", "params": {"a": 1}})[:-1], -32700, -200),
        (pack({"id": "x" * 200, "method": "m", "params": {"a": 1}})[:-1], -32700, "x" * 200),
        (pack({"id": "x" * 500, "method": "m", "params": {"a": 1}})[:-1], -32700, "x" * 500),
        (pack({"id": 3, "method": "m"}) + b"\x01", -32700, 3),
        (pack({"id": 3, "method": "m", "params": Raw(b"\xa2\xff\xfe")}), -32700, 3),
        (pack({"id": 3, "method": "m", "params": Raw(b"\x91" * 50_000)}), -32700, 3),
    ],
)
def test_what_is_not_a_message_is_answered_with_the_right_code_and_id(frame: bytes, code: int, id: Any) -> None:
    peer = packed_peer()
    assert list(peer.receive(frame)) == []
    (reply,) = peer.take()
    said = msgspec.msgpack.decode(reply)
    assert (json.loads(said["error"])["code"], said["id"]) == (code, id)


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({**EXECUTE, "attempt": "one"}, errors.InvalidParams),
        ({"component": "/c"}, errors.InvalidParams),
        (json.dumps({"component": "/c"}), errors.InvalidParams),
        ("not JSON", errors.ParseError),
        (3, errors.InvalidParams),
        ([], errors.InvalidParams),
    ],
)
def test_params_of_another_form_are_invalid(params: Any, error: type[errors.WireError]) -> None:
    (request,) = packed_peer().receive(pack({"id": 1, "method": "components/execute", "params": params}))
    assert isinstance(request, Request)
    with pytest.raises(error):
        decode_params(request, methods.EXECUTE)


def test_a_map_where_no_values_are_carried_is_invalid() -> None:
    (request,) = packed_peer().receive(pack({"id": 1, "method": "components/list", "params": {}}))
    assert isinstance(request, Request)
    with pytest.raises(errors.InvalidParams):
        decode_params(request, methods.LIST)


@pytest.mark.parametrize("result", [{"output": Raw(b"\xc4")}, {"outptu": 1}, 3, "no", {"output": Raw(b"\xa1\xff")}])
def test_a_broken_answer_ends_the_wait_with_an_error(result: Any) -> None:
    peer = packed_peer()
    call = peer.call(methods.EXECUTE, ComponentExecuteParams("/c", 1, 1, IDS))
    peer.take()
    (answer,) = peer.receive(pack({"id": call.id, "result": result}))
    assert isinstance(answer, Answer)
    assert answer.call is call
    assert isinstance(answer.error, errors.InternalError)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(-9, 9), inner, max_size=3)
    ),
    max_leaves=8,
)
messages = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers(-(2**63), 2**63) | st.text(max_size=5) | anything,
        "method": st.sampled_from(["initialize", "components/execute", "blobs/put", "x"]) | anything,
        "params": st.builds(lambda value: {**EXECUTE, "input": value}, anything) | anything | st.just("{}"),
        "result": anything,
        "error": st.just('{"code":1,"message":"m"}') | anything,
    },
)
frames = st.one_of(
    st.binary(max_size=60),
    messages.map(pack),
    st.tuples(messages, st.integers(0, 60)).map(lambda pair: pack(pair[0])[: pair[1]]),
    st.tuples(messages, st.integers(0, 60), st.integers(0, 255)).map(
        lambda parts: pack(parts[0])[: parts[1]] + bytes([parts[2]]) + pack(parts[0])[parts[1] + 1 :]
    ),
)


def answer(peer: Peer, request: Request) -> bool:
    try:
        params = decode_params(request, methods.EXECUTE)
    except errors.WireError as error:
        return peer.fail(request, error)
    return peer.reply(request, ComponentExecuteResult(params.input))


@settings(max_examples=600, deadline=None)
@given(st.lists(frames, max_size=6))
def test_no_bytes_make_it_raise_and_every_request_is_answered_once(frames: list[bytes]) -> None:
    peer = packed_peer()
    for frame in frames:
        events = peer.receive(frame)
        refused = peer.take()
        assert len(events) + len(refused) <= 1
        for event in events:
            if isinstance(event, Request):
                assert answer(peer, event)
                (reply,) = peer.take()
                assert msgspec.msgpack.decode(reply)["id"] == event.id
        assert all(set(msgspec.msgpack.decode(reply)) == {"id", "error"} for reply in refused)
        assert peer.in_flight == 0


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | anything.map(pack))
def test_no_answer_makes_it_raise(result: bytes) -> None:
    peer = packed_peer()
    call = peer.call(methods.EXECUTE, ComponentExecuteParams("/c", 1, 1, IDS))
    peer.take()
    head = pack({"id": call.id, "result": None})[:-1]
    for event in peer.receive(head + result):
        assert isinstance(event, Answer)
        if event.error is None and isinstance(event.result.output, Packed):
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                decode_value(event.result.output)
