"""Compares both runtimes case by case, and counts."""

import json
from collections import Counter
from collections.abc import Iterator

from stepflow_sdk_tests.interop.differential.cases import Case
from stepflow_sdk_tests.interop.differential.deviations import LATE_INPUT, Difference, explanation
from stepflow_sdk_tests.interop.differential.twins import Answer, Twins


class Different(AssertionError):
    """Both ended otherwise, and no known defect says why."""


class Comparison:
    """Runs cases on both runtimes.

    Args:
        twins: Both.
        stalls: How many of the cases that stall an orchestrator are run there; each one takes seconds.
    """

    def __init__(self, twins: Twins, *, stalls: int = 0) -> None:
        self._twins = twins
        self._stalls = stalls
        self.cases = 0
        self.equal = 0
        self.known: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()

    def check(self, case: Case) -> None:
        """Run a case on both.

        Raises:
            Different: They ended otherwise, and no known defect says why.
        """
        ours = self._twins.ours(case)
        trouble = self._twins.trouble()
        self.cases += 1
        self.ends.update(_ends(ours))
        if trouble.late.input and not self._stalls:
            self.known[f"{LATE_INPUT.name} (not run there)"] += 1
            return
        self._stalls -= trouble.late.input
        upstream = self._twins.upstream(case)
        if ours.text == upstream.text:
            self.equal += 1
            return
        deviation = explanation(Difference(case, trouble, ours, upstream))
        if deviation is None:
            raise Different(
                f"{json.dumps(case._asdict())}\n  here:     {ours.text}\n  upstream: {upstream.text}"[:20_000]
            )
        self.known[deviation.name] += 1

    def table(self) -> Iterator[str]:
        """The counts, a line each."""
        known = sum(self.known.values())
        yield f"{self.cases:7} flows"
        yield f"{self.equal:7} equal"
        for name, count in sorted(self.known.items()):
            yield f"{count:7} known: {name}"
        yield f"{self.cases - self.equal - known:7} others"
        ends = ", ".join(f"{end} {count}" for end, count in self.ends.most_common())
        yield f"        ends: {ends}"


def _ends(answer: Answer) -> Iterator[str]:
    if answer.kind != "outcomes":
        yield "refused"
        return
    for outcome in answer.value[1:]:
        yield str(outcome["error"]["code"]) if outcome["outcome"] == "failed" else outcome["outcome"]
