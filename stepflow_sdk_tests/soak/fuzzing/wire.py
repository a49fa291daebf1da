"""Messages, the frames they come in, and the heads of requests over HTTP."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from stepflow_sdk.errors import InvalidParams, ParseError
from stepflow_sdk.protocol import Answer, Notification, Peer, Request, decode_params, methods
from stepflow_sdk.protocol.messages import GetBlobParams
from stepflow_sdk.protocol.packing import PACKED
from stepflow_sdk.transports.framing import FrameSplitter, LineSplitter, TooLong
from stepflow_sdk.transports.http.policy import HttpPolicy, Refusal
from stepflow_sdk.transports.sse_reader import SseReader
from stepflow_sdk_tests.soak.fuzzing.target import Target, Wrong, hold, packed

__all__ = ["WIRE"]

_CALL_ID = "00000000-0000-4000-8000-000000000000"
_METHODS = methods.METHODS


def messages(data: bytes) -> None:
    """Every request is answered exactly once, with its id; what cannot be read costs at most one error."""
    _converse(data, Peer(max_in_flight=50), msgspec.json.decode)


def packed_messages(data: bytes) -> None:
    """The same, in MessagePack."""
    peer = Peer(max_in_flight=50)
    peer.use(PACKED)
    _converse(data, peer, msgspec.msgpack.decode)


def _converse(data: bytes, peer: Peer, decode: Callable[[bytes], Any]) -> None:
    call = peer.call(methods.GET_BLOB, GetBlobParams("x"))  # type: ignore[arg-type]  # any text will do
    peer.take()
    known = data.replace(_CALL_ID.encode(), call.id.encode())
    asked: list[Any] = []
    ended = 0
    for event in peer.receive(known):
        if isinstance(event, Request):
            asked.append(event.id)
            try:
                method = _METHODS.get(event.method)
                params = None if method is None else decode_params(event, method)
            except (InvalidParams, ParseError) as error:
                sent = peer.fail(event, error)
            else:
                sent = peer.reply(event, params)
            hold(sent and not peer.reply(event, None), "a request could not be answered once and only once")
        elif isinstance(event, Notification):
            event.params  # noqa: B018  (it is there)
        elif isinstance(event, Answer):
            ended += 1
    frames = peer.take()
    replies = [reply for frame in frames for reply in _as_list(decode(frame))]
    answered = [reply["id"] for reply in replies]
    hold(all(reply.get("jsonrpc", "2.0") == "2.0" for reply in replies), "version")
    hold(all(("result" in reply) != ("error" in reply) for reply in replies), "form")
    hold(all(answered.count(id) >= asked.count(id) for id in asked), "a request was not answered")
    hold(ended <= 1 and peer.in_flight == 0, "the call was answered twice, or a request is left")


def framing(data: bytes) -> None:
    """Lines and events do not depend on the chunks in which they come."""
    size, body = (data[0] % 16 + 1 if data else 1), data[1:]
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    for limit in (8, 4096):
        lines, whole = LineSplitter(limit), LineSplitter(limit)
        parts = [line for chunk in chunks for line in lines.feed(chunk)] + lines.finish()
        hold(list(map(_plain, parts)) == list(map(_plain, whole.feed(body) + whole.finish())), "lines")
        cut = FrameSplitter(limit)
        cut.expect_packed()
        # What lies between packed frames comes out in as many pieces as it came in.
        frames = [frame for chunk in chunks for frame in cut.feed(chunk)] + cut.finish()
        hold(sum(len(frame) for frame in frames if not isinstance(frame, TooLong)) <= len(body), "frames")
        reader, reads_whole = SseReader(limit), SseReader(limit)
        events = [event for chunk in chunks for event in reader.feed(chunk)]
        hold(list(map(_plain, events)) == list(map(_plain, reads_whole.feed(body))), "events")


def heads(data: bytes) -> None:
    """Who may call, and what a request may carry, is told by its headers alone: taken, or refused with a status."""
    headers = [
        (name.strip().lower(), value.strip())
        for name, _, value in (line.partition(b":") for line in data.split(b"\n")[:20])
    ]
    policy = HttpPolicy(allowed_hosts=frozenset({"a.example"}), token="secret", max_body_bytes=1000)
    for check in (policy.check_source, policy.check_caller, policy.check_content):
        try:
            check(headers)
        except Refusal as refusal:
            hold(400 <= refusal.status < 500, "a status that is none of a refusal")
            # A name of a host is told in small letters.
            hold("secret" not in str(refusal.error) or b"secret" in data.lower(), "the token is told")
    lengths = [value for name, value in headers if name == b"content-length"]
    if len(lengths) == 1 and lengths[0].isdigit() and len(lengths[0].lstrip(b"0")) > 4:
        try:
            policy.check_body(headers)
        except Refusal:
            return
        raise Wrong("a body above the limit is taken")


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _plain(part: Any) -> Any:
    return TooLong if isinstance(part, TooLong) else bytes(part) if isinstance(part, bytearray) else part


_REQUEST = (
    b'{"jsonrpc":"2.0","id":1,"method":"components/execute","params":{"component":"/c","input":{"a":[1,2.5e3,"\xc3\xa9"]},'
    b'"attempt":1,"observability":{"trace_id":null,"run_id":"r","step_id":"s"}}}'
)
_EXECUTE = {
    "component": "/c",
    "input": msgspec.msgpack.encode({"a": [1, 2.5e3, "é"]}),
    "attempt": 1,
    "observability": {"trace_id": None, "run_id": "r"},
}
_FRAMES = b"\x02{}\n\xc1\x00\x00\x00\x03\x81\xa1a\xc1\x00\x00\x00\x01\x80\xc1\x00\x00\x00\x09\x80"

WIRE: Mapping[str, Target] = {
    "messages": Target(
        messages,
        _REQUEST,
        b"[" + _REQUEST + b',{"jsonrpc":"2.0","method":"initialized"},1]',
        f'{{"jsonrpc":"2.0","id":"{_CALL_ID}","result":{{"data":1,"blob_type":"data"}}}}'.encode(),
        f'{{"jsonrpc":"2.0","id":"{_CALL_ID}","error":{{"code":-1,"message":"m","data":{{}}}}}}'.encode(),
        b'{"jsonrpc":"2.0","id":"a","method":"initialize","params":{"runtime_protocol_version":1}}',
    ),
    "packed": Target(
        packed_messages,
        packed(id=1, method="components/execute", params=_EXECUTE),
        packed(id="a", method="components/execute", params='{"component":"/c"}'),
        packed(id=_CALL_ID, result={"data": msgspec.msgpack.encode(b"\x00\xff"), "blob_type": "data"}),
        packed(id=_CALL_ID, error='{"code":-1,"message":"m"}'),
        packed(method="initialized", params="{}"),
    ),
    "framing": Target(
        framing, _FRAMES, b"\x03a\n\nlong line\r\nb", b"\x01event: message\ndata: {}\ndata: x\r\n\r\n:c\rdata\r\r"
    ),
    "heads": Target(
        heads,
        b"host: localhost:80\ncontent-type: application/json; charset=utf-8\naccept: application/json, text/*;q=0.1\n"
        b"content-length: 12\nauthorization: Bearer secret",
        b"host: [::1]:80\norigin: https://a.example\ntransfer-encoding: chunked\ncontent-encoding: gzip\naccept: */*",
    ),
}
