"""Two connections in one process."""

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepflow_sdk import errors
from stepflow_sdk.packed import Packed
from stepflow_sdk.protocol import Notification, ObservabilityContext, Request, methods
from stepflow_sdk.protocol.messages import ComponentExecuteParams, GetBlobParams, Initialized
from stepflow_sdk.protocol.values import BlobId, decode_value
from stepflow_sdk.transports import Connection
from stepflow_sdk.transports.memory import connect


class Recorder:
    """Keeps what arrives, for the test to answer."""

    def __init__(self) -> None:
        self.requests: list[tuple[Connection, Request]] = []
        self.notifications: list[Notification] = []
        self.closings = 0

    def request(self, connection: Connection, request: Request) -> None:
        self.requests.append((connection, request))

    def notification(self, connection: Connection, notification: Notification) -> None:
        self.notifications.append(notification)

    def closed(self, connection: Connection) -> None:
        self.closings += 1


class Broken(Recorder):
    def request(self, connection: Connection, request: Request) -> None:
        raise RuntimeError("a bug")


def ask(connection: Connection, blob_id: str, timeout: float | None = None) -> "asyncio.Task[Any]":
    params = GetBlobParams(BlobId(blob_id))
    return asyncio.ensure_future(connection.call(methods.GET_BLOB, params, timeout=timeout))


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def answer(pair: tuple[Connection, Request]) -> None:
    connection, request = pair
    connection.reply(request, {"data": decode_value(request.params)["blob_id"], "blob_type": "data"})


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(8)), st.sets(st.integers(0, 7)))
def test_answers_in_any_order_find_their_calls_and_given_up_calls_disturb_nobody(
    order: list[int], given_up: set[int]
) -> None:
    async def conversation() -> None:
        there = Recorder()
        here, _ = connect(Recorder(), there)
        calls = [ask(here, str(number)) for number in range(8)]
        await settle()
        for number in given_up:
            calls[number].cancel()
        await settle()
        for number in order:
            answer(there.requests[number])
            answer(there.requests[number])
        results = await asyncio.gather(*calls, return_exceptions=True)
        for number, result in enumerate(results):
            if number in given_up:
                assert isinstance(result, asyncio.CancelledError)
            else:
                assert not isinstance(result, BaseException)
                assert bytes(result.data) == f'"{number}"'.encode()

    asyncio.run(conversation())


async def test_a_call_fails_with_the_class_of_the_error() -> None:
    there = Recorder()
    here, _ = connect(Recorder(), there)
    call = ask(here, "b")
    await settle()
    connection, request = there.requests[0]
    connection.fail(request, errors.BlobNotFound("gone", data={"blob_id": "b"}))
    with pytest.raises(errors.BlobNotFound, match="gone"):
        await call


async def test_a_call_that_is_never_answered_times_out() -> None:
    here, _ = connect(Recorder(), Recorder())
    with pytest.raises(errors.RequestTimeout) as caught:
        await ask(here, "b", timeout=0.01)
    assert caught.value.data == {"timeout": 0.01}


async def test_closing_one_end_closes_the_other_and_fails_its_calls() -> None:
    one, two = Recorder(), Recorder()
    left, right = connect(one, two)
    call = ask(left, "b")
    await settle()
    right.close()
    with pytest.raises(errors.ResourceUnavailable):
        await call
    await settle()
    assert left.closed
    assert (one.closings, two.closings) == (1, 1)
    with pytest.raises(errors.ResourceUnavailable):
        await ask(left, "b")


async def test_a_bug_in_a_handler_is_answered_as_an_internal_error(caplog: pytest.LogCaptureFixture) -> None:
    here, _ = connect(Recorder(), Broken())
    with pytest.raises(errors.InternalError):
        await ask(here, "b")
    assert "a bug" in caplog.text


async def test_a_notification_arrives_and_is_not_answered() -> None:
    there = Recorder()
    here, _ = connect(Recorder(), there)
    here.notify("initialized", Initialized())
    await settle()
    assert [notification.method for notification in there.notifications] == ["initialized"]


# ---- requests to execute a component, which go without an envelope ---------------------------------------------------


def execute(connection: Connection, input: Any, timeout: float | None = None) -> "asyncio.Task[Any]":
    params = ComponentExecuteParams("/c", input, 1, ObservabilityContext(run_id="r"))
    return asyncio.ensure_future(connection.call(methods.EXECUTE, params, timeout=timeout))


def end(pair: tuple[Connection, Request], how: str) -> None:
    """Answer a request in one of the ways there are, twice."""
    connection, request = pair
    assert request.decoded is not None
    for _ in range(2):
        match how:
            case "output":
                connection.reply_output(request, bytes(request.decoded.input))
            case "packed":
                connection.reply_output(request, Packed(msgspec.msgpack.encode(decode_value(request.decoded.input))))
            case "result":
                connection.reply(request, {"output": request.decoded.input})
            case "skip":
                connection.reply(request, {"output": None, "skipped": "no need"})
            case _:
                connection.fail(request, errors.ComponentError("no"))


@settings(max_examples=100, deadline=None)
@given(
    st.permutations(range(8)),
    st.lists(st.sampled_from(["output", "packed", "result", "skip", "error"]), min_size=8, max_size=8),
    st.sets(st.integers(0, 7)),
    st.integers(0, 12),
)
def test_executions_end_once_however_they_are_answered_given_up_or_closed(
    order: list[int], ways: list[str], given_up: set[int], answered: int
) -> None:
    async def conversation() -> None:
        there = Recorder()
        here, far = connect(Recorder(), there)
        calls = [execute(here, {"n": number, "text": "\u20ac"}) for number in range(8)]
        await settle()
        for number in given_up:
            calls[number].cancel()
        await settle()
        for number in order[:answered]:
            end(there.requests[number], ways[number])
        await settle()
        far.close()
        # What nobody has answered is over for whoever waits, and an answer that comes now is nobody's.
        for number in order[answered:]:
            end(there.requests[number], ways[number])
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert far.peer.in_flight == 0
        for place, number in enumerate(order):
            result = results[number]
            if number in given_up:
                assert isinstance(result, asyncio.CancelledError)
            elif place >= answered:
                assert isinstance(result, errors.ResourceUnavailable)
            elif ways[number] == "error":
                assert isinstance(result, errors.ComponentError)
            else:
                assert not isinstance(result, BaseException)
                assert result.skipped == ("no need" if ways[number] == "skip" else None)
                wanted = None if ways[number] == "skip" else {"n": number, "text": "\u20ac"}
                assert decode_value(result.output) == wanted

    asyncio.run(conversation())


async def test_an_input_arrives_as_bytes_that_the_caller_cannot_change_any_more() -> None:
    there = Recorder()
    here, _ = connect(Recorder(), there)
    input = {"numbers": [1, 2.0, float("nan")]}
    call = execute(here, input)
    await settle()
    input["numbers"].append(3)
    _, request = there.requests[0]
    assert request.decoded is not None
    assert bytes(request.decoded.input) == b'{"numbers":[1,2.0,null]}'
    assert request.decoded.observability.run_id == "r"
    call.cancel()


async def test_an_input_that_has_no_json_is_refused_and_leaves_nothing_behind() -> None:
    there = Recorder()
    here, far = connect(Recorder(), there)
    with pytest.raises(errors.InvalidParams, match="components/execute: the params cannot be encoded"):
        await execute(here, {"text": "\ud800"})
    assert there.requests == []
    assert far.peer.in_flight == 0
    assert here.peer.close() == []


async def test_executions_above_the_limit_in_flight_are_refused() -> None:
    there = Recorder()
    here, _ = connect(Recorder(), there, max_in_flight=2)
    calls = [execute(here, number) for number in range(3)]
    with pytest.raises(errors.ResourceUnavailable, match="too many requests in flight"):
        await calls[2]
    end(there.requests[0], "output")
    calls.append(execute(here, 3))
    await settle()
    for pair in there.requests[1:]:
        end(pair, "output")
    assert [decode_value((await call).output) for call in (calls[0], calls[1], calls[3])] == [0, 1, 3]


async def test_an_execution_that_is_never_answered_times_out_by_its_name() -> None:
    here, _ = connect(Recorder(), Recorder())
    with pytest.raises(errors.RequestTimeout, match="/c was not answered within"):
        await execute(here, None, timeout=0.01)


async def test_a_bug_in_a_handler_is_the_answer_to_an_execution(caplog: pytest.LogCaptureFixture) -> None:
    here, _ = connect(Recorder(), Broken())
    with pytest.raises(errors.InternalError):
        await execute(here, None)
    assert "a bug" in caplog.text
