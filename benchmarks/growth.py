"""How cost grows: one thing is made ten times as much, again and again, and what that costs is measured each time."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from statistics import median
from typing import Any, NamedTuple

Once = Callable[[], float]
"""Does it once, and returns what it cost, in seconds."""

Prepare = Callable[[int], AbstractContextManager[Once]]
"""Makes ready for one size."""

WORSE = 1.15
"""An exponent above this, over the last decade, counts as worse than linear."""

LONG = 4.0
"""Seconds after which something is not done twice."""


class Series(NamedTuple):
    """One thing that grows.

    Attributes:
        name: What ``--growth`` calls it.
        title: What the table does.
        sizes: How much of it there is.
        prepare: Makes ready for one size; what it gives is done several times.
    """

    name: str
    title: str
    sizes: Sequence[int]
    prepare: Prepare


class Point(NamedTuple):
    """What one size cost, in seconds; the median of several times."""

    size: int
    seconds: float


class Curve(NamedTuple):
    """What came out for a series, and why it ended early, if it did."""

    series: Series
    points: list[Point]
    ended: str

    def exponent(self) -> float | None:
        """The power of the size by which the cost grew over the last decade; 1 is linear."""
        last = self.points[-1] if self.points else Point(0, 0)
        before = [point for point in self.points if point.size * 10 <= last.size]
        if not before:
            return None
        first = before[-1]
        return math.log(last.seconds / first.seconds) / math.log(last.size / first.size)


def follow(series: Series, budget: float) -> Curve:
    """Measure a series from its smallest size on, as far as `budget` seconds allow."""
    points: list[Point] = []
    begun = time.monotonic()
    ready = 0.0  # seconds until the last size was made ready
    for size in series.sizes:
        left = budget - (time.monotonic() - begun)
        if points and (ready + points[-1].seconds) * size / points[-1].size > left:
            return Curve(series, points, f"{size:,} would take longer than the {budget:g} s of a series")
        now = time.monotonic()
        try:
            with series.prepare(size) as once:
                ready = time.monotonic() - now
                points.append(Point(size, _typical(once)))
        except Exception as error:
            return Curve(series, points, f"{size:,}: {type(error).__name__}: {str(error)[:200]}")
    return Curve(series, points, "")


def _typical(once: Once) -> float:
    """The median of up to nine times, within about a second, behind one that warms up; a long one is done once only."""
    first = once()
    if first > LONG:
        return first
    costs: list[float] = []
    begun = time.monotonic()
    while not costs or (len(costs) < 9 and time.monotonic() - begun < 1):
        costs.append(once())
    return max(median(costs), 1e-9)


def lines(curves: Sequence[Curve]) -> Iterator[str]:
    """The table: for each series the cost of each size, and of one."""
    for curve in curves:
        exponent = curve.exponent()
        worse = " WORSE THAN LINEAR" if exponent is not None and exponent > WORSE else ""
        yield curve.series.title + ("" if exponent is None else f": grows as n^{exponent:.2f}{worse}")
        for size, seconds in curve.points:
            yield f"  {size:>11,}  {seconds * 1e3:12.3f} ms  {seconds / size * 1e6:12.3f} µs each"
        if curve.ended:
            yield f"  ended: {curve.ended}"


def as_json(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "series": curve.series.name,
            "title": curve.series.title,
            "points": [point._asdict() for point in curve.points],
            "exponent": curve.exponent(),
            "ended": curve.ended,
        }
        for curve in curves
    ]
