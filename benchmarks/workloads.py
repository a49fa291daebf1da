"""What is measured, and how good it has to be."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Input = Mapping[str, Any]

SMALL: Input = {"a": 1, "b": "two"}
ORDER: Input = {"item": "nail", "quantity": 300, "price": 0.05, "tags": ["iron", "small"]}


class Goal(NamedTuple):
    """How good one figure has to be.

    Attributes:
        figure: Which, a key of what a measurement gives.
        floor: At most so many times what the floor takes.
        limit: At most so much.
        peer: At least so many times better than stepflow-py, 0.7.0 on stdio and 0.10.0 over HTTP.
    """

    figure: str = "cpu_us"
    floor: float | None = None
    limit: float | None = None
    peer: float | None = None


class Workload(NamedTuple):
    """One row of the table.

    Attributes:
        name: What ``--workload`` calls it.
        title: What the table does.
        stdio: Goals over stdio.
        http: Goals over HTTP.
        component: Who is called.
        input: Makes the input.
        in_flight: How many requests are unanswered at most.
        requests: How many requests a round has.
        seconds: How long a round takes at most, however slow the server is.
        kind: How it is measured, see `measure`.
        floor_kind: Which floor it is compared with.
        components: How many components the server has in addition to those that are called.
    """

    name: str
    title: str
    stdio: tuple[Goal, ...]
    http: tuple[Goal, ...]
    component: str = "echo"
    input: Callable[[], Input] = lambda: SMALL
    in_flight: int = 1
    requests: int = 10_000
    seconds: float = 2.0
    kind: str = "flood"
    floor_kind: str = "echo"
    components: int = 0

    def goals(self, transport: str) -> tuple[Goal, ...]:
        return self.stdio if transport == "stdio" else self.http

    def quick(self) -> "Workload":
        """The same, as small as it still makes sense."""
        at_once = min(self.in_flight, 64)
        return self._replace(in_flight=at_once, requests=max(at_once, self.requests // 100))


def thousand_orders() -> Input:
    return {"orders": [{**ORDER, "quantity": number} for number in range(1000)]}


def megabyte() -> Input:
    """About a million bytes of JSON, as rows of a table."""
    row = {"name": "a row of the table", "value": 0.5, "tags": ["one", "two"], "note": "a few words"}
    return {"rows": [{"id": 100_000 + number, **row} for number in range(9100)]}


WORKLOADS = (
    Workload("one", "one in flight, small echo", (Goal(floor=1.3, peer=9),), (Goal(floor=1.3, peer=4.5),)),
    Workload(
        "many",
        "64 in flight, small echo, async component",
        (Goal(floor=2.5, peer=20),),
        (Goal(floor=1.4, peer=5),),
        in_flight=64,
        requests=30_000,
    ),
    Workload(
        "thread",
        "64 in flight, small echo, def component in threads",
        (Goal(floor=3, peer=17),),
        (Goal(floor=1.6, peer=4.5),),
        component="thread",
        in_flight=64,
        requests=30_000,
    ),
    Workload(
        "context",
        "two calls back a request, 64 in flight",
        (Goal(floor=1.6, peer=18),),
        (Goal(floor=1.5, peer=20),),
        component="context",
        in_flight=64,
        requests=6000,
        floor_kind="context",
    ),
    Workload(
        "typed",
        "typed small input and output",
        (Goal(floor=1.4, peer=9),),
        (Goal(floor=1.3, peer=4.5),),
        component="order",
        input=lambda: ORDER,
        floor_kind="order",
    ),
    Workload(
        "large",
        "typed large input (1000 structs)",
        (Goal(floor=1.1, peer=9),),
        (Goal(floor=1.2, peer=6),),
        component="orders",
        input=thousand_orders,
        requests=1000,
        floor_kind="orders",
    ),
    Workload(
        "payload",
        "1 MB payload",
        (Goal(floor=1.1),),
        (Goal(floor=1.2, peer=6),),
        input=megabyte,
        requests=100,
    ),
    Workload(
        "list",
        "list of 1000 components",
        (Goal(floor=1.5),),
        (Goal(floor=1.5, peer=300),),
        requests=1000,
        kind="list",
        floor_kind="list",
        components=1000,
    ),
    Workload(
        "sleep",
        "1000 sleeps of 0.1 s in flight",
        (Goal("seconds", limit=0.12, peer=2.2),),
        (Goal("seconds", limit=0.2, peer=2),),
        component="sleep",
        in_flight=1000,
        requests=1000,
        kind="burst",
        floor_kind="sleep",
    ),
    Workload(
        "block",
        "8 blocking def of 0.2 s, and echo p99 meanwhile",
        (Goal("seconds", limit=0.21, peer=7), Goal("p99_ms", limit=1, peer=1500)),
        (Goal("seconds", limit=0.21, peer=7), Goal("p99_ms", limit=1, peer=1500)),
        component="block",
        in_flight=8,
        requests=8,
        kind="beside",
        floor_kind="block",
    ),
    Workload(
        "start",
        "spawn to the reply to initialize",
        (Goal("start_ms", limit=65, peer=1.8),),
        (Goal("start_ms", limit=110, peer=4.5),),
        requests=5,
        kind="start",
    ),
    Workload(
        "memory",
        "peak memory, idle after 20,000 requests",
        (Goal("peak_mb", limit=27, peer=1.5),),
        (Goal("peak_mb", limit=40, peer=1.8),),
        in_flight=64,
        requests=20_000,
        seconds=15.0,
    ),
)
