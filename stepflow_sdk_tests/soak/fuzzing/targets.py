"""What is fuzzed. A target takes any bytes and returns; it raises for what decoding must never do.

Allowed are a value, held against a second way to it where there is one, and the exceptions that the docstring of what
is called promises.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from stepflow_sdk.errors import InvalidConfig, InvalidDocument, InvalidFlow, InvalidParams, ParseError
from stepflow_sdk.flows import (
    MISSING,
    Failure,
    Flow,
    Needs,
    OldFlow,
    check_flow,
    format_path,
    parse_flow,
    parse_json,
    parse_path,
    parse_yaml,
    resolve,
)
from stepflow_sdk.protocol import Answer, Notification, Peer, Request, decode_params, methods
from stepflow_sdk.protocol.messages import GetBlobParams
from stepflow_sdk.protocol.packing import PACKED
from stepflow_sdk.runtime import load_config
from stepflow_sdk.runtime.environment import substitute
from stepflow_sdk.transports.framing import FrameSplitter, LineSplitter, TooLong
from stepflow_sdk.transports.sse_reader import SseReader
from stepflow_sdk_tests.malformed.documents import CONFIG_TEXT, FLOW, OLD_FLOW, TEXTS

__all__ = ["TARGETS", "Target", "Wrong"]

_CALL_ID = "00000000-0000-4000-8000-000000000000"
_METHODS = methods.METHODS


class Wrong(Exception):
    """Decoding gave what it must not give."""


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
            _hold(sent and not peer.reply(event, None), "a request could not be answered once and only once")
        elif isinstance(event, Notification):
            event.params  # noqa: B018  (it is there)
        elif isinstance(event, Answer):
            ended += 1
    frames = peer.take()
    replies = [reply for frame in frames for reply in _as_list(decode(frame))]
    answered = [reply["id"] for reply in replies]
    _hold(all(reply.get("jsonrpc", "2.0") == "2.0" for reply in replies), "version")
    _hold(all(("result" in reply) != ("error" in reply) for reply in replies), "form")
    _hold(all(answered.count(id) >= asked.count(id) for id in asked), "a request was not answered")
    _hold(ended <= 1 and peer.in_flight == 0, "the call was answered twice, or a request is left")


def framing(data: bytes) -> None:
    """Lines and events do not depend on the chunks in which they come."""
    size, body = (data[0] % 16 + 1 if data else 1), data[1:]
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    for limit in (8, 4096):
        lines, whole = LineSplitter(limit), LineSplitter(limit)
        parts = [line for chunk in chunks for line in lines.feed(chunk)] + lines.finish()
        _hold(list(map(_plain, parts)) == list(map(_plain, whole.feed(body) + whole.finish())), "lines")
        cut = FrameSplitter(limit)
        cut.expect_packed()
        # What lies between packed frames comes out in as many pieces as it came in.
        frames = [frame for chunk in chunks for frame in cut.feed(chunk)] + cut.finish()
        _hold(sum(len(frame) for frame in frames if not isinstance(frame, TooLong)) <= len(body), "frames")
        reader, reads_whole = SseReader(limit), SseReader(limit)
        events = [event for chunk in chunks for event in reader.feed(chunk)]
        _hold(list(map(_plain, events)) == list(map(_plain, reads_whole.feed(body))), "events")


def yaml(data: bytes) -> None:
    """YAML is read to JSON values, or refused with a place."""
    try:
        document = parse_yaml(data)
    except InvalidDocument:
        return
    json.dumps(document.value)
    document.line(("a", 0))


def json_text(data: bytes) -> None:
    """JSON is read as the standard library reads it, or refused."""
    try:
        document = parse_json(data)
    except InvalidDocument:
        return
    document.line(("a", 0))
    _hold(_same(document.value, json.loads(data.decode("utf-8-sig"))), "another value than the standard library's")


def flows(data: bytes) -> None:
    """A flow is read, and written in a form that reads back to the same; or refused with its findings."""
    try:
        flow = parse_flow(parse_yaml(data).value)
    except InvalidDocument:
        return
    except InvalidFlow as error:
        _hold(bool(error.diagnostics) and len(str(error)) < 100_000, "no findings")
        return
    for finding in check_flow(flow):
        _hold(finding.path is None or finding.path.startswith("$"), "a finding has no place")
    _hold(parse_flow(flow.to_json()).id == flow.id, "the written flow is another")


def expressions(data: bytes) -> None:
    """An expression evaluates to a value, a failure or what it needs; never to an exception."""
    try:
        flow: Flow = parse_flow({"steps": [{"id": "a", "component": "/c"}], "output": parse_json(data).value})
    except (InvalidDocument, InvalidFlow):
        return
    if isinstance(flow, OldFlow):
        return
    for scope in (_Scope(None), _Scope({"x": [1, {"y": None}]}), _Scope(Failure(1, "no"))):
        value = resolve(flow.output, scope)
        if not isinstance(value, (Failure, Needs)):
            json.dumps(value)


def paths(data: bytes) -> None:
    """A path is read, and written in a form that reads back to the same; or refused."""
    try:
        parts = parse_path(data.decode("utf-8", "surrogateescape"))
        text = format_path(parts)
    except ValueError:
        return
    _hold(parse_path(text) == parts, "the written path is another")


def configs(data: bytes) -> None:
    """A configuration is read or refused."""
    try:
        value = parse_yaml(data).value
        if isinstance(value, dict):  # a text would name a file
            load_config(value, environ={"A": "a", "B": ""})
    except InvalidDocument:
        pass
    except InvalidConfig as error:
        _hold(len(str(error)) < 100_000, "a long refusal")


def environment(data: bytes) -> None:
    """Variables are filled in once: what they hold is not looked at again."""
    text = data.decode("utf-8", "replace")
    try:
        substitute(text, {"A": "${GONE}$(id)`id`", "B": "b"})
    except ValueError as error:
        _hold("GONE" in text or "GONE" not in str(error), "a value was substituted again")


class _Scope:
    def __init__(self, value: Any) -> None:
        self._value = value

    @property
    def input(self) -> Any:
        return {"x": 1, "y": [None, "t"]}

    def step(self, step_id: str, /) -> object:
        return self._value

    def variable(self, name: str, /) -> object:
        return MISSING if name == "m" else self._value if not isinstance(self._value, Failure) else 1


def _hold(condition: bool, what: str) -> None:
    if not condition:
        raise Wrong(what)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _plain(part: Any) -> Any:
    return TooLong if isinstance(part, TooLong) else bytes(part) if isinstance(part, bytearray) else part


def _same(left: Any, right: Any) -> bool:
    # Integers beyond 64 bits have become floats.
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_same(value, right[key]) for key, value in left.items())
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, float) and isinstance(right, int):
        return left == float(right)
    return type(left) is type(right) and bool(left == right)


class Target:
    """What is fuzzed, and inputs to begin with."""

    def __init__(self, check: Callable[[bytes], None], *seeds: bytes) -> None:
        self.check = check
        self.seeds = seeds


_REQUEST = (
    b'{"jsonrpc":"2.0","id":1,"method":"components/execute","params":{"component":"/c","input":{"a":[1,2.5e3,"\xc3\xa9"]},'
    b'"attempt":1,"observability":{"trace_id":null,"run_id":"r","step_id":"s"}}}'
)


def _packed(**message: Any) -> bytes:
    return msgspec.msgpack.encode(message)


_EXECUTE = {
    "component": "/c",
    "input": msgspec.msgpack.encode({"a": [1, 2.5e3, "é"]}),
    "attempt": 1,
    "observability": {"trace_id": None, "run_id": "r"},
}
_FRAMES = b"\x02{}\n\xc1\x00\x00\x00\x03\x81\xa1a\xc1\x00\x00\x00\x01\x80\xc1\x00\x00\x00\x09\x80"
_TEXTS = [text.encode() for text in TEXTS]
_EXPRESSIONS = (
    b'{"$if":{"$step":"a","path":"$.x[0]"},"then":{"$input":"$"},"else":{"$literal":{"$step":1}}}',
    b'[{"$coalesce":[null,{"$step":"a"},{"$variable":"$.m","default":{"$input":"y[1]"}}]}]',
)

TARGETS: Mapping[str, Target] = {
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
        _packed(id=1, method="components/execute", params=_EXECUTE),
        _packed(id="a", method="components/execute", params='{"component":"/c"}'),
        _packed(id=_CALL_ID, result={"data": msgspec.msgpack.encode(b"\x00\xff"), "blob_type": "data"}),
        _packed(id=_CALL_ID, error='{"code":-1,"message":"m"}'),
        _packed(method="initialized", params="{}"),
    ),
    "framing": Target(
        framing, _FRAMES, b"\x03a\n\nlong line\r\nb", b"\x01event: message\ndata: {}\ndata: x\r\n\r\n:c\rdata\r\r"
    ),
    "yaml": Target(
        yaml, *_TEXTS, b"a: &x [1, *x]\nb: !!str 1\n<<: {c: ~}\n", b"&a [&b [*a], 'q', \"\\u00e9\", |\n  t\n]"
    ),
    "json": Target(
        json_text, json.dumps(FLOW).encode(), b'{"a": 1e400, "a": [12345678901234567890123, "\\ud83d\\ude00"]}'
    ),
    "flows": Target(flows, json.dumps(FLOW).encode(), json.dumps(OLD_FLOW).encode(), *_TEXTS),
    "expressions": Target(expressions, *_EXPRESSIONS),
    "paths": Target(paths, b"$.a[0][\"x y\"]['z']", b"$", b"a.b", b'$["a\']"].c'),
    "configs": Target(configs, CONFIG_TEXT.encode()),
    "environment": Target(environment, b"a$A ${A:-b${C:d}} \\$ ${A}", b"${B:$A}"),
}
