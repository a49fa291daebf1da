"""The kinds of classes with fields: structs, dataclasses, TypedDicts, NamedTuples, attrs classes, models."""

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, get_args, get_origin

import msgspec

from stepflow_sdk.errors import InvalidSignature

from .annotations import class_hints, type_name
from .docstrings import parse_docstring
from .kinds import Anything, Kind
from .models import Model, is_model
from .problems import Path, Report
from .records import ABSENT, Field, Record, Row
from .values import shown_default

if TYPE_CHECKING:
    from .recognition import Recognizer

__all__ = ["RawJson", "annotations_of", "definition_name", "is_object_like", "recognize", "tag_of"]


class RawJson(Anything):
    """Any JSON value, handed over as bytes that were not decoded."""

    def load(self, value: Any, path: Path, report: Report) -> Any:  # noqa: ARG002 - nothing can be wrong
        """See `Kind.load`."""
        return msgspec.Raw(msgspec.json.encode(value))


def recognize(annotation: Any, recognizer: "Recognizer") -> Kind | None:
    """Return the kind of a class with fields, None for any other type.

    Raises:
        InvalidSignature: A field, or the class as a whole, cannot be served.
    """
    cls: Any = get_origin(annotation) or annotation
    if not isinstance(cls, type):
        return None
    make = _maker(cls)
    if make is None:
        return None
    name = definition_name(type_name(annotation))
    return recognizer.named(
        annotation,
        name,
        definition_name(f"{cls.__module__}.{cls.__qualname__}"),
        lambda: make(annotation, cls, recognizer),
    )


def is_object_like(annotation: Any) -> bool:
    """Return whether a type is of objects, so that one value of it can be a whole input."""
    origin = get_origin(annotation) or annotation
    if origin is typing.Annotated:
        return is_object_like(get_args(annotation)[0])
    if isinstance(annotation, typing.NewType):
        return is_object_like(annotation.__supertype__)
    if type(origin).__name__ == "TypeAliasType":
        return is_object_like(origin.__value__)
    if origin in {typing.Union, types.UnionType}:
        members = [member for member in get_args(annotation) if member is not type(None)]
        return all(is_object_like(member) for member in members)
    if origin in {Any, object, dict, msgspec.Raw} or origin in _MAPPINGS:
        return True
    return isinstance(origin, type) and _maker(origin) not in {None, _named_tuple}


_MAPPINGS: tuple[Any, ...] = (get_origin(typing.Mapping), get_origin(typing.MutableMapping))


def tag_of(annotation: Any) -> tuple[str, str | int] | None:
    """Return the field and the value that tell a tagged struct apart, None for any other type."""
    cls = get_origin(annotation) or annotation
    if cls is typing.Annotated:
        return tag_of(get_args(annotation)[0])
    if not (isinstance(cls, type) and issubclass(cls, msgspec.Struct)):
        return None
    config = cls.__struct_config__
    return None if config.tag is None else (str(config.tag_field), config.tag)


def annotations_of(cls: type) -> dict[str, Any]:
    """Return title and description of a class for its schema."""
    annotations: dict[str, Any] = {"title": cls.__qualname__.rpartition("<locals>.")[2]}
    description = parse_docstring(_doc(cls)).description
    if description:
        annotations["description"] = description
    return annotations


def definition_name(name: str) -> str:
    """Return a name as it can stand in a ``$ref``."""
    # Nearly every name is one already, and no pattern is compiled for those.
    is_one = name.isascii() and name.replace(".", "_").isidentifier()
    return (name if is_one else re.sub(r"[^A-Za-z0-9_.-]+", "_", name)).strip("_")


def _doc(cls: type) -> str | None:
    doc = vars(cls).get("__doc__")
    # dataclasses, NamedTuples and enums write a docstring of their own when there is none.
    if not isinstance(doc, str) or doc == "An enumeration." or doc.startswith(f"{cls.__name__}("):
        return None
    return inspect.cleandoc(doc)


_Maker = Callable[[Any, type, "Recognizer"], Kind]


def _maker(cls: Any) -> _Maker | None:
    # The first family that a class belongs to has it.
    families: tuple[tuple[bool, _Maker], ...] = (
        (is_model(cls), _model),
        (issubclass(cls, msgspec.Struct), _struct),
        (hasattr(cls, "__dataclass_fields__"), _dataclass),
        (type(cls).__name__ == "_TypedDictMeta", _typed_dict),
        (tuple in cls.__mro__ and hasattr(cls, "_fields"), _named_tuple),
        (hasattr(cls, "__attrs_attrs__"), _attrs),
    )
    return next((make for belongs, make in families if belongs), None)


class _Hints:
    """The fields' kinds and descriptions of one class, with the class's name in every refusal."""

    def __init__(self, annotation: Any, cls: type, recognizer: "Recognizer") -> None:
        self._name = type_name(annotation)
        self._recognizer = recognizer
        self._hints: Mapping[str, Any] = class_hints(annotation, recognizer.scope)
        self._said = parse_docstring(_doc(cls)).names

    def names(self) -> list[str]:
        return list(self._hints)

    def hint(self, name: str) -> Any:
        return self._hints.get(name, Any)

    def field(self, attribute: str, *, required: bool, name: str | None = None, default: Any = ABSENT) -> Field:
        hint = _without_qualifiers(self.hint(attribute))
        try:
            kind = self._recognizer.kind(hint)
        except InvalidSignature as error:
            raise InvalidSignature(f"field {attribute!r} of {self._name}: {error}") from None
        return Field(
            name or attribute,
            attribute,
            kind,
            required=required,
            default=shown_default(default),
            description=self._said.get(attribute),
        )


def _without_qualifiers(hint: Any) -> Any:
    while getattr(get_origin(hint), "_name", None) in {"Required", "NotRequired", "ReadOnly", "Final"}:
        (hint,) = get_args(hint)
    return hint


def _struct(annotation: Any, cls: Any, recognizer: "Recognizer") -> Kind:
    hints = _Hints(annotation, cls, recognizer)
    config = cls.__struct_config__
    defaults: tuple[Any, ...] = cls.__struct_defaults__
    names: tuple[str, ...] = cls.__struct_fields__
    first = len(names) - len(defaults)
    fields: list[Field] = []
    for index, (attribute, name) in enumerate(zip(names, cls.__struct_encode_fields__, strict=True)):
        default = defaults[index - first] if index >= first else msgspec.NODEFAULT
        required = default is msgspec.NODEFAULT
        fields.append(hints.field(attribute, required=required, name=name, default=_default(default)))
    annotations = annotations_of(cls)
    if not config.array_like:
        return Record(fields, cls, annotations=annotations, closed=config.forbid_unknown_fields, tag=tag_of(annotation))
    if config.tag is not None:
        raise InvalidSignature(
            f"{cls.__qualname__} is both array_like and tagged, which a schema cannot tell; drop one of the two"
        )
    return Row(fields, cls, annotations=annotations, closed=config.forbid_unknown_fields)


def _default(default: Any) -> Any:
    """Return a struct's default as a value, `ABSENT` when it is made anew each time by user code."""
    if default is msgspec.NODEFAULT or default is msgspec.UNSET:
        return ABSENT
    factory: Any = getattr(default, "factory", None)
    if type(default).__name__ == "Factory" and factory is not None:
        return _made(factory)
    return default


def _made(factory: Any) -> Any:
    """Return what a default factory makes, when it is one whose call has no effects."""
    empty: dict[Any, Any] = {list: [], dict: {}, set: []}
    return empty.get(factory, ABSENT)


def _dataclass(annotation: Any, cls: Any, recognizer: "Recognizer") -> Kind:
    # Whoever has one has imported it; what has none shall not.
    import dataclasses

    hints = _Hints(annotation, cls, recognizer)
    if not cls.__dataclass_params__.init:
        raise InvalidSignature(f"{cls.__qualname__} is a dataclass with init=False; let dataclass write its __init__")
    for name in hints.names():
        if isinstance(hints.hint(name), dataclasses.InitVar):
            raise InvalidSignature(
                f"{cls.__qualname__}.{name} is an InitVar, which an output could not show again; make it a field"
            )
    # pydantic's dataclasses check and convert in their constructor, so it must be the one that is called.
    exact = not hasattr(cls, "__pydantic_validator__")
    fields: list[Field] = []
    for field in dataclasses.fields(cls):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        # Such a field is set by the class itself, so it is no part of the input.
        if not field.init:
            exact = False
            continue
        if field.name.startswith("_"):
            if required:
                raise InvalidSignature(f"{cls.__qualname__}.{field.name} is private; give the field a public name")
            exact = False
            continue
        if field.default is not dataclasses.MISSING and field.name not in getattr(cls, "__slots__", ()):
            # msgspec's decoder leaves a plain default to the class, where its own encoder does not see it.
            exact = False
        default: Any = _made(field.default_factory) if field.default is dataclasses.MISSING else field.default
        fields.append(hints.field(field.name, required=required, default=default))
    return Record(fields, cls, annotations=annotations_of(cls), exact=exact)


def _typed_dict(annotation: Any, cls: Any, recognizer: "Recognizer") -> Kind:
    hints = _Hints(annotation, cls, recognizer)
    fields: list[Field] = []
    for name in hints.names():
        # With `from __future__ import annotations` the class itself could not tell which keys are required.
        origin = get_origin(hints.hint(name))
        while getattr(origin, "_name", None) == "ReadOnly":
            origin = get_origin(get_args(hints.hint(name))[0])
        qualifier = getattr(origin, "_name", None)
        required = {"Required": True, "NotRequired": False}.get(str(qualifier), name in cls.__required_keys__)
        fields.append(hints.field(name, required=required))
    return Record(fields, dict, annotations=annotations_of(cls))


def _named_tuple(annotation: Any, cls: Any, recognizer: "Recognizer") -> Kind:
    hints = _Hints(annotation, cls, recognizer)
    defaults: Mapping[str, Any] = cls._field_defaults
    fields = [
        hints.field(name, required=name not in defaults, default=defaults.get(name, ABSENT)) for name in cls._fields
    ]
    return Row(fields, cls, annotations=annotations_of(cls), closed=True)


def _attrs(annotation: Any, cls: Any, recognizer: "Recognizer") -> Kind:
    hints = _Hints(annotation, cls, recognizer)
    fields: list[Field] = []
    for attribute in cls.__attrs_attrs__:
        if not attribute.init:
            continue
        default = attribute.default
        required = type(default).__name__ == "_Nothing"
        if attribute.name.startswith("_"):
            if required:
                raise InvalidSignature(f"{cls.__qualname__}.{attribute.name} is private; give it a public name")
            continue
        made = hasattr(default, "factory")
        shown = ABSENT if required or made else default
        field = hints.field(attribute.name, required=required, default=shown)
        # The constructor takes the alias.
        field.attribute = attribute.alias
        fields.append(field)
    # Converters and validators run in the constructor, which msgspec does not call.
    return Record(fields, cls, annotations=annotations_of(cls), exact=False)


def _model(annotation: Any, cls: Any, recognizer: "Recognizer") -> Kind:  # noqa: ARG001 - one of the makers
    return Model(annotation)
