"""The tables of docs/performance.md, from the JSON of runs.

Usage: python -m benchmarks.page RESULTS.json…
"""

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.subjects import FLOOR, GOAL_PEER, OURS
from benchmarks.workloads import WORKLOADS

UNITS = {"seconds": "s", "p99_ms": "ms", "start_ms": "ms", "peak_mb": "MB"}


def comparison(rows: Sequence[Mapping[str, Any]], transport: str) -> Iterator[str]:
    """The table of one transport: a line for each goal."""
    peer = GOAL_PEER[transport]
    yield f"| workload | floor | ours | {peer} | ours to floor | goal | better than {peer} | goal |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|"
    order = [workload.name for workload in WORKLOADS]
    for row in sorted(rows, key=lambda row: order.index(row["workload"])):
        if row["transport"] != transport:
            continue
        for goal in row["goals"]:
            cells = [_cell(row, name, goal["figure"]) for name in (FLOOR, OURS, peer)]
            limit = goal["limit"]
            wanted = f"≤ {goal['floor']:g}" if limit is None else f"≤ {limit:g} {UNITS[goal['figure']]}"
            better = "" if goal["peer"] is None else f"≥ {goal['peer']:g}"
            ratio = _times(goal["floor_ratio"]) if limit is None else ""
            title = f"{row['title']} (p99)" if goal["figure"] == "p99_ms" else row["title"]
            line = [title, *cells, ratio, wanted, _times(goal["peer_ratio"]), better]
            yield f"| {' | '.join(line)} |"


def growth(curves: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """How cost grows: what the largest size costs, and the exponent of each decade."""
    yield "| what grows | from | to | costs there | exponent of each decade |"
    yield "|---|---:|---:|---:|---|"
    for curve in curves:
        points = [(point["size"], point["seconds"]) for point in curve["points"]]
        if points:
            by_decade = [
                f"{round(math.log(after / before) / math.log(larger / smaller), 2) + 0:.2f}"
                for (smaller, before), (larger, after) in pairwise(points)
            ]
            ends = f"{points[0][0]:,} | {points[-1][0]:,} | {_duration(points[-1][1])}"
            yield f"| {curve['title']} | {ends} | {' '.join(by_decade)} |"


def steps(found: Mapping[str, Mapping[str, Sequence[float]]]) -> Iterator[str]:
    """Steps per second."""
    titles = list(next(iter(found.values())))
    yield f"| steps per second | {' | '.join(titles)} |"
    yield f"|---|{'---:|' * len(titles)}"
    for name, flows in found.items():
        yield f"| {name} | {' | '.join(f'{median(flows[title]):,.0f}' for title in titles)} |"


def _cell(row: Mapping[str, Any], name: str, figure: str) -> str:
    if name in row["failures"]:
        return "fails"
    found = [one[figure] for one in row["rounds"].get(name, ()) if figure in one]
    if not found:
        return ""
    value = median(found)
    if figure == "peak_mb":
        return f"{value:.1f} MB"
    return _duration(value / {"cpu_us": 1e6, "seconds": 1, "p99_ms": 1e3, "start_ms": 1e3}[figure])


def _duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size or unit == "µs":
            return f"{_three_digits(seconds / size)} {unit}"
    return ""


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 99.5 else f"{value:.3g}"


def _times(ratio: float | None) -> str:
    return "" if ratio is None else _three_digits(ratio)


def main() -> None:
    """Print what the files have."""
    rows: list[Mapping[str, Any]] = []
    for path in map(Path, sys.argv[1:]):
        results = json.loads(path.read_text("utf-8"))
        rows += results.get("rows", ())
        if results.get("steps"):
            print(*steps(results["steps"]), "", sep="\n")
        if results.get("growth"):
            print(*growth(results["growth"]), "", sep="\n")
    for transport in sorted({row["transport"] for row in rows}, reverse=True):
        print(*comparison(rows, transport), "", sep="\n")


if __name__ == "__main__":
    main()
