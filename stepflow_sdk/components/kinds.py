"""What a kind of value is: its JSON Schema, and the exact check and conversion that agree with it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from .json_types import is_array, is_object
from .problems import Path, Report, shown

__all__ = [
    "ALL_TYPES",
    "Anything",
    "Definitions",
    "Described",
    "Kind",
    "Named",
    "bare",
    "reachable",
    "root_schema",
]

ALL_TYPES = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})


class Definitions:
    """The ``$defs`` of one schema: every named kind once, under a name of its own.

    Args:
        side: "input" or "output": the models of other libraries tell the two apart.
    """

    def __init__(self, side: str = "input") -> None:
        self.side = side
        self.schemas: dict[str, dict[str, Any]] = {}
        self._names: dict[int, str] = {}

    def reference(self, kind: "Named") -> dict[str, Any]:
        """Return a ``$ref`` to the schema of a named kind, which is added when it is new."""
        name = self._names.get(id(kind))
        if name is None:
            name = self.reserve(kind.name, kind.full_name)
            self._names[id(kind)] = name
            # The name is taken before the schema is made: a recursive kind refers to it meanwhile.
            self.schemas[name] = {}
            self.schemas[name] = kind.target.schema(self)
        return {"$ref": f"#/$defs/{name}"}

    def place(self, name: str, schema: dict[str, Any]) -> str:
        """Return a name for a schema that comes with one: its own when that is free or means the same."""
        if self.schemas.get(name, schema) == schema:
            self.schemas[name] = schema
            return name
        placed = self.reserve(name, name)
        self.schemas[placed] = schema
        return placed

    def reserve(self, name: str, full_name: str) -> str:
        """Return a name that is still free: the short one, the full one, or the full one with a number."""
        number = 1
        chosen = name
        while chosen in self.schemas:
            chosen = full_name if number == 1 else f"{full_name}_{number}"
            number += 1
        return chosen


class Kind(ABC):
    """One node of a type.

    Attributes:
        exact: Whether msgspec's decoder for the same annotation refuses whatever the schema refuses. It may
            refuse more: what it refuses is looked at again by `load`.
        pure: Whether values can be read without running code of the user.
        bounded: Whether it is a scalar with constraints.
    """

    exact: bool = True
    pure: bool = True
    bounded: bool = False
    _takes: frozenset[str] = ALL_TYPES
    _label: str = "a value"
    _keywords: Mapping[str, Any] = MappingProxyType({})

    def takes(self) -> frozenset[str]:
        """Return the JSON types that it accepts, by their JSON Schema names."""
        return self._takes

    def label(self) -> str:
        """Return what is expected, for messages: "an integer"."""
        return self._label

    def children(self) -> Sequence["Kind"]:
        """Return the kinds that this one is made of."""
        return ()

    def schema(self, definitions: Definitions) -> dict[str, Any]:  # noqa: ARG002 - kinds with children need it
        """Return the JSON Schema (2020-12) of exactly the values that `load` accepts."""
        return dict(self._keywords)

    @abstractmethod
    def load(self, value: Any, path: Path, report: Report) -> Any:
        """Convert a JSON value (as decoded without a type), and report everything that is wrong with it.

        The result means nothing when a problem was reported, or when the report does not build.
        """

    def refuse(self, value: Any, path: Path, report: Report) -> None:
        """Report that a value is not of this kind."""
        report.add(path, f"expected {self.label()}, got {shown(value)}")


class Anything(Kind):
    """Any JSON value, as it is."""

    def load(self, value: Any, path: Path, report: Report) -> Any:  # noqa: ARG002 - nothing can be wrong
        """See `Kind.load`."""
        return value


class Named(Kind):
    """A kind with a name of its own, so that it can be shared and refer to itself.

    It is made before its target is known: `target` is set once, while the annotation is read.
    """

    target: Kind

    def __init__(self, name: str, full_name: str) -> None:
        self.name = name
        self.full_name = full_name

    def takes(self) -> frozenset[str]:
        """See `Kind.takes`."""
        return self.target.takes()

    def label(self) -> str:
        """See `Kind.label`."""
        return self.target.label()

    def children(self) -> Sequence[Kind]:
        """See `Kind.children`."""
        return (self.target,)

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        """See `Kind.schema`."""
        return definitions.reference(self)

    def load(self, value: Any, path: Path, report: Report) -> Any:
        """See `Kind.load`."""
        return self.target.load(value, path, report)


class Described(Kind):
    """A kind with annotations of its own in the schema: a title, a description, examples."""

    def __init__(self, inner: Kind, keywords: Mapping[str, Any]) -> None:
        self.inner = inner
        self._keywords = keywords

    def takes(self) -> frozenset[str]:
        """See `Kind.takes`."""
        return self.inner.takes()

    def label(self) -> str:
        """See `Kind.label`."""
        return self.inner.label()

    def children(self) -> Sequence[Kind]:
        """See `Kind.children`."""
        return (self.inner,)

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        """See `Kind.schema`."""
        # Annotations beside a $ref are allowed since 2019-09.
        return {**self.inner.schema(definitions), **self._keywords}

    def load(self, value: Any, path: Path, report: Report) -> Any:
        """See `Kind.load`."""
        return self.inner.load(value, path, report)


def bare(kind: Kind) -> Kind:
    """Return the kind behind names and descriptions."""
    while True:
        if isinstance(kind, Named):
            kind = kind.target
        elif isinstance(kind, Described):
            kind = kind.inner
        else:
            return kind


def reachable(kind: Kind) -> Iterator[Kind]:
    """Yield a kind and all that it is made of, each once."""
    seen: set[int] = set()
    # A list and not recursion: types may refer to themselves.
    waiting = [kind]
    while waiting:
        current = waiting.pop()
        if id(current) not in seen:
            seen.add(id(current))
            yield current
            waiting.extend(current.children())


def root_schema(kind: Kind, side: str = "input") -> dict[str, Any]:
    """Return the whole schema of a kind, self-contained: what it refers to is in its ``$defs``."""
    definitions = Definitions(side)
    schema = kind.schema(definitions)
    reference = schema.pop("$ref", None)
    if reference is not None:
        # The root itself is written out, so that its properties stand where readers look for them.
        name = reference.removeprefix("#/$defs/")
        target = definitions.schemas[name]
        schema = {**target, **schema}
        if reference not in _references([schema, definitions.schemas]):
            del definitions.schemas[name]
    if definitions.schemas:
        schema["$defs"] = definitions.schemas
    return schema


def _references(tree: Any) -> set[str]:
    found: set[str] = set()
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if is_object(node):
            reference = node.get("$ref")
            if isinstance(reference, str):
                found.add(reference)
            waiting.extend(node.values())
        elif is_array(node):
            waiting.extend(node)
    return found
