"""What a server counts, and the text form of Prometheus for it (exposition format 0.0.4)."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Final

__all__ = ["Metrics"]

_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""The upper ends of the buckets of latencies, in seconds."""

_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class _Latencies:
    """A histogram."""

    __slots__ = ("buckets", "total")

    def __init__(self) -> None:
        self.buckets = [0] * (len(_BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self.buckets[bisect_left(_BOUNDS, seconds)] += 1
        self.total += seconds


class Metrics:
    """Counts the requests of a server by what came of them; on one event loop.

    A ``code`` is ``ok``, ``skipped``, or the error code that was answered.

    Args:
        version: Of the server's library.
        gauges: What is read when somebody asks: names, each with its description and how to find its value.
    """

    def __init__(self, version: str, gauges: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        self._version = version
        self._gauges = gauges
        self._requests: Counter[tuple[str, str, str]] = Counter()
        self._latencies: dict[str, _Latencies] = {}
        self._calls: Counter[tuple[str, str]] = Counter()
        self._refusals: Counter[int] = Counter()

    def request(self, method: str, component: str, code: str, seconds: float | None = None) -> None:
        """Count a request that has been answered.

        Args:
            method: Its method.
            component: The path, or pattern of paths, of the component that it was for; empty where it was for none.
            code: What came of it.
            seconds: How long the component took, its wait for a turn included.
        """
        self._requests[method, component, code] += 1
        if seconds is not None:
            latencies = self._latencies.get(component)
            if latencies is None:
                latencies = self._latencies[component] = _Latencies()
            latencies.add(seconds)

    def call(self, method: str, code: str) -> None:
        """Count a call back that has ended."""
        self._calls[method, code] += 1

    def refused(self, status: int) -> None:
        """Count an HTTP request that was answered with a status instead of being served."""
        self._refusals[status] += 1

    @property
    def content_type(self) -> str:
        """Of the text form."""
        return "text/plain; version=0.0.4; charset=utf-8"

    def text(self) -> str:
        """Everything, in the text form."""
        return "\n".join([*self._lines(), ""])

    def summary(self) -> list[str]:
        """The counters alone, for a log."""
        return [line for line in self._lines() if not line.startswith("#") and "_bucket{" not in line]

    def _lines(self) -> Iterator[str]:
        yield from _head("stepflow_info", "gauge", "Which version serves.")
        yield _sample("stepflow_info", {"version": self._version}, 1)
        yield from _head("stepflow_requests_total", "counter", "Requests that were answered.")
        for (method, component, code), count in sorted(self._requests.items()):
            yield _sample("stepflow_requests_total", {"method": method, "component": component, "code": code}, count)
        name = "stepflow_request_duration_seconds"
        yield from _head(name, "histogram", "How long components took, their wait for a turn included.")
        for component, latencies in sorted(self._latencies.items()):
            counts = list(accumulate(latencies.buckets))
            for bound, count in zip((*_BOUNDS, "+Inf"), counts, strict=True):
                yield _sample(f"{name}_bucket", {"component": component, "le": str(bound)}, count)
            yield _sample(f"{name}_sum", {"component": component}, latencies.total)
            yield _sample(f"{name}_count", {"component": component}, counts[-1])
        yield from _head("stepflow_calls_total", "counter", "Calls of components to the runtime that have ended.")
        for (method, code), count in sorted(self._calls.items()):
            yield _sample("stepflow_calls_total", {"method": method, "code": code}, count)
        yield from _head("stepflow_http_refusals_total", "counter", "HTTP requests that were refused.")
        for status, count in sorted(self._refusals.items()):
            yield _sample("stepflow_http_refusals_total", {"status": str(status)}, count)
        for gauge, (description, find) in self._gauges.items():
            yield from _head(gauge, "gauge", description)
            yield _sample(gauge, {}, find())


def _head(name: str, kind: str, description: str) -> Iterator[str]:
    yield f"# HELP {name} {description}"
    yield f"# TYPE {name} {kind}"


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    shown = ",".join(f'{label}="{text.translate(_ESCAPES)}"' for label, text in labels.items())
    number = f"{value:.9f}" if isinstance(value, float) else str(value)
    return f"{name}{{{shown}}} {number}" if shown else f"{name} {number}"
