"""What a server and a runtime count, and the text form of Prometheus for it (exposition format 0.0.4)."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Final, Protocol

__all__ = ["CONTENT_TYPE", "Counts", "Durations", "Family", "Metrics", "Readings", "text_of"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Of the text form."""

_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""The upper ends of the buckets of durations, in seconds."""

_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Family(Protocol):
    """What has one name, and samples that differ in their labels."""

    def lines(self) -> Iterator[str]:
        """Itself in the text form."""
        ...


class Counts:
    """A counter.

    Args:
        name: Its name.
        description: What it counts.
        labels: The names of what tells its samples apart.
    """

    __slots__ = ("_counts", "_description", "_labels", "_name")

    def __init__(self, name: str, description: str, *labels: str) -> None:
        self._name = name
        self._description = description
        self._labels = labels
        self._counts: Counter[tuple[str, ...]] = Counter()

    def add(self, *values: str) -> None:
        """Count one with these values of the labels."""
        self._counts[values] += 1

    def lines(self) -> Iterator[str]:
        """See `Family.lines`."""
        yield from _head(self._name, "counter", self._description)
        for values, count in sorted(self._counts.items()):
            yield _sample(self._name, self._labels, values, count)


class Durations:
    """A histogram of seconds; see `Counts` for its arguments."""

    __slots__ = ("_description", "_labels", "_name", "_seen")

    def __init__(self, name: str, description: str, *labels: str) -> None:
        self._name = name
        self._description = description
        self._labels = labels
        self._seen: dict[tuple[str, ...], tuple[list[int], list[float]]] = {}

    def add(self, seconds: float, *values: str) -> None:
        """Count one that took so long, with these values of the labels."""
        seen = self._seen.get(values)
        if seen is None:
            seen = self._seen[values] = ([0] * (len(_BOUNDS) + 1), [0.0])
        buckets, total = seen
        buckets[bisect_left(_BOUNDS, seconds)] += 1
        total[0] += seconds

    def lines(self) -> Iterator[str]:
        """See `Family.lines`."""
        name, labels = self._name, self._labels
        yield from _head(name, "histogram", self._description)
        for values, (buckets, total) in sorted(self._seen.items()):
            counts = list(accumulate(buckets))
            for bound, count in zip((*_BOUNDS, "+Inf"), counts, strict=True):
                yield _sample(f"{name}_bucket", (*labels, "le"), (*values, str(bound)), count)
            yield _sample(f"{name}_sum", labels, values, total[0])
            yield _sample(f"{name}_count", labels, values, counts[-1])


class Readings:
    """A gauge, or a counter that is kept elsewhere: read when somebody asks.

    Args:
        name: Its name.
        description: What it tells.
        labels: The names of what tells its samples apart.
        read: Gives the samples by the values of their labels; a single one where there are none.
        kind: ``gauge`` or ``counter``.
    """

    __slots__ = ("_description", "_kind", "_labels", "_name", "_read")

    def __init__(
        self,
        name: str,
        description: str,
        read: Callable[[], float | Mapping[tuple[str, ...], float]],
        *labels: str,
        kind: str = "gauge",
    ) -> None:
        self._name = name
        self._description = description
        self._labels = labels
        self._read = read
        self._kind = kind

    def lines(self) -> Iterator[str]:
        """See `Family.lines`."""
        yield from _head(self._name, self._kind, self._description)
        found = self._read()
        samples = found if isinstance(found, Mapping) else {(): found}
        for values, value in sorted(samples.items()):
            yield _sample(self._name, self._labels, values, value)


def text_of(families: Iterable[Family]) -> str:
    """The text form."""
    return "\n".join([*(line for family in families for line in family.lines()), ""])


class Metrics:
    """Counts the requests of a server by what came of them; on one event loop.

    A ``code`` is ``ok``, ``skipped``, or the error code that was answered.

    Args:
        version: Of the server's library.
        gauges: What is read when somebody asks: names, each with its description and how to find its value.
    """

    def __init__(self, version: str, gauges: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        name = "stepflow_requests_total"
        self._requests = Counts(name, "Requests that were answered.", "method", "component", "code")
        name = "stepflow_request_duration_seconds"
        self._durations = Durations(name, "How long components took, their wait for a turn included.", "component")
        text = "Calls of components to the runtime that have ended."
        self._calls = Counts("stepflow_calls_total", text, "method", "code")
        self._refusals = Counts("stepflow_http_refusals_total", "HTTP requests that were refused.", "status")
        self._families: tuple[Family, ...] = (
            Readings("stepflow_info", "Which version serves.", lambda: {(version,): 1}, "version"),
            self._requests,
            self._durations,
            self._calls,
            self._refusals,
            *(Readings(name, description, find) for name, (description, find) in gauges.items()),
        )

    def request(self, method: str, component: str, code: str, seconds: float | None = None) -> None:
        """Count a request that has been answered.

        Args:
            method: Its method.
            component: The path, or pattern of paths, of the component that it was for; empty where it was for none.
            code: What came of it.
            seconds: How long the component took, its wait for a turn included.
        """
        self._requests.add(method, component, code)
        if seconds is not None:
            self._durations.add(seconds, component)

    def call(self, method: str, code: str) -> None:
        """Count a call back that has ended."""
        self._calls.add(method, code)

    def refused(self, status: int) -> None:
        """Count an HTTP request that was answered with a status instead of being served."""
        self._refusals.add(str(status))

    @property
    def content_type(self) -> str:
        """Of the text form."""
        return CONTENT_TYPE

    def text(self) -> str:
        """Everything, in the text form."""
        return text_of(self._families)

    def summary(self) -> list[str]:
        """The counters alone, for a log."""
        return [line for line in self.text().splitlines() if not line.startswith("#") and "_bucket{" not in line]


def _head(name: str, kind: str, description: str) -> Iterator[str]:
    yield f"# HELP {name} {description}"
    yield f"# TYPE {name} {kind}"


def _sample(name: str, labels: Iterable[str], values: Iterable[str], value: float) -> str:
    shown = ",".join(f'{label}="{text.translate(_ESCAPES)}"' for label, text in zip(labels, values, strict=True))
    number = f"{value:.9f}" if isinstance(value, float) else str(value)
    return f"{name}{{{shown}}} {number}" if shown else f"{name} {number}"
