"""The flow document of 0.7 and 0.8 as it is after parsing (sections a.6 and c.10 of the flow format)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal, TypeAlias

from stepflow_sdk.flows.document import Flow, Step, put
from stepflow_sdk.flows.expressions import Constant, Expression, referenced_steps
from stepflow_sdk.flows.values import Json, PathParts

SCHEMA_TAG: Final = "https://stepflow.org/schemas/v1/flow.json"

OldLanguage: TypeAlias = Literal["0.7", "0.8"]


@dataclass(frozen=True, slots=True)
class OldOnError:
    """What happens when the component of a step fails.

    Attributes:
        action: ``fail`` fails the step, and so does ``retry``, which was never done; ``skip`` skips it, ``useDefault``
            makes it succeed with the default.
        default: The default, evaluated as an input is; null where it is absent or skipped.
        source: The object of the document in normal form.
    """

    action: Literal["fail", "skip", "useDefault", "retry"]
    default: Expression = field(default_factory=lambda: Constant(None, None))
    source: Mapping[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, slots=True)
class OldStep(Step):
    """One step.

    Its ``on_error`` says what the component's failure comes to before its own ``old_on_error`` is looked at.

    Attributes:
        skip_if: The condition under which the step is skipped.
        old_on_error: What happens when the component fails; none is the same as ``fail``.
        input_schema, output_schema: JSON Schemas; not enforced.
    """

    skip_if: Expression | None = None
    old_on_error: OldOnError | None = None
    input_schema: Json = None
    output_schema: Json = None

    def expressions(self) -> Iterator[tuple[PathParts, Expression]]:
        """See `Step.expressions`."""
        yield ("input",), self.input
        if self.skip_if is not None:
            yield ("skipIf",), self.skip_if
        if self.old_on_error is not None:
            yield ("onError", "defaultValue"), self.old_on_error.default

    def to_json(self) -> dict[str, Json]:
        """The step in normal form."""
        document: dict[str, Json] = {"id": self.id, "component": self.component}
        put(document, "inputSchema", self.input_schema)
        put(document, "outputSchema", self.output_schema)
        if self.old_on_error is not None:
            document["onError"] = dict(self.old_on_error.source)
        put(document, "skipIf", None if self.skip_if is None else self.skip_if.to_json())
        put(document, "input", self.input.to_json())
        put(document, "mustExecute", self.must_execute)
        if self.metadata:
            document["metadata"] = dict(self.metadata)
        return document


@dataclass(frozen=True, eq=False)
class OldFlow(Flow):
    """A flow of 0.7 or 0.8; its ``schemas`` are those of its parts, put together as 0.9 has them.

    Attributes:
        language: Which of the two; it decides which steps run.
        old_steps: The steps.
        input_schema, output_schema, variables_schema: JSON Schemas.
    """

    steps: tuple[OldStep, ...] = ()
    language: OldLanguage = "0.7"
    input_schema: Json = None
    output_schema: Json = None
    variables_schema: Json = None

    @property
    def runs_every_step(self) -> bool:
        """See `Flow.runs_every_step`; so it is in 0.7."""
        return self.language == "0.7"

    @cached_property
    def uses(self) -> tuple[frozenset[int], ...]:
        """For each step the indexes of those that it refers to, and waits for; references to no step are left out."""
        indexes = {step.id: index for index, step in enumerate(self.steps)}
        return tuple(
            frozenset(
                indexes[name]
                for _, expression in step.expressions()
                for name in referenced_steps(expression)
                if name in indexes
            )
            for step in self.steps
        )

    @cached_property
    def wanted(self) -> tuple[int, ...]:
        """The indexes of the steps that run, unless they are skipped."""
        if self.runs_every_step:
            return tuple(range(len(self.steps)))
        named = referenced_steps(self.output)
        waiting = [index for index, step in enumerate(self.steps) if step.must_execute or step.id in named]
        found: set[int] = set()
        while waiting:
            index = waiting.pop()
            if index not in found:
                found.add(index)
                waiting += self.uses[index]
        return tuple(sorted(found))

    def to_json(self) -> dict[str, Json]:
        """The flow as a document of its own language; it always has the version tag, by which it is known."""
        document: dict[str, Json] = {"schema": SCHEMA_TAG}
        put(document, "name", self.name)
        put(document, "description", self.description)
        put(document, "version", self.version)
        put(document, "inputSchema", self.input_schema)
        put(document, "outputSchema", self.output_schema)
        put(document, "variables", self.variables_schema)
        if self.steps:
            document["steps"] = [step.to_json() for step in self.steps]
        put(document, "output", self.output.to_json())
        put(document, "test", None if self.test is None else dict(self.test))
        if self.examples:
            document["examples"] = [dict(example) for example in self.examples]
        if self.metadata:
            document["metadata"] = dict(self.metadata)
        return document
