"""Scores measurements of pumps: the components, and a program that runs the flow over every row of a CSV file."""

import argparse
import csv
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from stepflow_sdk import ComponentError, FlowFailed, StepflowServer
from stepflow_sdk.runtime import ItemEnded, LocalRuntime, RunEvent

HERE = Path(__file__).parent

server = StepflowServer("pumps")

Score = Annotated[float, Meta(ge=0, le=100)]


class Measurement(Struct):
    temperature_c: float
    pressure_bar: Annotated[float, Meta(ge=0)]
    vibration_mm_s: Annotated[float, Meta(ge=0)]


class Verdict(Struct):
    score: Score
    grade: str


@server.component
def parse(row: dict[str, str]) -> Measurement:
    """Turn a row of the table into numbers."""
    numbers: dict[str, float] = {}
    for name in Measurement.__struct_fields__:
        try:
            numbers[name] = float(row[name])
        except (KeyError, ValueError):
            raise ComponentError(f"{name} is {row.get(name)!r}, not a number", data={"field": name}) from None
    return Measurement(**numbers)


@server.component
def heat(measurement: Measurement) -> Score:
    """Score the temperature: 0 at 50 °C and below, 100 at 90 °C and above."""
    return _between(measurement.temperature_c, 50, 90)


@server.component
def wear(measurement: Measurement) -> Score:
    """Score vibration, and the pressure that a worn pump loses."""
    return 0.7 * _between(measurement.vibration_mm_s, 1, 7) + 0.3 * (100 - _between(measurement.pressure_bar, 4, 7))


@server.component
def judge(heat: Score, wear: Score) -> Verdict:
    """Join both scores into one, and grade it."""
    score = round(0.4 * heat + 0.6 * wear, 1)
    grade = next(grade for limit, grade in ((25, "good"), (45, "watch"), (101, "service")) if score < limit)
    return Verdict(score, grade)


def _between(value: float, low: float, high: float) -> float:
    return min(100.0, max(0.0, 100 * (value - low) / (high - low)))


class Progress:
    """Tells every tenth of the way."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._next = 1

    def __call__(self, event: RunEvent) -> None:
        if isinstance(event, ItemEnded):
            self._done += 1
            if self._done * 10 >= self._next * self._total:
                print(f"{self._done:6} of {self._total}", file=sys.stderr)
                self._next = self._done * 10 // self._total + 1


def main() -> None:
    parser = argparse.ArgumentParser(description="Scores every row of a CSV file.")
    parser.add_argument("table", nargs="?", type=Path, default=HERE / "measurements.csv")
    parser.add_argument("--output", type=Path, default=Path("output/scored.csv"))
    options = parser.parse_args()
    try:
        with options.table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        parser.error(f"{options.table}: {error.strerror}")
    if not rows:
        parser.error(f"{options.table}: there are no rows in it")

    started = time.perf_counter()
    with LocalRuntime(server, on_event=Progress(len(rows))) as runtime:
        results = runtime.run_batch(HERE / "flow.yaml", rows, max_concurrency=8)
    seconds = time.perf_counter() - started

    grades: Counter[str] = Counter()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with options.output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*rows[0], "score", "grade"])
        writer.writeheader()
        for line, (row, result) in enumerate(zip(rows, results, strict=True), start=2):
            try:
                verdict: Verdict = result.unwrap(Verdict)
            except FlowFailed as failure:
                grades["failed"] += 1
                print(f"line {line}: {failure}", file=sys.stderr)
                continue
            grades[verdict.grade] += 1
            writer.writerow({**row, "score": verdict.score, "grade": verdict.grade})

    print(f"{len(rows)} rows in {seconds:.2f} s")
    for grade in ("good", "watch", "service", "failed"):
        print(f"{grade:<8}{grades[grade]:5}")
    print(f"scored rows: {options.output}")


if __name__ == "__main__":
    main()
