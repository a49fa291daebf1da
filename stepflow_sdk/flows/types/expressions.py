"""The types of expressions (section c.9 of the flow format)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from stepflow_sdk.flows.canonical import canonical_json
from stepflow_sdk.flows.expressions import (
    ArrayExpression,
    Coalesce,
    Constant,
    Expression,
    If,
    InputReference,
    ObjectExpression,
    StepReference,
    VariableReference,
)
from stepflow_sdk.flows.types.paths import Part, project
from stepflow_sdk.flows.types.schemas import allows_null, without_null
from stepflow_sdk.flows.types.types import (
    Either,
    Exactly,
    Never,
    Record,
    Sequence,
    Type,
    Unknown,
    either,
)
from stepflow_sdk.flows.types.verdicts import Verdict
from stepflow_sdk.flows.values import MISSING, PathParts, is_array, is_object

Reference = InputReference | StepReference | VariableReference


@dataclass(frozen=True, slots=True)
class PathProblem:
    """A path that leads nowhere, or perhaps nowhere.

    Attributes:
        verdict: How sure that is.
        place: Where in the document the reference stands.
        message: What is wrong with it, for people.
    """

    verdict: Verdict
    place: PathParts
    message: str


@dataclass(frozen=True, slots=True)
class Names:
    """What the names in expressions stand for.

    Attributes:
        input: The type of the flow's input.
        steps: The types of the results of the steps so far.
        variables: The types of the declared variables.
    """

    input: Type
    steps: Mapping[str, Type]
    variables: Mapping[str, Type]


@dataclass(slots=True)
class ExpressionTyper:
    """Gives expressions their types, and collects the paths that lead nowhere.

    Attributes:
        names: What names stand for.
        problems: What was found.
    """

    names: Names
    problems: list[PathProblem] = field(default_factory=list[PathProblem])
    _true: tuple[bytes, ...] = ()

    def type_of(self, expression: Expression, place: PathParts) -> Type:  # noqa: PLR0911  # one return a form
        """The type of an expression that stands at a place of the document."""
        match expression:
            case Constant():
                source = expression.to_json()
                return Exactly(expression.value, place, source if isinstance(source, (dict, list)) else None)
            case ArrayExpression():
                return Sequence(tuple(self.type_of(item, place + at) for at, item in expression.children()), place)
            case ObjectExpression():
                return Record({name: self.type_of(value, (*place, name)) for name, value in expression.fields}, place)
            case If():
                return self._if(expression, place)
            case Coalesce():
                return self._coalesce(expression, place)
            case StepReference() | InputReference() | VariableReference():
                return placed(self._reference(expression, place), place)
            case _:
                return Unknown(place)

    def _if(self, node: If, place: PathParts) -> Type:
        # A condition that fails is no more than false, so what is wrong with its paths does no harm.
        known = len(self.problems)
        condition = without_false(self.type_of(node.condition, (*place, "$if")))
        del self.problems[known:]
        then: Type = Never()
        if not isinstance(condition, Never):
            before, self._true = self._true, (*self._true, _key(node.condition))
            then = self.type_of(node.then, (*place, "then"))
            self._true = before
        if isinstance(node.condition, Constant) and not isinstance(condition, Never):
            return then
        otherwise = Exactly(None, place) if node.otherwise is None else self.type_of(node.otherwise, (*place, "else"))
        return either(then, otherwise, place=place)

    def _coalesce(self, node: Coalesce, place: PathParts) -> Type:
        types: list[Type] = []
        is_nullable = True
        for at, operand in node.children():
            found = self.type_of(operand, place + at)
            types.append(without_null(found))
            is_nullable = is_nullable and allows_null(found)
            if isinstance(operand, Constant) and operand.value is not None:
                break
        return either(*types, *([Exactly(None, place)] if is_nullable else []), place=place)

    # ---- references -----------------------------------------------------------------------------------------------

    def _reference(self, node: Reference, place: PathParts) -> Type:
        match node:
            case InputReference():
                part = project(self.names.input, node.path, "the input")
            case StepReference():
                part = self._step(node)
            case VariableReference():
                part = self._variable(node, place)
        if _key(node) in self._true:
            # The condition around it has found the value, and that it is neither null nor false.
            return without_false(part.type)
        if part.verdict is not Verdict.FITS:
            self.problems.append(PathProblem(part.verdict, place, part.message))
        return part.type

    def _step(self, node: StepReference) -> Part:
        source = f"the result of step {node.step[:60]!r}"
        whole = self.names.steps.get(node.step, Unknown())
        if _key(StepReference(node.step, ())) in self._true:
            whole = without_false(whole)
        if not node.path or not allows_null(whole):
            return project(whole, node.path, source)
        # Any path into a null result gives null.
        part = project(without_null(whole), node.path, source)
        return Part(either(part.type, Exactly(None)), part.verdict, part.message)

    def _variable(self, node: VariableReference, place: PathParts) -> Part:
        name = node.name
        whole = self.names.variables.get(name, Unknown()) if name is not None else Never()
        part = project(whole, node.path[1:], f"variable {(name or '')[:60]!r}")
        if node.default is None:
            return part
        default = self.type_of(node.default, (*place, "default"))
        if node.declared is not MISSING and part.verdict is Verdict.FITS:
            return part
        return Part(either(part.type, default))


def without_false(type: Type) -> Type:
    """The type without null and false, the values that ``$if`` takes for false."""
    kept = without_null(type)
    options = kept.members if isinstance(kept, Either) else (kept,)
    if not any(isinstance(option, Exactly) and option.value is False for option in options):
        return kept
    return either(*[option for option in options if not (isinstance(option, Exactly) and option.value is False)])


def placed(type: Type, place: PathParts) -> Type:
    """The same type, coming in at a place of the document."""
    if isinstance(type, Either):
        return Either(tuple(placed(member, place) for member in type.members), place)
    if isinstance(type, Exactly) and (is_object(type.value) or is_array(type.value)):
        # Its parts do not stand at that place.
        return type
    return replace(type, place=place)


def _key(node: Expression) -> bytes:
    return canonical_json(node.to_json())
