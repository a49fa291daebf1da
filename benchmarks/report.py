"""Rows as a table for people, and as JSON for programs."""

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.rounds import Row
from benchmarks.subjects import FLOOR, GOAL_PEER, OURS
from benchmarks.workloads import Goal

UNITS = {"cpu_us": "µs CPU", "seconds": "s", "p99_ms": "ms p99", "start_ms": "ms", "peak_mb": "MB"}


WIDTH = 50
"""Of the column with the titles."""


def head(names: Sequence[str]) -> str:
    """The first line of the table."""
    return f"{'':{WIDTH + 15}}{''.join(f'{name:>19}' for name in names)}  ours/floor      peer/ours"


def lines(row: Row, names: Sequence[str]) -> Iterator[str]:
    """A line for each goal of a row, and what failed."""
    for goal in row.workload.goals(row.transport):
        cells = "".join(f"{_cell(row, name, goal.figure):>19}" for name in names)
        judged = f"{_floor(row, goal):<15} {_peer(row, goal)}"
        yield f"{row.workload.title:{WIDTH}} {row.transport:>6} {UNITS[goal.figure]:>7}{cells}  {judged}"
    for name, failure in row.failures.items():
        yield f"  {name} failed: {failure}"


def details(rows: Sequence[Row]) -> Iterator[str]:
    """Requests a second and latencies, a line for each server."""
    for row in rows:
        for name in row.figures:
            rate, half, most = (row.value(name, figure) for figure in ("requests_per_second", "p50_ms", "p99_ms"))
            if rate is not None:
                yield (
                    f"{row.transport} {row.workload.name:8} {name:18} {rate:9.0f} requests/s"
                    f"  p50 {half:9.3f} ms  p99 {most:9.3f} ms  peak {row.value(name, 'peak_mb') or 0:6.1f} MB"
                )


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """All figures of all rounds, the ratios, and the goals."""
    return [
        {
            "workload": row.workload.name,
            "title": row.workload.title,
            "transport": row.transport,
            "goals": [
                goal._asdict() | {"floor_ratio": floor_ratio(row, goal), "peer_ratio": peer_ratio(row, goal)}
                for goal in row.workload.goals(row.transport)
            ],
            "rounds": row.figures,
            "failures": row.failures,
        }
        for row in rows
    ]


def floor_ratio(row: Row, goal: Goal) -> float | None:
    """How many times what the floor takes."""
    return row.ratio(OURS, FLOOR, goal.figure)


def peer_ratio(row: Row, goal: Goal) -> float | None:
    """How many times better than the peer."""
    return row.ratio(GOAL_PEER[row.transport], OURS, goal.figure)


def _cell(row: Row, name: str, figure: str) -> str:
    if name in row.failures:
        return "fails"
    found = row.value(name, figure)
    return "" if found is None else f"{found:.4g}"


def _floor(row: Row, goal: Goal) -> str:
    if goal.limit is not None:
        value = row.value(OURS, goal.figure)
        return "" if value is None else _judge(value, value <= goal.limit, f"≤ {goal.limit:g}")
    ratio = floor_ratio(row, goal)
    return "" if ratio is None or goal.floor is None else _judge(ratio, ratio <= goal.floor, f"≤ {goal.floor:g}")


def _peer(row: Row, goal: Goal) -> str:
    ratio = peer_ratio(row, goal)
    if goal.peer is None:
        return "works where it fails" if GOAL_PEER[row.transport] in row.failures else ""
    return "" if ratio is None else _judge(ratio, ratio >= goal.peer, f"≥ {goal.peer:g}")


def _judge(value: float, good: bool, wanted: str) -> str:
    return f"{value:.3g} ({wanted}{'' if good else ' MISSED'})"
