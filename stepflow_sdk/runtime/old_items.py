"""One input of a run of a flow of 0.7 or 0.8 on its way (section c.10 of the flow format)."""

from collections.abc import Mapping
from typing import Any

from stepflow_sdk.flows import PENDING, Broken, Expression, Failure, Needs, OldFlow, OldStep, Skipped
from stepflow_sdk.flows.old_expressions import is_true
from stepflow_sdk.runtime.failures import not_completed
from stepflow_sdk.runtime.items import Item, Plan

__all__ = ["OldItem", "OldPlan"]


class OldPlan(Plan):
    """What the items of all runs of an old flow share: dependencies are static, and so is which steps run."""

    __slots__ = ("counts", "dependants", "old_steps", "output_first", "wanted")

    def __init__(self, flow: OldFlow) -> None:
        super().__init__(flow)
        self.old_steps: tuple[OldStep, ...] = flow.steps
        self.wanted = flow.wanted
        # In 0.7 only the output decides how the flow ends.
        self.output_first = flow.language == "0.7"
        self.counts = {index: len(flow.uses[index]) for index in self.wanted}
        self.dependants: dict[int, list[int]] = {index: [] for index in self.wanted}
        for index in self.wanted:
            for used in flow.uses[index]:
                self.dependants[used].append(index)

    def item(self, index: int, input: Any, variables: Mapping[str, Any]) -> "OldItem":
        """See `Plan.item`."""
        return OldItem(self, index, input, variables)


class OldItem(Item):
    """The state of one input.

    A step begins when everything that it refers to has ended. A reference that cannot be resolved, or to a step that
    failed, ends the whole: nothing more is called, and what is under way is waited for.
    """

    __slots__ = ("_called", "_left", "_old")

    def __init__(self, plan: OldPlan, index: int, input: Any, variables: Mapping[str, Any]) -> None:
        super().__init__(plan, index, input, variables)
        self._old = plan
        self._left = plan.counts.copy()
        self._called = 0
        self._open = len(plan.wanted)

    @property
    def done(self) -> bool:
        """See `Item.done`."""
        return not self._called and self.outcome is not PENDING

    def start(self) -> list[int]:
        """See `Item.start`."""
        return self._proceed([index for index in self._old.wanted if not self._left[index]])

    def take_input(self, index: int) -> Any:
        """See `Item.take_input`."""
        self._called += 1
        return super().take_input(index)

    def recover(self, index: int, outcome: Any, failure: Failure) -> Any:
        """See `Item.recover`; the default of a step is evaluated when it is needed."""
        on_error = self._old.old_steps[index].old_on_error
        if on_error is None or isinstance(outcome, Failure):
            return outcome
        if on_error.action == "skip":
            return Skipped(failure.message)
        default = self._resolved(on_error.default)
        if isinstance(default, Failure):
            self._stop(default)
        return None if isinstance(default, Skipped) else default

    def settle(self, index: int, outcome: Any) -> list[int]:
        """See `Item.settle`."""
        self._called -= 1
        return self._proceed(self._old_end(index, outcome))

    def give_up(self) -> None:
        """See `Item.give_up`."""
        if self.outcome is PENDING:
            pending = [self._old.steps[index].id for index in self._old.wanted]
            self._stop(not_completed([step_id for step_id in pending if self._values[step_id] is PENDING]))
        self._called = 0

    def _proceed(self, begin: list[int]) -> list[int]:
        """Begin steps whose dependencies have ended; those that end without a call make others begin."""
        ready: list[int] = []
        while begin and not self.is_over:
            index = begin.pop()
            end = self._begin(index)
            if end is None:
                ready.append(index)
            else:
                self.ended_early.append((index, end))
                begin += self._old_end(index, end)
        if self.is_over:
            return []
        if not self._open:
            self.outcome = self._output()
        return ready

    def _begin(self, index: int) -> Failure | Skipped | None:
        """Resolve the input of a step; returns how it ends where its component is not called."""
        step = self._old.old_steps[index]
        if step.skip_if is not None:
            condition = step.skip_if.resolve(self)
            if isinstance(condition, Broken):
                return self._stop(condition.failure)
            if not isinstance(condition, (Failure, Skipped, Needs)) and is_true(condition):
                return Skipped("skipIf is true")
        value = self._resolved(step.input)
        if isinstance(value, Failure):
            return self._stop(value)
        if isinstance(value, Skipped):
            return value
        self._inputs[index] = value
        return None

    def _resolved(self, expression: Expression) -> Any:
        """A value, `Skipped`, or a `Failure` for what ends the whole."""
        value = expression.resolve(self)
        if isinstance(value, Broken):
            return value.failure
        return not_completed(sorted(value.steps)) if isinstance(value, Needs) else value

    def _output(self) -> Any:
        if not self._old.output_first:
            for index in self._old.must_execute:
                value = self._values[self._old.steps[index].id]
                if isinstance(value, Failure):
                    return value
        return self._resolved(self._old.flow.output)

    def _stop(self, failure: Failure) -> Failure:
        self.is_over = True
        self.outcome = failure
        return failure

    def _old_end(self, index: int, outcome: Any) -> list[int]:
        self._values[self._old.steps[index].id] = outcome
        self._open -= 1
        begin: list[int] = []
        for dependant in self._old.dependants[index]:
            self._left[dependant] -= 1
            if not self._left[dependant]:
                begin.append(dependant)
        return begin
