"""What a user writes in a signature to say where a parameter comes from."""

from types import NoneType, UnionType
from typing import Annotated, Any, TypeAlias, TypeVar, Union, get_args, get_origin

__all__ = ["Input", "PathParam", "injected_class", "marker_of"]

T = TypeVar("T")


class _Marker:
    """One of the two marks; type checkers see only what is marked."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


_INPUT = _Marker("Input")
_PATH_PARAM = _Marker("PathParam")

Input: TypeAlias = Annotated[T, _INPUT]
"""``Input[T]``: this parameter is the whole input of the component, whatever its type and name."""

PathParam: TypeAlias = Annotated[T, _PATH_PARAM]
"""``PathParam[T]``: this parameter is a part of the component's path, such as ``model`` in ``/models/{model}``."""


def marker_of(annotation: Any) -> str | None:
    """Return "Input" or "PathParam" when an annotation is marked so."""
    if get_origin(annotation) is Annotated:
        for item in get_args(annotation)[1:]:
            if isinstance(item, _Marker):
                return item.name
    return None


def injected_class(annotation: Any) -> type | None:
    """Return the class that the server injects for an annotation, None when the value comes with the input.

    Such a class says so itself, in its attribute ``__stepflow_injectable__``: "async" when it is for ``async
    def``, "thread" when it is for ``def``. Returned is the class that has the attribute, also for a subclass,
    a parametrised class and an optional one.
    """
    # A context may be optional, for a function that is also called from elsewhere.
    optional = get_origin(annotation) in {Union, UnionType} and NoneType in get_args(annotation)
    for part in get_args(annotation) if optional else (annotation,):
        cls = get_origin(part) or part
        if isinstance(cls, type) and hasattr(cls, "__stepflow_injectable__"):
            return next(base for base in cls.__mro__ if "__stepflow_injectable__" in vars(base))
    return None
