"""From an annotation to the kind of its values: one table, one method for each family of types."""

import enum
import types
import typing
from collections import abc
from collections.abc import Callable, Mapping
from datetime import datetime, time
from typing import Any, ForwardRef, Literal, NewType, TypeVar, get_args, get_origin

import msgspec

from stepflow_sdk.errors import InvalidSignature

from . import classes
from .annotations import Scope, substitute, type_name
from .assertions import Asserted
from .constraints import NO_CONSTRAINTS, Constraints, read_constraints
from .containers import Array, Dictionary, Fixed
from .kinds import Anything, Described, Kind, Named
from .scalars import Boolean, Choice, Integer, Null, Number, Scalar, Text
from .texts import ENCODED, encoded_bytes, encoded_datetime, encoded_time, integer_key
from .unions import Union

__all__ = ["Recognizer"]

_LISTS: tuple[Any, ...] = (
    *(list, abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable, abc.Reversible, abc.Container),
)
_SETS: tuple[Any, ...] = (set, abc.MutableSet)
_FROZEN_SETS: tuple[Any, ...] = (frozenset, abc.Set)
_DICTS: tuple[Any, ...] = (dict, abc.Mapping, abc.MutableMapping)

# What sort of constraint each plain type understands; see `Constraints.asked`.
_SORTS: dict[Any, frozenset[str]] = {
    int: frozenset({"number"}),
    float: frozenset({"number"}),
    str: frozenset({"length", "pattern"}),
    datetime: frozenset({"tz"}),
    time: frozenset({"tz"}),
    **dict.fromkeys((*_LISTS, *_SETS, *_FROZEN_SETS, *_DICTS), frozenset({"length"})),
}


class Recognizer:
    """Reads annotations into kinds; classes that it has read before are shared, so that types may recur.

    Args:
        scope: Where the names in annotations are looked up.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._named: dict[Any, Named] = {}

    def kind(self, annotation: Any, constraints: Constraints = NO_CONSTRAINTS) -> Kind:
        """Return the kind of an annotation.

        Raises:
            InvalidSignature: The type cannot be served; the message tells the type and the fix.
        """
        if isinstance(annotation, str | ForwardRef):
            annotation = self.scope.evaluate(annotation)
        if get_origin(annotation) is typing.Annotated:
            inner, *metadata = get_args(annotation)
            return self._annotated(inner, read_constraints(metadata))
        if isinstance(annotation, NewType):
            return self.kind(annotation.__supertype__, constraints)
        if isinstance(annotation, TypeVar):
            return self.kind(substitute(annotation, {}), constraints)
        origin = get_origin(annotation)
        if type(annotation).__name__ == "TypeAliasType" or type(origin).__name__ == "TypeAliasType":
            return self._alias(annotation)
        if origin in {typing.Union, types.UnionType}:
            return self._union(annotation, constraints)
        self._check_constraints(annotation, constraints)
        return self._plain(annotation, origin or annotation, get_args(annotation), constraints)

    def named(self, annotation: Any, name: str, full_name: str, make: Callable[[], Kind]) -> Named:
        """Return the named kind of an annotation, made once; what it is made of may refer to it."""
        # Metadata in a parametrised class may be unhashable; what it looks like tells it well enough.
        key = annotation if _has_hash(annotation) else repr(annotation)
        found = self._named.get(key)
        if found is None:
            found = self._named[key] = Named(name, full_name)
            found.target = make()
        return found

    def _annotated(self, inner: Any, constraints: Constraints) -> Kind:
        kind = self.kind(inner, constraints.values_only())
        if constraints.assertions:
            kind = Asserted(kind, constraints.assertions, type_name(inner))
        if constraints.keywords or constraints.foreign:
            kind = Described(kind, constraints.keywords)
            kind.exact = not constraints.foreign
        return kind

    def _alias(self, alias: Any) -> Kind:
        origin = get_origin(alias) or alias
        values = dict(zip(getattr(origin, "__type_params__", ()), get_args(alias), strict=False))
        name = classes.definition_name(type_name(alias).rpartition(".")[2])
        full_name = f"{getattr(origin, '__module__', '')}.{name}"
        return self.named(alias, name, full_name, lambda: self.kind(substitute(origin.__value__, values)))

    def _check_constraints(self, annotation: Any, constraints: Constraints) -> None:
        if constraints is NO_CONSTRAINTS:
            return
        unknown = constraints.asked() - _SORTS.get(get_origin(annotation) or annotation, frozenset())
        if unknown:
            asked = " and ".join(sorted(unknown))
            raise InvalidSignature(
                f"{type_name(annotation)} cannot carry a constraint on its {asked}; "
                "put the constraint on a type that has one, or check the value in the function"
            )

    def _plain(self, annotation: Any, origin: Any, args: tuple[Any, ...], constraints: Constraints) -> Kind:
        if origin is Literal:
            return _literal(args)
        simple = _SIMPLE.get(origin)
        if simple is not None:
            return simple(constraints)
        container = self._container(annotation, origin, args, constraints)
        if container is not None:
            return container
        if isinstance(origin, type) and issubclass(origin, enum.Enum):
            return self._enum(origin)
        found = classes.recognize(annotation, self)
        if found is not None:
            return found
        raise InvalidSignature(
            f"{type_name(annotation)} has no JSON form here; use a msgspec.Struct, a dataclass, a TypedDict, "
            "a pydantic model or a plain type instead, and convert inside the function"
        )

    def _container(self, annotation: Any, origin: Any, args: tuple[Any, ...], constraints: Constraints) -> Kind | None:
        lengths: dict[str, Any] = {"shortest": constraints.shortest, "longest": constraints.longest}
        if origin is tuple:
            return self._tuple(args, bare=not hasattr(annotation, "__args__"))
        if origin in _DICTS:
            keys, values = args or (str, Any)
            return Dictionary(self._key(keys, annotation), self.kind(values), **lengths)
        if origin in _LISTS:
            return Array(self.kind(args[0] if args else Any), list, **lengths)
        if origin in _SETS or origin in _FROZEN_SETS:
            item = args[0] if args else Any
            if item in {Any, object}:
                items: Kind = Scalar()
            elif not is_hashable(item):
                raise InvalidSignature(
                    f"{type_name(annotation)} cannot be built: {type_name(item)} is not hashable; "
                    "use list instead of set, or make the class frozen"
                )
            else:
                items = self.kind(item)
            return Array(items, set if origin in _SETS else frozenset, unique=True, **lengths)
        return None

    def _tuple(self, args: tuple[Any, ...], *, bare: bool) -> Kind:
        if len(args) == 2 and args[1] is Ellipsis:
            return Array(self.kind(args[0]), tuple)
        if bare:
            return Array(Anything(), tuple)
        return Fixed([self.kind(arg) for arg in args])

    def _key(self, annotation: Any, whole: Any) -> Kind | None:
        """Return the kind of a dictionary's keys, None for any string."""
        if annotation in {str, Any, object}:
            return None
        kind = self.kind(annotation)
        if kind.takes() == frozenset({"integer"}) and not isinstance(kind, Named):
            return integer_key(kind)
        if kind.takes() != frozenset({"string"}) or not is_hashable(annotation):
            raise InvalidSignature(
                f"the keys of {type_name(whole)} have no form as text; JSON keys are strings: "
                "use str, int, an Enum or Literal of strings, a date or a UUID, or a list of pairs"
            )
        return kind

    def _enum(self, cls: type[enum.Enum]) -> Kind:
        values = [(member.value, member) for member in cls]
        wrong = [value for value, _ in values if not isinstance(value, str | int | float | None)]
        if wrong or issubclass(cls, enum.Flag) or not values:
            raise InvalidSignature(
                f"{cls.__qualname__} has members that have no JSON form; use an Enum whose values are strings, "
                "numbers, booleans or None, and a list of it in place of a Flag"
            )
        # Some enums look for a member by themselves where the schema has none.
        exact = "_missing_" not in {name for base in cls.__mro__[:-1] for name in vars(base) if base is not enum.Enum}
        annotations = classes.annotations_of(cls)
        full_name = classes.definition_name(f"{cls.__module__}.{cls.__qualname__}")
        name = classes.definition_name(cls.__name__)
        return self.named(cls, name, full_name, lambda: Choice(values, exact=exact, annotations=annotations))

    def _union(self, annotation: Any, constraints: Constraints) -> Kind:
        # UNSET stands for an absent field, so it is no value of the union.
        members = [member for member in get_args(annotation) if member is not msgspec.UnsetType]
        understood: frozenset[str] = frozenset()
        kinds: list[Kind] = []
        for member in members:
            sorts = _SORTS.get(get_origin(member) or member, frozenset[str]())
            understood |= sorts
            kinds.append(self.kind(member, _only(constraints, sorts)))
        if constraints.asked() - understood:
            self._check_constraints(annotation, constraints)
        if len(kinds) == 1:
            return kinds[0]
        tag, tagged = self._tags(members, kinds)
        return Union(kinds, tag=tag, tagged=tagged)

    def _tags(self, members: list[Any], kinds: list[Kind]) -> tuple[str | None, Mapping[str | int, Kind]]:
        """Return what tells the members of a union of tagged structs apart, if that is what it is."""
        tagged: dict[str | int, Kind] = {}
        names: set[str] = set()
        for member, kind in zip(members, kinds, strict=True):
            tag = classes.tag_of(member)
            if tag is not None:
                if tag[1] in tagged:
                    raise InvalidSignature(
                        f"{type_name(member)} has the tag {tag[1]!r} of another class in the union; give it its own"
                    )
                tagged[tag[1]] = kind
                names.add(tag[0])
            elif classes.is_object_like(member):
                return None, {}
        if len(names) != 1 or len(tagged) < 2:
            return None, {}
        return names.pop(), tagged


def _has_hash(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def is_hashable(annotation: Any) -> bool:
    """Return whether every value of a type can be a member of a set."""
    origin = get_origin(annotation) or annotation
    if origin is typing.Annotated:
        return is_hashable(get_args(annotation)[0])
    if isinstance(annotation, NewType):
        return is_hashable(annotation.__supertype__)
    if origin is tuple or origin in {typing.Union, types.UnionType}:
        return all(is_hashable(arg) for arg in get_args(annotation) if arg is not Ellipsis)
    if origin is Literal or origin is None:
        return True
    if not isinstance(origin, type) or origin is object:
        return False
    return getattr(origin, "__hash__", None) is not None and not typing.is_typeddict(origin) and origin not in _LISTS


def _only(constraints: Constraints, sorts: frozenset[str]) -> Constraints:
    numbers = constraints.numeric if "number" in sorts else {}
    length = "length" in sorts
    return Constraints(
        numbers,
        constraints.shortest if length else None,
        constraints.longest if length else None,
        constraints.pattern if "pattern" in sorts else None,
        constraints.tz if "tz" in sorts else None,
    )


def _literal(args: tuple[Any, ...]) -> Kind:
    values: list[tuple[Any, Any]] = []
    for value in args:
        json_value = value.value if isinstance(value, enum.Enum) else value
        if not isinstance(json_value, str | int | float | None):
            raise InvalidSignature(
                f"Literal[{value!r}] has no JSON form; use strings, numbers, booleans or None, "
                "or take the text and decode it in the function"
            )
        values.append((json_value, value))
    exact = all(isinstance(value, str | int | None) and type(value) is not bool for value in args)
    return Choice(values, exact=exact)


def _text(constraints: Constraints) -> Kind:
    return Text(shortest=constraints.shortest, longest=constraints.longest, pattern=constraints.pattern)


def _always(kind: Kind) -> Callable[[Constraints], Kind]:
    return lambda _: kind


_SIMPLE: dict[Any, Callable[[Constraints], Kind]] = {
    **dict.fromkeys((Any, object), _always(Anything())),
    **dict.fromkeys((None, type(None)), _always(Null())),
    bool: _always(Boolean()),
    int: lambda constraints: Integer(constraints.numeric),
    float: lambda constraints: Number(constraints.numeric),
    str: _text,
    datetime: lambda constraints: encoded_datetime(constraints.tz),
    time: lambda constraints: encoded_time(constraints.tz),
    msgspec.Raw: _always(classes.RawJson()),
    bytes: _always(encoded_bytes(bytes)),
    bytearray: _always(encoded_bytes(bytearray)),
    memoryview: _always(encoded_bytes(memoryview)),
    **{cls: _always(kind) for cls, kind in ENCODED.items()},
}
