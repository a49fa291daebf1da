"""The tables of docs/performance.md, from the JSON of runs.

Usage: python -m benchmarks.page RESULTS.json…
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.subjects import FLOOR, GOAL_PEER, OURS
from benchmarks.workloads import WORKLOADS

UNITS = {"cpu_us": ("µs", 1.0), "seconds": ("s", 1.0), "p99_ms": ("ms p99", 1.0), "start_ms": ("ms", 1.0)}
MEGABYTES = ("MB", 1.0)


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
            wanted = (
                f"≤ {goal['floor']:g}" if limit is None else f"≤ {limit:g} {UNITS.get(goal['figure'], MEGABYTES)[0]}"
            )
            better = "" if goal["peer"] is None else f"≥ {goal['peer']:g}"
            ratio = _times(goal["floor_ratio"]) if limit is None else ""
            line = [row["title"], *cells, ratio, wanted, _times(goal["peer_ratio"]), better]
            yield f"| {' | '.join(line)} |"


def growth(curves: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """How cost grows: the smallest and the largest size of each series."""
    yield "| what grows | from | to | there | each | exponent |"
    yield "|---|---:|---:|---:|---:|---:|"
    for curve in curves:
        if not curve["points"]:
            continue
        first, last = curve["points"][0], curve["points"][-1]
        exponent = "" if curve["exponent"] is None else f"{curve['exponent']:.2f}"
        cost = f"{last['seconds'] * 1e3:,.3g} ms | {last['seconds'] / last['size'] * 1e6:.3g} µs"
        yield f"| {curve['title']} | {first['size']:,} | {last['size']:,} | {cost} | {exponent} |"


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
    unit, scale = UNITS.get(figure, MEGABYTES)
    return f"{median(found) * scale:,.3g} {unit}" if found else ""


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.3g}"


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
