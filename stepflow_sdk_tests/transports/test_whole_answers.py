"""Heads wait for their bodies, and for nothing else."""

import asyncio
from typing import Any

from stepflow_sdk.transports.http.whole_answers import WholeAnswers


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_extra_info(self, name: str) -> str:
        return name


class Cycle:
    """What uvicorn knows of an answer when it writes the head."""

    def __init__(self, method: str = "POST", length: int = 5, *, chunked: bool = False) -> None:
        self.response_started = True
        self.chunked_encoding = chunked
        self.expected_content_length = length
        self.scope = {"method": method}


class Protocol:
    """A connection, and the answer under way on it."""

    def __init__(self, cycle: Any) -> None:
        self.cycle = cycle


def answers_of(cycle: Any) -> tuple[WholeAnswers, Wire, Protocol]:
    wire = Wire()
    protocol = Protocol(cycle)
    return WholeAnswers(wire, protocol), wire, protocol


async def test_head_and_body_are_one_write() -> None:
    answers, wire, protocol = answers_of(Cycle())
    for _ in range(3):
        answers.write(b"head ")
        assert wire.writes == []
        answers.write(b"body")
        assert wire.writes == [b"head body"]
        wire.writes.clear()
        protocol.cycle = Cycle()


async def test_the_pieces_of_a_body_behind_the_first_are_written_as_they_come() -> None:
    answers, wire, _ = answers_of(Cycle(length=20))
    for piece in (b"head ", b"body ", b"more ", b"end"):
        answers.write(piece)
    assert wire.writes == [b"head body ", b"more ", b"end"]


async def test_a_large_body_is_not_copied() -> None:
    body = b"x" * 1_000_000
    answers, wire, _ = answers_of(Cycle(length=len(body)))
    answers.write(b"head")
    answers.write(body)
    assert wire.writes[0] == b"head"
    assert wire.writes[1] is body


async def test_the_head_of_a_stream_waits_for_the_first_event_of_the_same_turn_only() -> None:
    answers, wire, protocol = answers_of(Cycle(chunked=True))
    for piece in (b"head ", b"event ", b"another"):
        answers.write(piece)
    assert wire.writes == [b"head event ", b"another"]
    wire.writes.clear()
    protocol.cycle = Cycle(chunked=True)
    answers.write(b"head ")
    assert wire.writes == []
    await asyncio.sleep(0)
    answers.write(b"late")
    assert wire.writes == [b"head ", b"late"]


async def test_answers_without_a_body_do_not_wait() -> None:
    for cycle in (Cycle(length=0), Cycle("HEAD"), None, object()):
        answers, wire, _ = answers_of(cycle)
        answers.write(b"head")
        assert wire.writes == [b"head"]


async def test_what_comes_before_an_answer_does_not_wait() -> None:
    cycle = Cycle()
    cycle.response_started = False
    answers, wire, _ = answers_of(cycle)
    answers.write(b"HTTP/1.1 100 Continue")
    cycle.response_started = True
    answers.write(b"head ")
    answers.write(b"body")
    assert wire.writes == [b"HTTP/1.1 100 Continue", b"head body"]


async def test_a_head_whose_body_never_comes_is_written_at_the_end() -> None:
    answers, wire, _ = answers_of(Cycle())
    answers.write(b"head")
    answers.close()
    assert wire.writes == [b"head"]
    assert wire.closed


async def test_everything_else_is_the_transports_own() -> None:
    answers, wire, _ = answers_of(Cycle())
    assert answers.get_extra_info("peername") == "peername"
    assert not answers.is_closing()
    wire.close()
    assert answers.is_closing()
