"""Reading annotations: strings are evaluated where they were written, type variables get their values."""

import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from types import FrameType, FunctionType, GenericAlias, UnionType
from typing import Any, TypeVar, get_args, get_origin

__all__ = ["Scope", "class_hints", "substitute", "type_name"]


class Scope:
    """Where the names in annotations are looked up: module globals and the locals of enclosing functions.

    Args:
        function: The function whose annotations are read, if any.
        frame: The frame that the decorator was called from; its locals are only read while this object lives.
    """

    def __init__(self, function: Callable[..., Any] | None = None, frame: FrameType | None = None) -> None:
        self.globals: dict[str, Any] = getattr(function, "__globals__", {})
        self.module: str | None = getattr(function, "__module__", None)
        self.locals: dict[str, Any] = {}
        self._add_frames(frame)
        if isinstance(function, FunctionType):
            for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
                try:
                    self.locals[name] = cell.cell_contents
                except ValueError:  # the enclosing function has not assigned it yet
                    continue

    def _add_frames(self, frame: FrameType | None) -> None:
        # Annotations may name what any enclosing function defined. Frames tell callers, not enclosing
        # functions; of one module they are mostly the same, and inner names win.
        frames: list[FrameType] = []
        while frame is not None and len(frames) < 50:
            if frame.f_globals is self.globals and frame.f_locals is not frame.f_globals:
                frames.append(frame)
            frame = frame.f_back
        for found in reversed(frames):
            self.locals.update(found.f_locals)

    def evaluate(self, annotation: Any) -> Any:
        """Return an annotation with every string in it evaluated.

        Raises:
            NameError: A name is not known here.
            SyntaxError: A string is no expression.
            TypeError: It is no annotation.
        """
        return _evaluate({"value": annotation}, self.globals, self.locals)["value"]

    def for_class(self, cls: type) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the globals and locals that the annotations of a class may name."""
        module = sys.modules.get(cls.__module__)
        # Locals are those of the decorator's surroundings: they mean nothing to classes of other modules.
        locals_ = self.locals if cls.__module__ == self.module else {}
        return (vars(module) if module else {}), {**locals_, **vars(cls)}


def class_hints(annotation: Any, scope: Scope) -> dict[str, Any]:
    """Return the fields of a class with their annotations, generics filled in.

    Args:
        annotation: The class, or a parametrised one such as ``Box[int]``.
        scope: Where strings are evaluated.

    Raises:
        NameError: An annotation names something unknown.
    """
    cls: type = get_origin(annotation) or annotation
    values = _variables(annotation)
    if typing.is_typeddict(cls):
        # A TypedDict has no bases at run time: its annotations are merged, and so must its variables be.
        values = {cls: {variable: value for found in values.values() for variable, value in found.items()}}
    hints: dict[str, Any] = {}
    # From the root down, so that a subclass overrides the annotation but keeps the place of the field.
    for base in reversed(cls.__mro__):
        own = inspect.get_annotations(base)
        if own:
            evaluated = _evaluate(own, *scope.for_class(base))
            hints.update({name: substitute(hint, values.get(base, {})) for name, hint in evaluated.items()})
    return hints


def _evaluate(annotations: Mapping[str, Any], globals_: dict[str, Any], locals_: Mapping[str, Any]) -> dict[str, Any]:
    if all(map(_is_plain, annotations.values())):
        return dict(annotations)
    # get_type_hints reads classes, modules and functions; of a class it would also read the bases.
    holder = type("_Annotated", (), {"__annotations__": dict(annotations)})
    return typing.get_type_hints(holder, globals_, dict(locals_), include_extras=True)


def _is_plain(annotation: Any) -> bool:
    """Whether no string can hide in an annotation: most are a class, or a container of them."""
    if isinstance(annotation, GenericAlias):
        return all(isinstance(argument, type) for argument in annotation.__args__)
    return isinstance(annotation, type)


def _variables(annotation: Any) -> dict[Any, dict[Any, Any]]:
    """Return what the type variables of a class and of each of its bases stand for."""
    found: dict[Any, dict[Any, Any]] = {}
    waiting = [annotation]
    while waiting:
        current = waiting.pop()
        cls = get_origin(current) or current
        parameters = getattr(cls, "__parameters__", ())
        found[cls] = dict(zip(parameters, get_args(current), strict=False))
        for base in getattr(cls, "__orig_bases__", getattr(cls, "__bases__", ())):
            origin = get_origin(base) or base
            # Generic and Protocol only declare the variables.
            if origin not in (typing.Generic, typing.Protocol, object) and isinstance(origin, type):
                waiting.append(substitute(base, found[cls], keep=True))
    return found


def substitute(annotation: Any, values: Mapping[Any, Any], *, keep: bool = False) -> Any:
    """Return an annotation with its type variables replaced.

    A variable without a value becomes its bound, the union of its constraints, or Any; with ``keep`` it stays.
    """
    if isinstance(annotation, TypeVar):
        if annotation in values:
            return values[annotation]
        return annotation if keep else _fallback(annotation)
    parameters = getattr(annotation, "__parameters__", ())
    if not parameters or isinstance(annotation, type):
        return annotation
    return annotation[tuple(substitute(parameter, values, keep=keep) for parameter in parameters)]


def _fallback(variable: TypeVar) -> Any:
    if variable.__bound__ is not None:
        return variable.__bound__
    if variable.__constraints__:
        return typing.Union[variable.__constraints__]  # noqa: UP007 - of a tuple
    return Any


def type_name(annotation: Any) -> str:
    """Return an annotation as a message shows it."""
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__qualname__.rpartition("<locals>.")[2]
    origin = get_origin(annotation)
    if isinstance(origin, type) and origin not in {UnionType, typing.Annotated}:
        return f"{type_name(origin)}[{', '.join(type_name(argument) for argument in get_args(annotation))}]"
    text = repr(annotation).replace("typing.", "")
    return text if len(text) <= 100 else f"{text[:99]}…"
