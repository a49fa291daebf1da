"""What both load clients have in common, and the loads that are put on a server through them."""

import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

TIMEOUT = 60.0
"""Seconds without any answer after which a server counts as hanging."""


class Wire(Protocol):
    """A connection, or many, to one server. A request is known by its number."""

    def load(self, requests: Sequence[bytes]) -> None:
        """Take the requests to be sent, encoded; their numbers are 0, 1, 2, …."""
        ...

    def send(self, numbers: Iterable[int]) -> None:
        """Send these requests, each again if it was sent before."""
        ...

    def receive(self) -> list[int]:
        """Wait for answers, and return whose they are; calls of the server are answered meanwhile.

        Raises:
            BenchmarkError: An answer is an error, or none comes.
        """
        ...

    def close(self) -> None: ...


class Load(NamedTuple):
    """What a load took: seconds in all, and of each request."""

    seconds: float
    latencies: list[float]


def flood(wire: Wire, in_flight: int, total: int, seconds: float = 60.0) -> Load:
    """Send requests, never more than `in_flight` of them unanswered: the next goes out when one is answered.

    Args:
        wire: Where to.
        in_flight: How many are sent at once.
        total: How many are sent in all.
        seconds: After so many no more are sent, for servers that are slow.
    """
    clock = time.perf_counter
    latencies: list[float] = []
    started = min(in_flight, total)
    begun = clock()
    sent_at = [begun] * started
    wire.send(range(started))
    while len(latencies) < total:
        numbers = wire.receive()
        now = clock()
        latencies.extend([now - sent_at[number] for number in numbers])
        again = numbers[: total - started]
        if now - begun > seconds:
            total = started
        elif again:
            started += len(again)
            for number in again:
                sent_at[number] = now
            wire.send(again)
    return Load(clock() - begun, latencies)


def beside(wire: Wire, background: int) -> Load:
    """Send requests 1 to `background` at once, and request 0 again and again until all of them are answered.

    Returns:
        The seconds until the last of them was answered, and the latencies of request 0.
    """
    clock = time.perf_counter
    waiting = set(range(1, background + 1))
    latencies: list[float] = []
    begun = clock()
    wire.send(sorted(waiting))
    ended = begun
    while waiting:
        sent = clock()
        wire.send([0])
        answered = False
        while not answered:
            numbers = wire.receive()
            now = clock()
            for number in numbers:
                if number:
                    waiting.discard(number)
                    ended = now
                else:
                    answered = True
                    latencies.append(now - sent)
    return Load(ended - begun, latencies)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
