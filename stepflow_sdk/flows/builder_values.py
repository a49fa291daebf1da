"""Value expressions written in Python."""

from typing import Any, ClassVar, NoReturn

from stepflow_sdk.errors import InvalidFlow, InvalidValue
from stepflow_sdk.flows.paths import format_path, parse_path, show_path
from stepflow_sdk.flows.values import MISSING, Json, Missing, PathParts, plain


class Value:
    """A value that is known when the flow runs: an expression of the flow format (section b).

    Make one with the static methods, and put it anywhere into the input of a step or the output of a flow,
    also deep inside of dicts and lists. A plain dict means what it means in a flow document: where it has a key
    such as ``$step`` it is an expression too, and `Value.literal` hands it on untouched.

    What is not known before the flow runs cannot be tested or formatted in Python: use `Value.cond` and
    `Value.coalesce`, and a component to make text.
    """

    __slots__ = ("_document",)

    def __init__(self, document: Json) -> None:
        self._document = document

    def to_json(self) -> Json:
        """The expression as it stands in a flow document."""
        return self._document

    @staticmethod
    def input(path: str | None = None) -> "Reference":
        """The input of the flow, or the part of it at a path such as ``"name"`` or ``"$.items[0]"``."""
        return Reference("$input", None, _parts(path))

    @staticmethod
    def step(step_id: str, path: str | None = None) -> "Reference":
        """The result of a step by its id; the handle that `FlowBuilder.step` gives says the same more safely."""
        return Reference("$step", step_id, _parts(path))

    @staticmethod
    def variable(name: str, path: str | None = None, *, default: object = MISSING) -> "Reference":
        """A variable of the run, or a part of it; the default counts where neither run nor schema has one."""
        return Reference("$variable", None, (name, *_parts(path)), default)

    @staticmethod
    def literal(value: object) -> "Value":
        """A JSON value that is handed on as it is, also where it looks like an expression."""
        return Value({"$literal": to_document(value, "a literal", values=False)})

    @staticmethod
    def cond(if_: object, then: object, else_: object = None) -> "Value":
        """``then`` unless the condition is false or null, or fails; otherwise ``else_``."""
        document = {"$if": to_document(if_), "then": to_document(then)}
        if else_ is not None:
            document["else"] = to_document(else_)
        return Value(document)

    @staticmethod
    def coalesce(*operands: object) -> "Value":
        """The first operand that is not null; null if all are."""
        return Value({"$coalesce": [to_document(operand) for operand in operands]})

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.to_json()!r}>"

    def __bool__(self) -> NoReturn:
        raise TypeError(f"{self!r} is known when the flow runs, not before; use Value.cond or Value.coalesce")

    def __format__(self, format_spec: str) -> NoReturn:
        raise TypeError(f"{self!r} cannot be put into a string: let a component make the text")


class Reference(Value):
    """A reference to an input, a step's result or a variable; ``reference["field"][0]`` is a part of it."""

    __slots__ = ("_default", "_kind", "_parts", "_step")

    # Python would take __getitem__ for a sequence and never stop.
    __iter__: ClassVar[None] = None
    __contains__: ClassVar[None] = None

    def __init__(self, kind: str, step: str | None, parts: PathParts, default: object = MISSING) -> None:
        document: dict[str, Json] = {kind: step if kind == "$step" else _path(parts)}
        if kind == "$step" and parts:
            document["path"] = _path(parts)
        if default is not MISSING:
            document["default"] = to_document(default)
        super().__init__(document)
        self._kind = kind
        self._step = step
        self._parts = parts
        self._default = default

    def __getitem__(self, part: str | int) -> "Reference":
        if isinstance(part, bool) or not isinstance(part, (str, int)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"a part is a field name or an index, not {part!r}")
        if isinstance(part, int) and part < 0:
            raise IndexError("flows count indexes from the start; a negative one has no meaning")
        return Reference(self._kind, self._step, (*self._parts, part), self._default)


class StepHandle(Reference):
    """The result of a step of a flow under construction.

    Attributes:
        id: The id of the step.
    """

    __slots__ = ("id",)

    def __init__(self, step_id: str) -> None:
        super().__init__("$step", step_id, ())
        self.id = step_id


def to_document(value: object, what: str = "the value", *, values: bool = True) -> Json:
    """Turn Python values with `Value` somewhere inside into the JSON of a document.

    Raises:
        InvalidFlow: There is something in it that is neither JSON nor a `Value`.
    """
    try:
        return plain(value, unwrap=_unwrap if values else None)
    except InvalidValue as error:
        place: Any = error.data["path"]
        raise InvalidFlow(f"{what} at {show_path(tuple(place))}: {error.message}") from None


def _unwrap(value: object) -> Json | Missing:
    return value.to_json() if isinstance(value, Value) else MISSING


def _parts(path: str | None) -> PathParts:
    try:
        return parse_path(path)
    except ValueError as error:
        raise InvalidFlow(str(error)) from None


def _path(parts: PathParts) -> str:
    try:
        return format_path(parts)
    except ValueError as error:
        raise InvalidFlow(str(error)) from None
