"""The flow document as it is after parsing (section a of the flow format)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from stepflow_sdk.flows.canonical import blob_id
from stepflow_sdk.flows.diagnostics import Diagnostic, Source
from stepflow_sdk.flows.expressions import Constant, Expression
from stepflow_sdk.flows.values import Json, PathParts
from stepflow_sdk.flows.variables import VariableDeclaration


@dataclass(frozen=True, slots=True)
class OnError:
    """What happens when the component of a step fails (section a.4).

    Attributes:
        action: ``fail`` fails the step, ``useDefault`` makes it succeed with ``default_value``, ``retry`` runs
            the component again.
        default_value: A literal JSON value; expressions in it are not evaluated.
        max_retries: How often to try again; none stands for the 3 of the format.
    """

    action: Literal["fail", "useDefault", "retry"]
    default_value: Json = None
    max_retries: int | None = None

    @classmethod
    def fail(cls) -> "OnError":
        """The step fails; the same as saying nothing."""
        return cls("fail")

    @classmethod
    def use_default(cls, value: Json = None) -> "OnError":
        """A failed execution becomes a success with this value, which is a literal."""
        return cls("useDefault", default_value=value)

    @classmethod
    def retry(cls, max_retries: int | None = None) -> "OnError":
        """A failed execution is tried again, at most this often (3 times if nothing is said)."""
        return cls("retry", max_retries=max_retries)

    def to_json(self) -> dict[str, Json]:
        """The object of the document: ``{"action", "defaultValue"?, "maxRetries"?}``."""
        document: dict[str, Json] = {"action": self.action}
        if self.default_value is not None:
            document["defaultValue"] = self.default_value
        if self.max_retries is not None:
            document["maxRetries"] = self.max_retries
        return document


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a flow (section a.2).

    Attributes:
        id: Its name in references.
        component: The path of its component, such as ``/python/greet``.
        input: What the component is called with.
        on_error: What happens when the component fails; none is the same as ``fail``.
        must_execute: Whether it runs even if nothing needs it; none is the same as false.
        metadata: Uninterpreted.
    """

    id: str
    component: str
    input: Expression
    on_error: OnError | None = None
    must_execute: bool | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict[str, Any])

    def expressions(self) -> Iterator[tuple[PathParts, Expression]]:
        """Everything that is evaluated for the step, each with its place in the step's JSON."""
        yield ("input",), self.input

    def to_json(self) -> dict[str, Json]:
        """The step in normal form (section f)."""
        document: dict[str, Json] = {"id": self.id, "component": self.component}
        if self.on_error is not None:
            document["onError"] = self.on_error.to_json()
        put(document, "input", self.input.to_json())
        put(document, "mustExecute", self.must_execute)
        if self.metadata:
            document["metadata"] = dict(self.metadata)
        return document


@dataclass(frozen=True, eq=False)
class Flow:
    """A workflow, parsed and ready to be run; make one with `load_flow`, `parse_flow` or `FlowBuilder`.

    It does not change, and flows with the same normal form are equal.

    Attributes:
        name, description, version: Free text.
        schemas: The JSON Schema object of the flow's input, output, variables and steps (section a.3).
        steps: In document order; references only go backwards.
        output: The result of the flow.
        test: Test cases (section a.5).
        examples: Example inputs, ``{"name", "description"?, "input"}`` each.
        metadata: Uninterpreted.
        variables: What ``schemas`` declares of the flow's variables, by name.
        warnings: What parsing passed over, such as unknown keys.
        source: Where it came from; for the lines in diagnostics.
    """

    name: str | None = None
    description: str | None = None
    version: str | None = None
    schemas: Mapping[str, Json] | None = None
    steps: tuple[Step, ...] = ()
    output: Expression = field(default_factory=lambda: Constant(None, None))
    test: Mapping[str, Json] | None = None
    examples: tuple[Mapping[str, Json], ...] = ()
    metadata: Mapping[str, Json] = field(default_factory=dict[str, Any])
    variables: Mapping[str, VariableDeclaration] = field(default_factory=dict[str, VariableDeclaration])
    warnings: tuple[Diagnostic, ...] = ()
    source: Source | None = field(default=None, repr=False)

    @property
    def runs_every_step(self) -> bool:
        """Whether all steps run, needed or not."""
        return False

    def to_json(self) -> dict[str, Json]:
        """The flow as a document in normal form (section f): fields in order, paths normalised, empty ones gone.

        Not to be changed: parts of it are the flow's own.
        """
        document: dict[str, Json] = {}
        put(document, "name", self.name)
        put(document, "description", self.description)
        put(document, "version", self.version)
        put(document, "schemas", None if self.schemas is None else dict(self.schemas))
        if self.steps:
            document["steps"] = [step.to_json() for step in self.steps]
        put(document, "output", self.output.to_json())
        put(document, "test", None if self.test is None else dict(self.test))
        if self.examples:
            document["examples"] = [dict(example) for example in self.examples]
        if self.metadata:
            document["metadata"] = dict(self.metadata)
        return document

    @cached_property
    def id(self) -> str:
        """The flow id: 64 hex digits, the SHA-256 of the normal form."""
        return blob_id(self.to_json())

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, Flow) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)


def put(document: dict[str, Json], key: str, value: Json) -> None:
    """Set a field, unless its value is null."""
    if value is not None:
        document[key] = value
