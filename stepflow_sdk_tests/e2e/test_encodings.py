"""MessagePack on stdio: agreed on in `initialize`, and nothing else of the conversation is different."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from stepflow_sdk import InternalError, ServerLost, SkipStep, WireError
from stepflow_sdk.runtime import LocalRuntime
from stepflow_sdk.transports import Connection
from stepflow_sdk.transports.framing import join_frames
from stepflow_sdk_tests.e2e.wire import PATIENCE, SERVERS, serving

COMMAND = [sys.executable, str(SERVERS / "careless.py")]
OFFER = {"runtime_protocol_version": 1, "capabilities": {"encodings": ["zstd+cbor", "msgpack"]}}


class PackedWire:
    """The runtime's end of a server process, in MessagePack, by hand."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.line = b""
        self.frames: queue.Queue[Any] = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def receive(self) -> Any:
        return self.frames.get(timeout=PATIENCE)

    def answer(self, frame: bytes) -> Any:
        self.send(frame)
        return self.receive()

    def _read(self) -> None:
        stdout = self.process.stdout
        assert stdout is not None
        self.frames.put(json.loads(stdout.readline()))
        while head := stdout.read(5):
            assert head[0] == 0xC1
            self.frames.put(msgspec.msgpack.decode(stdout.read(int.from_bytes(head[1:]))))
        self.frames.put(None)


def line(method: str, params: Any, **more: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **more, "method": method, "params": params}).encode() + b"\n"


def packed(**message: Any) -> bytes:
    return join_frames([msgspec.msgpack.encode(message)])


def execute(id: int | str, component: str, input: Any = None, **ids: str) -> bytes:
    params = {"component": component, "input": msgspec.msgpack.encode(input), "attempt": 1, "observability": ids}
    return packed(id=id, method="components/execute", params=params)


@contextmanager
def by_hand(**environment: str) -> Iterator[PackedWire]:
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(COMMAND, env=variables, **pipes) as process:  # type: ignore[call-overload]  # all three are pipes
        wire = PackedWire(process)
        try:
            assert wire.answer(line("initialize", OFFER, id=1))["result"] == {
                "server_protocol_version": 1,
                "serverProtocolVersion": 1,
                "encoding": "msgpack",
            }
            yield wire
        finally:
            process.kill()


INITIALIZED = line("initialized", {})


def test_after_initialized_messages_are_packed_both_ways_even_in_the_same_write() -> None:
    with by_hand() as wire:
        wire.send(INITIALIZED + execute("a", "/large", {"size": 3}) + execute("b", "/echo", {"k": [1, None]}))
        answers = {answer["id"]: answer["result"]["output"] for answer in (wire.receive(), wire.receive())}
        assert msgspec.msgpack.decode(answers["a"]) == "ééé"
        # What may hold anything goes as JSON, since MessagePack says some of it in another way.
        assert json.loads(answers["b"]) == {"k": [1, None]}


def test_requests_before_initialized_are_answered_in_json() -> None:
    with by_hand() as wire:
        # The thread reads one line and then frames, so that what follows would not be read if it were JSON.
        wire.send(INITIALIZED)
        assert json.loads(wire.answer(packed(id=3, method="components/list", params="{}"))["result"])["components"]


def test_a_server_that_is_offered_nothing_or_other_encodings_speaks_json() -> None:
    offers: list[dict[str, Any]] = [{}, {"encodings": []}, {"encodings": ["cbor"]}]
    with serving("careless", initialize=False) as wire:
        for offer in offers:
            wire.request(1, "initialize", {"runtime_protocol_version": 1, "capabilities": offer})
            assert "encoding" not in wire.receive()["result"]
        wire.send({"jsonrpc": "2.0", "method": "initialized", "params": {}})
        wire.execute(2, "/echo", [1])
        assert wire.receive()["result"] == {"output": [1]}


def test_answers_to_a_batch_are_never_in_two_encodings() -> None:
    offer = {"runtime_protocol_version": 1, "capabilities": {"encodings": ["msgpack"]}}
    initialize = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": offer}
    listing = {"jsonrpc": "2.0", "id": 2, "method": "components/list", "params": {}}
    with serving("careless", initialize=False) as wire:
        wire.send([initialize, listing])
        answers = {answer["id"]: answer["result"] for answer in wire.receive()}
        assert answers[2]["components"]
        assert "encoding" not in answers[1]
        wire.send(initialize)
        assert wire.receive()["result"]["encoding"] == "msgpack"
        wire.send([listing])
        refused = wire.receive()
        assert (refused["id"], refused["error"]["code"]) == (None, -32600)


def test_an_offer_that_is_no_list_is_refused() -> None:
    with serving("careless", initialize=False) as wire:
        wire.request(1, "initialize", {"runtime_protocol_version": 1, "capabilities": {"encodings": "msgpack"}})
        assert wire.receive()["error"]["code"] == -32602


def test_what_is_no_message_or_too_long_is_answered_and_the_next_one_is_read() -> None:
    with by_hand(MAX_BYTES="65536") as wire:
        wire.send(INITIALIZED)
        for frame, id, code in [
            (join_frames([b"\x80"]), None, -32600),
            (join_frames([b"\x82\xa2id\x07\xa6method"]), 7, -32700),
            (execute(8, "/echo", "x" * 70_000), 8, -32600),
            (b"printed by somebody\n", None, -32600),
            (packed(id=9, method="no/such"), 9, -32601),
            (packed(id=10, method="components/execute", params={"component": "/echo"}), 10, -32602),
            (execute(11, "/no-such"), 11, -32001),
            (execute(12, "/large", {"size": "x"}), 12, -32003),
        ]:
            answer = wire.answer(frame)
            assert (answer["id"], json.loads(answer["error"])["code"]) == (id, code)
        assert json.loads(wire.answer(execute("last", "/echo", 1))["result"]["output"]) == 1


def test_a_call_back_is_packed_and_a_blob_of_bytes_is_bytes() -> None:
    with by_hand() as wire:
        asked = wire.answer(INITIALIZED + execute("c", "/call/back/bytes", {"size": 1000}))
        assert asked["method"] == "blobs/put"
        content = msgspec.msgpack.decode(asked["params"]["data"])
        assert content == bytes(1000)
        got = wire.answer(packed(id=asked["id"], result=json.dumps({"blob_id": "b" * 64})))
        assert json.loads(got["params"])["blob_id"] == "b" * 64
        data = {"data": msgspec.msgpack.encode(content), "blob_type": "data"}
        done = wire.answer(packed(id=got["id"], result=data))
        assert msgspec.msgpack.decode(done["result"]["output"]) == 1000


def test_many_calls_at_once_are_answered_once_each() -> None:
    with by_hand() as wire:
        wire.send(INITIALIZED + b"".join(execute(number, "/echo/thread", number) for number in range(500)))
        answers = [wire.receive() for _ in range(500)]
        assert {answer["id"]: json.loads(answer["result"]["output"]) for answer in answers} == {
            n: n for n in range(500)
        }
        assert wire.process.stdin is not None
        wire.process.stdin.close()
        assert wire.receive() is None
        assert wire.process.wait(PATIENCE) == 0


# ---- between our own two ends -----------------------------------------------------------------------------------


@pytest.fixture(params=["msgpack", "json"])
def encoding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "json":
        # Such a runtime is any that knows nothing of other encodings.
        monkeypatch.setattr(Connection, "encodings", ())
    name: str = request.param
    return name


VALUES: list[Any] = [None, True, 2**64, -(2**70), 1.5, "é\u2028\x00", [[{}]], {"": None}, "x" * 300_000]
CALLS: list[tuple[str, Any]] = [
    *[("/echo", value) for value in VALUES],
    ("/echo/thread", {"k": [1, 2.5, None]}),
    ("/large", {"size": 100_000}),
    ("/large", {"size": "x"}),
    ("/large", {}),
    ("/large", [1]),
    ("/nothing/here", {}),
    *[("/fail", {"how": how}) for how in ("value", "own", "exit", "unprintable", "secret", "group")],
    *[("/output", {"how": how}) for how in ("nan", "object", "int", "key", "raw")],
    ("/skip", {"reason": "not now"}),
    ("/skip", {}),
    ("/slow", {}),
    ("/noise", {"text": "\u00c1 {"}),
    ("/call/back", {"v": ["é"]}),
    ("/call/back/thread", {"v": 1}),
    ("/call/back/bytes", {"size": 100_000}),
]
EXPECTED: dict[str, list[Any]] = {}


async def outcome(runtime: LocalRuntime, component: str, input: Any) -> Any:
    try:
        return await runtime.execute(component, input)
    except SkipStep as skip:
        return ("skip", skip.reason)
    except WireError as error:
        return (type(error), error.message, error.data)


async def test_every_call_ends_as_it_does_in_json(encoding: str) -> None:
    async with LocalRuntime(COMMAND) as runtime:
        EXPECTED[encoding] = [await outcome(runtime, component, input) for component, input in CALLS]
    if len(EXPECTED) == 2:
        assert EXPECTED["msgpack"] == EXPECTED["json"]


async def test_blobs_of_bytes_can_be_read_by_flows_and_components(encoding: str) -> None:
    async with LocalRuntime(COMMAND) as runtime:
        blob_id = await runtime.execute("/keep/bytes", {"size": 3})
        assert await runtime.execute("/length", {"blob_id": blob_id}) == 3


BROKEN_SERVER = """
import json, sys
import msgspec
from stepflow_sdk.transports.framing import join_frames

wire, out = sys.stdin.buffer, sys.stdout.buffer
id = json.loads(wire.readline())["id"]
result = {"server_protocol_version": 1, "encoding": sys.argv[1]}
out.write(json.dumps({"jsonrpc": "2.0", "id": id, "result": result}).encode() + b"\\n")
out.flush()
wire.readline()
while head := wire.read(5):
    message = msgspec.msgpack.decode(wire.read(int.from_bytes(head[1:])))
    given = msgspec.msgpack.decode(message["params"]["input"])
    out.write(join_frames([msgspec.msgpack.encode({"id": message["id"], "result": {"output": bytes.fromhex(given)}})]))
    out.flush()
"""


async def test_an_answer_that_cannot_be_read_fails_its_call_alone() -> None:
    async with LocalRuntime([sys.executable, "-c", BROKEN_SERVER, "msgpack"]) as runtime:
        for broken in ("c1", "a1ff", "92", "c7016301", "91" * 5000, "cb7ff8000000000000", "ca7fc00000"):
            with pytest.raises(InternalError, match="cannot be read"):
                await runtime.execute("/any", broken)
        assert await runtime.execute("/any", "93010203") == [1, 2, 3]


async def test_a_server_that_wants_an_encoding_that_it_was_not_offered_is_refused() -> None:
    async with LocalRuntime([sys.executable, "-c", BROKEN_SERVER, "cbor"]) as runtime:
        with pytest.raises(ServerLost, match="'cbor', which it was not offered"):
            await runtime.execute("/any", "c0")
