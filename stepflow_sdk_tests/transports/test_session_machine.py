"""Sessions in any interleaving: each request is answered once, and no session sees or answers the calls of another."""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stepflow_sdk_tests.asgi.client import execute, request
from stepflow_sdk_tests.transports.test_http_sessions import Client, endpoint

MOST = 3
PATIENCE = 60.0

which = st.integers(0, 20)


class Open:
    """A session, and what waits on it."""

    def __init__(self, client: Client, address: str) -> None:
        self.client = client
        self.address = address
        self.waiting: dict[str, asyncio.Future[Any]] = {}
        self.seen: set[str] = set()

    def calls(self) -> list[str]:
        """The ids of the calls that came down its stream."""
        messages = [event for event in self.client.events if "event: message" in event]
        data = [line for event in messages for line in event.splitlines() if line.startswith("data: ")]
        return [json.loads(line.removeprefix("data: "))["id"] for line in data]

    async def next_call(self) -> str:
        while not (new := set(self.calls()) - self.seen):
            self.client.arrived.clear()
            await asyncio.wait_for(self.client.arrived.wait(), PATIENCE)
        (id,) = new
        self.seen.add(id)
        return id


class Conversations(RuleBasedStateMachine):
    """What clients of sessions may do."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.open: list[Open] = []
        self.ended: list[str] = []
        self.answered: list[str] = []
        self.refused = 0
        self.app: Any = None

    @initialize()
    def serve(self) -> None:
        self.app = self.runner.run(self.stack.enter_async_context(endpoint(count=MOST)))

    @precondition(lambda self: len(self.open) < MOST or self.refused < 2)
    @rule()
    def connect(self) -> None:
        self.runner.run(self._connect())

    async def _connect(self) -> None:
        client = Client(self.app)
        if len(self.open) < MOST:
            self.open.append(Open(client, await client.address()))
        else:
            await asyncio.wait_for(client.task, PATIENCE)
            assert client.status == 503
            self.refused += 1

    @precondition(lambda self: self.open)
    @rule(which=which)
    def ask(self, which: int) -> None:
        self.runner.run(self._ask(self.open[which % len(self.open)]))

    async def _ask(self, session: Open) -> None:
        answer = asyncio.ensure_future(execute(self.app, "/ask", path=session.address))
        session.waiting[await session.next_call()] = answer

    @precondition(lambda self: self.waiting())
    @rule(call=which, fails=st.booleans())
    def answer(self, call: int, fails: bool) -> None:
        """The call of a session is answered where it belongs."""
        waiting = self.waiting()
        reply = self.runner.run(self._answer(*waiting[call % len(waiting)], fails))
        assert reply["id"] == 1
        assert ("error" in reply) is fails

    async def _answer(self, session: Open, id: str, fails: bool) -> Any:
        await self._send(session, id, fails)
        self.answered.append(id)
        return await asyncio.wait_for(session.waiting.pop(id), PATIENCE)

    async def _send(self, session: Open | None, id: str, fails: bool = False) -> None:
        outcome = {"error": {"code": -32000, "message": "no"}} if fails else {"result": {"blob_id": "0" * 64}}
        path = "/" if session is None else session.address
        sent = await request(self.app, path, {"jsonrpc": "2.0", "id": id, **outcome})
        assert sent.status == 202

    @precondition(lambda self: self.waiting())
    @rule(which=which, call=which, elsewhere=st.booleans())
    def answer_for_another(self, which: int, call: int, elsewhere: bool) -> None:
        """An answer that comes by another session, or by none, is for nobody."""
        waiting = self.waiting()
        session, id = waiting[call % len(waiting)]
        others = [other for other in self.open if other is not session]
        other = others[which % len(others)] if others and elsewhere else None
        self.runner.run(self._send(other, id))

    @precondition(lambda self: self.open and self.answered)
    @rule(which=which, call=which)
    def answer_again(self, which: int, call: int) -> None:
        session = self.open[which % len(self.open)]
        self.runner.run(self._send(session, self.answered[call % len(self.answered)]))

    @precondition(lambda self: self.open)
    @rule(which=which)
    def leave(self, which: int) -> None:
        session = self.open.pop(which % len(self.open))
        self.runner.run(self._leave(session))
        self.ended.append(session.address)

    async def _leave(self, session: Open) -> None:
        session.client.gone.set()
        await asyncio.wait_for(session.client.task, PATIENCE)
        for answer in session.waiting.values():
            assert (await asyncio.wait_for(answer, PATIENCE))["error"]["code"] == -32005

    @precondition(lambda self: self.ended)
    @rule(which=which)
    def use_what_has_ended(self, which: int) -> None:
        refused = self.runner.run(request(self.app, self.ended[which % len(self.ended)], {}))
        assert (refused.status, refused.json["error"]["code"]) == (404, -32010)

    def waiting(self) -> list[tuple[Open, str]]:
        """The calls that wait for an answer, with their sessions."""
        return [(session, id) for session in self.open for id in session.waiting]

    @invariant()
    def nobody_else_was_answered_and_streams_are_apart(self) -> None:
        for session in self.open:
            assert not any(answer.done() for answer in session.waiting.values())
            assert set(session.calls()) == session.seen

    def teardown(self) -> None:
        try:
            for session in self.open:
                self.runner.run(self._leave(session))
            self.runner.run(self.stack.aclose())
        finally:
            self.runner.close()


TestConversations = Conversations.TestCase
TestConversations.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
