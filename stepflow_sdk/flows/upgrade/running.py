"""Which steps run after an upgrade, and whose failures count (sections c.1, c.3 and c.10 of the flow format)."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from stepflow_sdk.flows.document import Flow
from stepflow_sdk.flows.expressions import (
    Coalesce,
    Expression,
    If,
    InputReference,
    StepReference,
    VariableReference,
)
from stepflow_sdk.flows.old_document import OldFlow
from stepflow_sdk.flows.upgrade.expressions import Skip
from stepflow_sdk.flows.upgrade.losses import Losses
from stepflow_sdk.flows.values import MISSING, Json, PathParts

__all__ = ["keep_running"]

_OUTPUT: Final = ""
"""Stands where the id of a step could stand; that of a step is not empty."""

Source = tuple[str, PathParts]


class _Reader:
    """What an expression of 0.9 reads.

    Attributes:
        steps: The steps that it needs whenever it is evaluated.
        counting: What makes it fail whenever it is evaluated.
        possible: What may make it fail, in branches too.
        guarded: Conditions, and the steps that are needed where each of them does not hold.
        hidden: The same, where a failure of these steps is not seen.
    """

    def __init__(self, expression: Expression) -> None:
        self.steps: set[str] = set()
        self.counting: set[Source] = set()
        self.possible: set[Source] = set()
        self.guarded: list[tuple[Json, set[str]]] = []
        self.hidden: list[tuple[Json, set[str]]] = []
        self._read(expression, is_counting=True)

    def _read(self, expression: Expression, *, is_counting: bool) -> None:
        if isinstance(expression, If):
            # What fails in a condition is not seen.
            self._read(expression.condition, is_counting=False)
            if expression.otherwise is not None:
                inner = _Reader(expression.otherwise)
                guarded = self.guarded if is_counting else self.hidden
                guarded.append((expression.condition.to_json(), inner.steps))
                self.possible |= inner.possible if is_counting else set()
            return
        if (source := _source(expression)) is not None and is_counting:
            self.counting.add(source)
            self.possible.add(source)
        if isinstance(expression, StepReference):
            self.steps.add(expression.step)
        for child in _always(expression):
            self._read(child, is_counting=is_counting)


def _always(expression: Expression) -> Iterator[Expression]:
    if isinstance(expression, VariableReference):
        return
    for index, (_, child) in enumerate(expression.children()):
        if index == 0 or not isinstance(expression, Coalesce):
            yield child


def _source(expression: Expression) -> Source | None:
    """What an expression refers to, if that can fail."""
    if isinstance(expression, StepReference):
        return f"step {expression.step}", expression.path
    if isinstance(expression, InputReference):
        return ("input", expression.path) if expression.path else None
    if isinstance(expression, VariableReference):
        is_there = len(expression.path) == 1 and (expression.declared is not MISSING or expression.default is not None)
        return None if is_there else ("variable", expression.path)
    return None


def keep_running(old: OldFlow, new: Flow, skips: Mapping[str, Skip], losses: Losses) -> set[str]:
    """Find the steps that have to be ``mustExecute`` so that all of those run that did.

    Args:
        old: The flow.
        new: The flow after everything else was rewritten.
        skips: When its steps are skipped.
        losses: Told of steps that run otherwise, and of failures that do not count any more.

    Returns:
        Their ids.
    """
    return _Keeper(old, new, skips, losses).keep()


class _Keeper:
    def __init__(self, old: OldFlow, new: Flow, skips: Mapping[str, Skip], losses: Losses) -> None:
        self._old = old
        self._losses = losses
        self._skips = skips
        self._readers = {step.id: _Reader(step.input) for step in new.steps}
        self._output = _Reader(new.output)
        self._readers[_OUTPUT] = self._output
        # The steps whose failure is always one of the flow, and what else is.
        self._counting: set[str] = set()
        self._sources: set[Source] = set()

    def keep(self) -> set[str]:
        self._count(_OUTPUT)
        running: set[str] = set()
        self._run(self._output.steps, running)
        must: set[str] = set()
        old_steps = [self._old.steps[index] for index in self._old.wanted]
        for step in reversed(old_steps):
            condition = self._skips[step.id].condition
            if condition is MISSING and (step.must_execute or step.id not in running):
                must.add(step.id)
                self._run({step.id}, running)
        for index in self._old.wanted:
            step = self._old.steps[index]
            condition = self._skips[step.id].condition
            path = ("steps", index)
            if condition is not MISSING:
                self._check_conditional(step.id, condition, running, path, must_execute=bool(step.must_execute))
            elif step.id not in self._counting:
                self._check_hidden(step.id, path)
            if step.must_execute and step.id not in self._counting and (step.on_error is None):
                said = "the flow fails when this step does, and in 0.9 it does not"
                self._losses.add((*path, "mustExecute"), f"{said}; refer to it in the output if it has to")
        return must

    def _count(self, user: str) -> None:
        waiting = [user]
        while waiting:
            for source in self._readers[waiting.pop()].counting - self._sources:
                self._sources.add(source)
                name = source[0].removeprefix("step ")
                if source[0] != name and name not in self._counting:
                    self._counting.add(name)
                    waiting.append(name)

    def _run(self, steps: set[str], running: set[str]) -> None:
        waiting = list(steps)
        while waiting:
            step = waiting.pop()
            if step not in running:
                running.add(step)
                waiting += self._readers[step].steps

    def _check_conditional(
        self, step: str, condition: Json, running: set[str], path: PathParts, *, must_execute: bool
    ) -> None:
        """A step with a condition runs when something that always runs refers to it under this very condition."""
        if condition is True or (not must_execute and self._is_reached(step, condition, self._counting)):
            return
        if not must_execute and self._is_reached(step, condition, running, hidden=True):
            self._check_hidden(step, path)
        else:
            said = "this step runs wherever skipIf is false; in 0.9 only need makes a step run on a condition"
            self._losses.add(path, f"{said}: refer to it, with 'onSkip', in the output")

    def _is_reached(self, step: str, condition: Json, users: set[str], *, hidden: bool = False) -> bool:
        """Whether one of these users, or the output, refers to the step where its condition does not hold."""
        for user, reader in self._readers.items():
            if user == _OUTPUT or user in users:
                guarded = [*reader.guarded, *(reader.hidden if hidden else ())]
                if any(step in steps and guard == condition for guard, steps in guarded):
                    return True
            # A user that is skipped under the same condition.
            elif (
                step in reader.steps
                and self._skips[user].condition == condition
                and self._is_reached(user, condition, users, hidden=hidden)
            ):
                return True
        return False

    def _check_hidden(self, step: str, path: PathParts) -> None:
        """What the flow does not need may fail in 0.9; in the old languages a wrong input of it failed the flow."""
        hidden = [source for source in self._readers[step].possible if not self._is_seen(source)]
        if hidden:
            source, inner = min(hidden, key=str)
            said = f"a failure of what its input refers to ({source.replace('step ', 'step: ')}{_shown(inner)}) failed"
            self._losses.add(
                (*path, "input"), f"{said} the flow, and in 0.9 it does not, for the output does not need it"
            )

    def _is_seen(self, source: Source) -> bool:
        name, inner = source
        if name.startswith("step ") and not inner:
            return name.removeprefix("step ") in self._counting
        return source in self._sources


def _shown(path: PathParts) -> Any:
    return "".join(f", {part}" for part in path)
