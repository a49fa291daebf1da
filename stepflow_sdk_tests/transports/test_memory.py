"""Two connections in one process."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepflow_sdk import errors
from stepflow_sdk.protocol import Notification, Request, methods
from stepflow_sdk.protocol.messages import GetBlobParams, Initialized
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
