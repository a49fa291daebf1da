"""Rounds in which the servers take turns, and what comes out of them."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

from benchmarks.measure import Figures, measure
from benchmarks.processes import BenchmarkError
from benchmarks.subjects import Subject
from benchmarks.workloads import Workload

Tell = Callable[[str], None]


class Row(NamedTuple):
    """One workload over one transport.

    Attributes:
        workload: Which.
        transport: ``stdio`` or ``http``.
        figures: What each server took in each round.
        failures: What those servers said that have no figures.
    """

    workload: Workload
    transport: str
    figures: dict[str, list[Figures]]
    failures: dict[str, str]

    def value(self, name: str, figure: str) -> float | None:
        """The median of all rounds."""
        found = [one[figure] for one in self.figures.get(name, ()) if figure in one]
        return median(found) if found else None

    def ratio(self, name: str, to: str, figure: str) -> float | None:
        """How many times as much one took as the other: the median of the ratios of each round."""
        pairs = zip(self.figures.get(name, ()), self.figures.get(to, ()), strict=False)
        found = [one[figure] / other[figure] for one, other in pairs if figure in one and other.get(figure)]
        return median(found) if found else None


def run(workload: Workload, transport: str, subjects: Sequence[Subject], rounds: int, tell: Tell) -> Row:
    """Measure a workload on all servers, `rounds` times in turns; one that fails is left out from then on."""
    row = Row(workload, transport, {}, {})
    for number in range(rounds):
        for subject in subjects:
            if workload.name in subject.leaves_out or subject.name in row.failures:
                continue
            tell(f"{transport} {workload.name}, round {number + 1} of {rounds}: {subject.name}")
            try:
                row.figures.setdefault(subject.name, []).append(measure(subject, workload))
            except (BenchmarkError, OSError) as error:
                row.failures[subject.name] = str(error)
                row.figures.pop(subject.name, None)
    return row
