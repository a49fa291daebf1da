"""Two peers and the messages between them, in any order, lost, doubled, cut off and batched."""

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stepflow_sdk.errors import ComponentError, ResourceUnavailable
from stepflow_sdk.protocol import Answer, Call, Complaint, Notification, Peer, Request, methods
from stepflow_sdk.protocol.messages import ComponentInfoParams, Initialized

MOST = 4
"""How many requests may be in flight at an end, so that overload is among what happens."""

sides = st.sampled_from([0, 1])
which = st.integers(0, 50)


class End:
    """One end, and what must be true of it."""

    def __init__(self) -> None:
        self.peer = Peer(max_in_flight=MOST)
        self.air: list[bytes] = []  # what it has sent, on its way
        self.asked: list[Request] = []  # not answered yet
        self.answered: list[Request] = []
        self.open: dict[str, Call] = {}
        self.calls = 0
        self.ended: Counter[str] = Counter()
        self.taken: Counter[Any] = Counter()  # requests that have come, by id
        self.replied: Counter[Any] = Counter()
        self.deaf = False

    def collect(self) -> None:
        frames = self.peer.take()
        assert self.peer.out_bytes == 0
        for frame in frames:
            self.replied.update(message["id"] for message in messages_of(frame) if "method" not in message)
        self.air += frames

    def end(self, call: Call) -> None:
        assert self.open.pop(call.id) is call
        self.ended[call.id] += 1


def messages_of(frame: bytes) -> list[Any]:
    value = json.loads(frame)
    return value if isinstance(value, list) else [value]


class Conversation(RuleBasedStateMachine):
    """What may happen to two peers."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = [End(), End()]
        self.lost: set[Any] = set()

    @rule(side=sides)
    def call(self, side: int) -> None:
        end = self.ends[side]
        params = ComponentInfoParams("/c")
        if end.deaf or end.peer.closed:
            with pytest.raises(ResourceUnavailable):
                end.peer.call(methods.INFO, params)
            return
        call = end.peer.call(methods.INFO, params)
        assert call.id not in end.ended
        end.open[call.id] = call
        end.calls += 1
        end.collect()

    @rule(side=sides)
    def notify(self, side: int) -> None:
        self.ends[side].peer.notify("initialized", Initialized())
        self.ends[side].collect()

    @rule(side=sides, which=which, double=st.booleans())
    def deliver(self, side: int, which: int, double: bool) -> None:
        """A message of this side arrives, any of those on their way."""
        air = self.ends[side].air
        if air:
            at = which % len(air)
            frame = air[at] if double else air.pop(at)
            self.arrive(1 - side, frame)

    @rule(side=sides, which=which)
    def lose(self, side: int, which: int) -> None:
        air = self.ends[side].air
        if air:
            self.lost |= {message.get("id") for message in messages_of(air.pop(which % len(air)))}

    @rule(side=sides, which=which, length=st.integers(0, 200))
    def cut_off(self, side: int, which: int, length: int) -> None:
        air = self.ends[side].air
        if air:
            frame = air.pop(which % len(air))
            self.lost |= {message.get("id") for message in messages_of(frame)}
            self.arrive(1 - side, frame[: min(length, len(frame) - 1)], whole=False)

    @rule(side=sides)
    def batch(self, side: int) -> None:
        """All that is on its way leaves as one batch."""
        end = self.ends[side]
        messages = [message for frame in end.air for message in messages_of(frame)]
        if messages:
            end.air = [json.dumps(messages).encode()]

    @rule(side=sides, which=which, fails=st.booleans())
    def answer(self, side: int, which: int, fails: bool) -> None:
        end = self.ends[side]
        if end.asked:
            request = end.asked.pop(which % len(end.asked))
            self.reply(end, request, fails)

    @rule(side=sides, which=which)
    def answer_again(self, side: int, which: int) -> None:
        end = self.ends[side]
        if end.answered:
            request = end.answered[which % len(end.answered)]
            assert not end.peer.reply(request, {})
            assert not end.peer.fail(request, ComponentError("again"))
            assert end.peer.take() == []

    @rule(side=sides, which=which)
    def abandon(self, side: int, which: int) -> None:
        end = self.ends[side]
        if end.open:
            call = list(end.open.values())[which % len(end.open)]
            end.peer.abandon(call)
            end.end(call)

    @precondition(lambda self: all(end.calls > 3 for end in self.ends))
    @rule(side=sides, at_once=st.booleans())
    def close(self, side: int, at_once: bool) -> None:
        end = self.ends[side]
        for call in end.peer.close() if at_once else end.peer.end_input():
            end.end(call)
        end.deaf = True
        assert not end.open

    def arrive(self, side: int, frame: bytes, *, whole: bool = True) -> None:
        end = self.ends[side]
        if end.deaf:
            return
        if whole:
            end.taken.update(message["id"] for message in messages_of(frame) if "method" in message and "id" in message)
        refusals = 0 if whole else sum(end.replied.values())
        for event in end.peer.receive(frame):
            match event:
                case Request():
                    end.asked.append(event)
                case Answer():
                    end.end(event.call)
                    assert (event.error is None) == (event.result is not None)
                case Notification() | Complaint():
                    pass
        before = end.replied.copy()
        end.collect()
        if not whole:
            # What was cut off costs one error at most, and counts as no request.
            assert sum(end.replied.values()) - refusals <= 1
            end.replied = before

    def reply(self, end: End, request: Request, fails: bool) -> None:
        error = ComponentError("no")
        result = {"info": {"component": "/c"}}
        sent = end.peer.fail(request, error) if fails else end.peer.reply(request, result)
        assert sent is not end.peer.closed
        end.answered.append(request)
        end.collect()

    @invariant()
    def what_is_in_flight_is_what_was_not_answered(self) -> None:
        for end in self.ends:
            assert end.peer.in_flight == len(end.asked) <= MOST
            assert set(end.ended.values()) <= {1}
            assert end.calls == len(end.open) + len(end.ended)

    def teardown(self) -> None:
        # From here on nothing is lost: everything is answered, and arrives.
        while any(end.air or end.asked for end in self.ends):
            for side, end in enumerate(self.ends):
                while end.asked:
                    self.reply(end, end.asked.pop(), fails=False)
                while end.air:
                    self.arrive(1 - side, end.air.pop(0))
        for side, end in enumerate(self.ends):
            if not end.peer.closed:
                assert end.replied == end.taken, "each request has one answer"
            if not self.ends[1 - side].deaf:
                assert set(end.open) <= self.lost, "a call whose messages arrived has ended"
            assert {call.id for call in end.peer.close()} == set(end.open)
        super().teardown()


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
