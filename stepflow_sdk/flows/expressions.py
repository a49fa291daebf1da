"""Value expressions as a tree that evaluates itself (section b of the flow format).

The tree is built once, when the flow is parsed, and shared by every run: nodes are never changed, and what
needs no evaluation is one `Constant` whose value is handed out as it is. Who receives a value must not
change it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from stepflow_sdk.flows.outcomes import ENGINE_ERROR, UNKNOWN_STEP, VALUE_NOT_FOUND, Failure, Needs, Scope
from stepflow_sdk.flows.paths import follow, format_path
from stepflow_sdk.flows.values import MISSING, PENDING, UNKNOWN, Json, Missing, PathParts

Child = tuple[PathParts, "Expression"]
"""An operand, and where it stands in the JSON of its parent."""


class Expression(ABC):
    """A node: the value that a part of the document stands for."""

    __slots__ = ()

    @abstractmethod
    def resolve(self, scope: Scope) -> object:
        """Evaluate as far as possible: a JSON value, a `Failure`, or the `Needs` that stand in the way."""

    @abstractmethod
    def to_json(self) -> Json:
        """The expression in normal form (section f: paths normalised, absent options left out)."""

    def children(self) -> Iterator[Child]:
        """The operands of every branch, evaluated or not, in document order."""
        return iter(())


def resolve(expression: Expression, scope: Scope) -> object:
    """Evaluate an expression as far as the steps that have ended allow.

    Evaluation is lazy: of ``$if`` the condition and then the branch taken, of ``$coalesce`` one operand after
    the other, of ``$variable`` the default where it is used. All elements of an object or an array are wanted
    at once; the first of them, in document order, that fails is the failure of the whole.

    Returns:
        The JSON value (not to be changed: parts of it are shared), a `Failure`, or `Needs`: call again when
        those steps have ended.
    """
    return expression.resolve(scope)


class Constant(Expression):
    """A part of the document without references; ``$literal`` inside is already taken off."""

    __slots__ = ("_source", "value")

    def __init__(self, value: Json, source: Json) -> None:
        self.value = value
        self._source = source

    def resolve(self, scope: Scope) -> object:  # noqa: ARG002  # a constant asks nobody
        """The value itself, not a copy."""
        return self.value

    def to_json(self) -> Json:
        """The part of the document as it stands there."""
        return self._source


class ArrayExpression(Expression):
    """An array with a reference somewhere in it."""

    __slots__ = ("items",)

    def __init__(self, items: Sequence[Expression]) -> None:
        self.items = tuple(items)

    def resolve(self, scope: Scope) -> object:
        """The array of the elements' values."""
        result: list[object] = []
        needed: set[str] | None = None
        for item in self.items:
            value = item.resolve(scope)
            if value.__class__ is Failure:
                return value if needed is None else Needs(frozenset(needed))
            if isinstance(value, Needs):
                if needed is None:
                    needed = set()
                needed |= value.steps
            result.append(value)
        return result if needed is None else Needs(frozenset(needed))

    def to_json(self) -> Json:
        """The array of the elements."""
        return [item.to_json() for item in self.items]

    def children(self) -> Iterator[Child]:
        """The elements."""
        return (((index,), item) for index, item in enumerate(self.items))


class ObjectExpression(Expression):
    """An object with a reference somewhere in it."""

    __slots__ = ("fields",)

    def __init__(self, fields: Mapping[str, Expression]) -> None:
        self.fields = tuple(fields.items())

    def resolve(self, scope: Scope) -> object:
        """The object of the fields' values."""
        result: dict[str, object] = {}
        needed: set[str] | None = None
        for key, field in self.fields:
            value = field.resolve(scope)
            # A failure only decides once nothing before it can still fail: until then the steps that come
            # first in the document are waited for, and those behind it are not needed at all.
            if value.__class__ is Failure:
                return value if needed is None else Needs(frozenset(needed))
            if isinstance(value, Needs):
                if needed is None:
                    needed = set()
                needed |= value.steps
            result[key] = value
        return result if needed is None else Needs(frozenset(needed))

    def to_json(self) -> Json:
        """The object of the fields."""
        return {key: field.to_json() for key, field in self.fields}

    def children(self) -> Iterator[Child]:
        """The fields."""
        return (((key,), field) for key, field in self.fields)


class If(Expression):
    """``$if``: only false and null, and a condition that fails, choose ``else``."""

    __slots__ = ("condition", "otherwise", "then")

    def __init__(self, condition: Expression, then: Expression, otherwise: Expression | None) -> None:
        self.condition = condition
        self.then = then
        self.otherwise = otherwise

    def resolve(self, scope: Scope) -> object:
        """The value of the branch that the condition chooses."""
        condition = self.condition.resolve(scope)
        if isinstance(condition, Needs):
            return condition
        if condition is None or condition is False or condition.__class__ is Failure:
            return None if self.otherwise is None else self.otherwise.resolve(scope)
        return self.then.resolve(scope)

    def to_json(self) -> Json:
        """``$if``, ``then`` and, where given, ``else``."""
        document: dict[str, Json] = {"$if": self.condition.to_json(), "then": self.then.to_json()}
        if self.otherwise is not None:
            document["else"] = self.otherwise.to_json()
        return document

    def children(self) -> Iterator[Child]:
        """The condition and both branches."""
        yield ("$if",), self.condition
        yield ("then",), self.then
        if self.otherwise is not None:
            yield ("else",), self.otherwise


class Coalesce(Expression):
    """``$coalesce``: the first operand that is not null; a failing operand ends it."""

    __slots__ = ("operands",)

    def __init__(self, operands: Sequence[Expression]) -> None:
        self.operands = tuple(operands)

    def resolve(self, scope: Scope) -> object:
        """The first value that is not null, or the first failure."""
        for operand in self.operands:
            value = operand.resolve(scope)
            if value is not None:
                return value
        return None

    def to_json(self) -> Json:
        """The list of the operands."""
        return {"$coalesce": [operand.to_json() for operand in self.operands]}

    def children(self) -> Iterator[Child]:
        """The operands."""
        return ((("$coalesce", index), operand) for index, operand in enumerate(self.operands))


class StepReference(Expression):
    """``$step``: the result of a step, or a part of it."""

    __slots__ = ("_needs", "path", "step")

    KEY: ClassVar[PathParts] = ("$step",)
    """Where the id stands in the JSON of the reference."""

    def __init__(self, step: str, path: PathParts) -> None:
        self.step = step
        self.path = path
        self._needs = Needs(frozenset((step,)))

    def resolve(self, scope: Scope) -> object:
        """The step's result, or the part at the path; from a null result always null."""
        value = scope.step(self.step)
        if value is PENDING:
            return self._needs
        if value is UNKNOWN:
            return Failure(UNKNOWN_STEP, f"Unknown step: {self.step}")
        # Any path into a null result gives null; the failure of a step is the failure of the reference.
        if not self.path or value is None or value.__class__ is Failure:
            return value
        found = follow(value, self.path)
        if found is MISSING:
            return Failure(VALUE_NOT_FOUND, f"Path {format_path(self.path)} not found")
        return found

    def to_json(self) -> Json:
        """``$step`` and, where it is not the whole, ``path``."""
        if not self.path:
            return {"$step": self.step}
        return {"$step": self.step, "path": format_path(self.path)}


class InputReference(Expression):
    """``$input``: the input of the flow, or a part of it."""

    __slots__ = ("path",)

    def __init__(self, path: PathParts) -> None:
        self.path = path

    def resolve(self, scope: Scope) -> object:
        """The input, or the part at the path."""
        found = follow(scope.input, self.path)
        if found is MISSING:
            return Failure(VALUE_NOT_FOUND, f"Input path {format_path(self.path)} not found")
        return found

    def to_json(self) -> Json:
        """``$input`` with its path."""
        return {"$input": format_path(self.path)}


class VariableReference(Expression):
    """``$variable``: a variable of the run, or a part of it.

    Args:
        path: The name of the variable, then the path into its value.
        declared: The default that the schema of the variable states or implies (section c.7), else `MISSING`.
        default: What to evaluate where neither a given nor a declared value has the path.
    """

    __slots__ = ("declared", "default", "path")

    KEY: ClassVar[PathParts] = ("$variable",)
    """Where the name stands in the JSON of the reference."""

    def __init__(self, path: PathParts, declared: Json | Missing, default: Expression | None) -> None:
        self.path = path
        self.declared = declared
        self.default = default

    @property
    def name(self) -> str | None:
        """The name of the variable; none where the path does not start with a field."""
        first = self.path[0] if self.path else None
        return first if isinstance(first, str) else None

    def resolve(self, scope: Scope) -> object:
        """The value given, else the declared one, else the default (section b.3)."""
        name = self.name
        if name is None:
            problem = "Variable name must be a string" if self.path else "Variable path is empty"
            return Failure(ENGINE_ERROR, problem)
        value = scope.variable(name)
        if value is MISSING:
            value = self.declared
        if value is not MISSING:
            value = follow(value, self.path[1:])
        if value is not MISSING:
            return value
        if self.default is not None:
            return self.default.resolve(scope)
        return Failure(VALUE_NOT_FOUND, f"Undefined variable: {name}")

    def to_json(self) -> Json:
        """``$variable`` and, where given, ``default``."""
        document: dict[str, Json] = {"$variable": format_path(self.path)}
        if self.default is not None:
            document["default"] = self.default.to_json()
        return document

    def children(self) -> Iterator[Child]:
        """The default."""
        if self.default is not None:
            yield ("default",), self.default


def walk(expression: Expression, path: PathParts = ()) -> Iterator[Child]:
    """Every node of the tree with its place in the document, parents first, untaken branches too."""
    yield path, expression
    for place, child in expression.children():
        yield from walk(child, path + place)


def referenced_steps(expression: Expression) -> frozenset[str]:
    """The ids of all steps that an expression mentions, in whatever branch."""
    return frozenset(node.step for _, node in walk(expression) if isinstance(node, StepReference))


def sure_needs(expression: Expression) -> tuple[frozenset[str], list[Expression]] | None:
    """The ids of the steps that an expression needs whatever their results are; None where values decide on them.

    The second part of the result may fail though no step is looked at: as long as nothing of it does, the expression
    needs all of those steps and needs them at once.
    """
    nodes = [node for _, node in walk(expression)]
    steps = frozenset(node.step for node in nodes if isinstance(node, StepReference))
    fallible = [node for node in nodes if not isinstance(node, _NEVER_FAIL) and not _is_whole_input(node)]
    if not steps:
        return steps, [expression] if fallible else []
    plain = all(isinstance(node, (InputReference, VariableReference)) and not any(node.children()) for node in fallible)
    return (steps, fallible) if plain else None


# Of themselves: what is in them may.
_NEVER_FAIL = (StepReference, ArrayExpression, ObjectExpression, Constant)


def _is_whole_input(node: Expression) -> bool:
    return isinstance(node, InputReference) and not node.path
