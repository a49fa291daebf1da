"""One input of a run on its way through the flow: which steps are needed, wait, and have ended."""

from collections.abc import Mapping
from typing import Any, Literal

from stepflow_sdk.flows import MISSING, PENDING, UNKNOWN, Failure, Flow, Needs, Skipped
from stepflow_sdk.runtime.failures import not_completed
from stepflow_sdk.runtime.first_needs import OUTPUT, FirstNeeds, first_needs

__all__ = ["Item", "Plan"]


class Plan:
    """What the items of all runs of a flow share."""

    __slots__ = ("_first", "expressions", "flow", "index", "must_execute", "pending", "steps")

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.steps = flow.steps
        self.index = {step.id: index for index, step in enumerate(flow.steps)}
        self.pending: dict[str, Any] = dict.fromkeys(self.index, PENDING)
        self.must_execute = tuple(index for index, step in enumerate(flow.steps) if step.must_execute)
        # The last one is found under the index OUTPUT.
        self.expressions = (*(step.input for step in flow.steps), flow.output)
        self._first: FirstNeeds | Literal["unknown"] | None = "unknown"

    @property
    def first(self) -> FirstNeeds | None:
        """What every item waits for when it begins; None where values decide on that."""
        if self._first == "unknown":
            self._first = first_needs(self.index, self.expressions, self.must_execute)
        return self._first

    def item(self, index: int, input: Any, variables: Mapping[str, Any]) -> "Item":
        """The state of one input."""
        return Item(self, index, input, variables)


class Item:
    """The state of one input, and the `Scope` in which its expressions are evaluated.

    Need-driven (section c.1 of the flow format): evaluating the output names the steps that it still needs, and
    evaluating their inputs names theirs. Whoever waits for a step is evaluated again when all that it asked for has
    ended, and nobody else is.

    Attributes:
        index: The place of the input among those of the run.
        input: The input.
        outcome: What the output came to, a value or a `Failure`; `PENDING` before.
        ended_early: Steps that ended without being called, because of their input; for the caller to take.
        is_over: Whether steps that are ready are not to be called any more.
    """

    __slots__ = (
        "_inputs",
        "_missing",
        "_open",
        "_plan",
        "_values",
        "_variables",
        "_waiting",
        "ended_early",
        "index",
        "input",
        "is_over",
        "outcome",
    )

    def __init__(self, plan: Plan, index: int, input: Any, variables: Mapping[str, Any]) -> None:
        self.index = index
        self.input = input
        self.outcome: Any = PENDING
        self.is_over = False
        self.ended_early: list[tuple[int, Failure | Skipped]] = []
        self._plan = plan
        self._values = plan.pending.copy()
        self._variables = variables
        self._inputs: dict[int, Any] = {}
        self._waiting: dict[str, list[int]] = {}
        self._missing: dict[int, int] = {}
        self._open = 0

    # ---- the scope of its expressions -------------------------------------------------------------------------

    def step(self, step_id: str, /) -> object:
        """See `Scope.step`."""
        return self._values.get(step_id, UNKNOWN)

    def variable(self, name: str, /) -> object:
        """See `Scope.variable`."""
        return self._variables.get(name, MISSING)

    # ---- its way ----------------------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether the output has come to something and no step is left that was needed."""
        return not self._open and self.outcome is not PENDING

    def start(self) -> list[int]:
        """Begin; returns the indexes of the steps that can be called, in any order."""
        plan = self._plan
        first = plan.first
        if first is not None and not any(part.resolve(self).__class__ is Failure for part in first.provided):
            # Nobody waits for anything else later, so the items share who waits.
            self._waiting = first.waiting
            self._missing = first.missing.copy()
            self._open = len(first.waiting)
            return self._advance(first.free.copy())
        self._waiting = {plan.steps[index].id: [] for index in plan.must_execute}
        self._open = len(plan.must_execute)
        return self._advance([OUTPUT, *plan.must_execute])

    def take_input(self, index: int) -> Any:
        """The resolved input of a step that can be called; it is forgotten here."""
        return self._inputs.pop(index)

    def recover(self, index: int, outcome: Any, failure: Failure) -> Any:  # noqa: ARG002  (see `OldItem`)
        """What a step came to whose component failed; the outcome is what its ``on_error`` made of the failure."""
        return outcome

    def settle(self, index: int, outcome: Any) -> list[int]:
        """Take the end of a step: a value, a `Failure` or `Skipped`; returns the steps that can be called now."""
        return self._advance(self._end(index, None if outcome.__class__ is Skipped else outcome))

    def give_up(self) -> None:
        """End an item whose steps wait for each other: nothing of it runs, and nothing of it can."""
        if self.outcome is PENDING:
            self.outcome = not_completed([step_id for step_id in self._waiting if self._values[step_id] is PENDING])
        self._open = 0

    def _advance(self, consumers: list[int]) -> list[int]:
        """Evaluate what may have changed, and what that needs; a list and no recursion, for chains are long."""
        ready: list[int] = []
        expressions = self._plan.expressions
        while consumers:
            consumer = consumers.pop()
            value: Any = expressions[consumer].resolve(self)
            if value.__class__ is Needs:
                consumers += self._wait(consumer, value.steps)
            elif consumer == OUTPUT:
                self.outcome = value
            elif value.__class__ is Failure:
                self.ended_early.append((consumer, value))
                consumers += self._end(consumer, value)
            else:
                self._inputs[consumer] = value
                ready.append(consumer)
        return ready

    def _wait(self, consumer: int, steps: frozenset[str]) -> list[int]:
        """Have a consumer wait for steps; returns those of them that nobody has asked for before."""
        self._missing[consumer] = len(steps)
        new: list[int] = []
        # In the order of the flow, for that of a set is another one in each process.
        for step_id in steps if len(steps) == 1 else sorted(steps, key=self._plan.index.__getitem__):
            waiting = self._waiting.get(step_id)
            if waiting is None:
                self._waiting[step_id] = [consumer]
                self._open += 1
                new.append(self._plan.index[step_id])
            else:
                waiting.append(consumer)
        return new

    def _end(self, index: int, outcome: Any) -> list[int]:
        """Know what a step came to; returns the consumers that wait for nothing any more."""
        step_id = self._plan.steps[index].id
        self._values[step_id] = outcome
        self._open -= 1
        missing = self._missing
        free: list[int] = []
        for consumer in self._waiting[step_id]:
            missing[consumer] -= 1
            if not missing[consumer]:
                free.append(consumer)
        return free
