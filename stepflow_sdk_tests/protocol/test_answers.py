"""Good answers of components are read in one pass, which must understand no message otherwise than the way for all."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from stepflow_sdk.packed import Packed
from stepflow_sdk.protocol import Answer, ObservabilityContext, Peer, Request, codec, methods
from stepflow_sdk.protocol.codec import Codec
from stepflow_sdk.protocol.messages import ComponentExecuteParams, ComponentExecuteResult, ComponentListParams
from stepflow_sdk.protocol.packing import PACKED
from stepflow_sdk.protocol.values import decode_value

_PARAMS = ComponentExecuteParams("/echo", None, 1, ObservabilityContext())


def _peer(encoding: Codec) -> Peer:
    peer = Peer()
    peer.use(encoding)
    return peer


def _told(peer: Peer, frame: bytes) -> list[Any]:
    """What a frame means to a peer, and what it answers, without what is another object each time."""
    told: list[Any] = []
    for event in peer.receive(frame):
        if isinstance(event, Answer):
            result: Any = event.result
            value = None if result is None else (decode_value(result.output), result.skipped)
            told.append(("answer", event.call.method.name, value, event.error and (event.error.code, str(event.error))))
        else:
            told.append((type(event).__name__, getattr(event, "method", None)))
    return [*told, *map(bytes, peer.take())]


@pytest.mark.parametrize("encoding", [codec.JSON, PACKED], ids=["JSON", "MessagePack"])
def test_each_answer_reaches_its_call_whatever_else_is_under_way(encoding: Codec) -> None:
    runtime, server = _peer(encoding), _peer(encoding)
    listed = runtime.call(methods.LIST, ComponentListParams())
    first, second = (runtime.call(methods.EXECUTE, _PARAMS) for _ in range(2))
    events = [event for frame in runtime.take() for event in server.receive(frame)]
    requests = {event.id: event for event in events if isinstance(event, Request)}
    packed = Packed(msgspec.msgpack.encode({"a": [1, 2.5]}))
    server.reply(requests[second.id], ComponentExecuteResult(packed if encoding is PACKED else Raw(b'{"a":[1,2.5]}')))
    server.fail(requests[listed.id], KeyError("x"))
    server.reply(requests[first.id], ComponentExecuteResult(Raw(b"null"), "not wanted"))
    answers = [event for frame in server.take() for event in runtime.receive(frame)]
    assert [answer.call for answer in answers if isinstance(answer, Answer)] == [second, listed, first]
    one, failed, other = (answer for answer in answers if isinstance(answer, Answer))
    assert decode_value(one.result.output) == {"a": [1, 2.5]}
    assert failed.error is not None
    assert (decode_value(other.result.output), other.result.skipped) == (None, "not wanted")


_VALUES = st.sampled_from([b"null", b"true", b"1", b'"\xff"', b'"x"', b'{"output":1}', b'{"output":1', b"[]", b"{}"])
_RESULTS = _VALUES | st.sampled_from([b'{"output":null,"skipped":"why"}', b'{"output":[1],"more":2}', b'{"skipped":1}'])
_ERRORS = _VALUES | st.just(b'{"code":1,"message":"no"}')
_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        b"jsonrpc": st.just(b'"2.0"') | _VALUES,
        b"id": st.sampled_from([b"ID", b'"other"', b"null", b"7"]),
        b"result": _RESULTS,
        b"error": _ERRORS,
        b"method": _VALUES | st.sampled_from([b'"components/execute"', b'"initialized"']),
        b"params": _VALUES,
    },
)


@settings(max_examples=400, deadline=None)
@given(fields=_FIELDS.flatmap(lambda fields: st.permutations(list(fields.items()))), listing=st.booleans())
def test_a_message_means_the_same_as_on_the_way_for_all_messages(
    fields: list[tuple[bytes, bytes]], listing: bool
) -> None:
    meant: list[Any] = []
    for in_one_pass in (True, False):
        peer = _peer(codec.JSON if in_one_pass else msgspec.structs.replace(codec.JSON, read_executed=_never))
        call = peer.call(methods.EXECUTE, _PARAMS)
        if listing:
            peer.abandon(call)
            call = peer.call(methods.LIST, ComponentListParams())
        peer.take()
        id = b'"' + call.id.encode() + b'"'
        frame = b"{" + b",".join(b'"' + name + b'":' + value.replace(b"ID", id) for name, value in fields) + b"}"
        meant.append([_without(call.id, told) for told in _told(peer, frame)])
    assert meant[0] == meant[1]


def _without(call_id: str, told: Any) -> Any:
    return told.replace(call_id.encode(), b"") if isinstance(told, bytes) else told


def _never(frame: bytes | bytearray) -> Any:
    raise msgspec.ValidationError("not in one pass")
