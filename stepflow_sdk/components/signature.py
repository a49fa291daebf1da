"""Reading a function's signature: where each parameter comes from, and what cannot be served."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

from msgspec import Struct

from stepflow_sdk.errors import InvalidSignature

from .annotations import Scope
from .classes import is_object_like
from .markers import injected_class, marker_of

__all__ = ["EMPTY", "Parameter", "Signature", "check_callable", "read_signature"]

EMPTY: Any = inspect.Parameter.empty
"""The default of a parameter that has none."""

_GENERATORS = (inspect.isgeneratorfunction, inspect.isasyncgenfunction)


class Parameter(Struct, frozen=True):
    """One parameter of a component.

    Attributes:
        name: Its name.
        role: Where its value comes from: the whole "input", a "field" of the input, the "path", or "injected".
        annotation: Its evaluated type; `Any` when there is none. For "injected", the class.
        default: Its default, `EMPTY` when it has none.
        keyword: Whether it can only be passed by name.
    """

    name: str
    role: Literal["input", "field", "path", "injected"]
    annotation: Any
    default: Any
    keyword: bool


class Signature(Struct, frozen=True):
    """What a function takes and gives.

    Attributes:
        parameters: All parameters in order.
        returns: The evaluated type of the output; `Any` when it is not annotated.
        is_async: Whether a call gives a coroutine.
    """

    parameters: Sequence[Parameter]
    returns: Any
    is_async: bool

    def of(self, role: str) -> list[Parameter]:
        """Return the parameters of one role."""
        return [parameter for parameter in self.parameters if parameter.role == role]


def read_signature(
    function: Callable[..., Any], scope: Scope, *, label: str, path_names: Sequence[str], in_thread: bool
) -> Signature:
    """Read a function's signature.

    Args:
        function: Any callable but a class.
        scope: Where its annotations are evaluated.
        label: What messages call it.
        path_names: The parameters in its component path.
        in_thread: Whether a ``def`` runs in a worker thread.

    Raises:
        InvalidSignature: The function cannot be served; the message names the parameter and the fix.
    """
    try:
        plain = inspect.signature(function)
    except NameError as error:
        raise InvalidSignature(f"{label}: {_unknown_name(error)}") from error
    except (ValueError, TypeError) as error:
        raise InvalidSignature(f"{label} has no signature that can be read; wrap it in a function") from error
    is_async = _is_async(function)
    parameters = [_evaluated(parameter, scope, label) for parameter in plain.parameters.values()]
    # All checks come before any schema is made: they name the simplest fix.
    for name, annotation, _ in parameters:
        _check_injected(name, annotation, label, is_async=is_async, in_thread=in_thread)
    _check_path_names(parameters, path_names, label)
    whole = _whole_input(parameters, label)
    returns = (
        Any if plain.return_annotation is EMPTY else _evaluate(plain.return_annotation, "the output", scope, label)
    )
    return Signature([_parameter(*part, whole=whole) for part in parameters], returns, is_async)


def check_callable(function: Any, label: str) -> None:
    """Raise InvalidSignature for what no component can be made of: classes, generators, other objects."""
    if isinstance(function, classmethod):
        raise InvalidSignature(f"{label} is a classmethod without its class; register the bound method instead")
    if not callable(function):
        raise InvalidSignature(f"{label} is not callable; decorate a function")
    if isinstance(function, type):
        raise InvalidSignature(f"{label} is a class; decorate a function that makes and uses it")
    # A partial is what it calls.
    called: Any = getattr(function, "func", function)
    call = called if inspect.isroutine(called) else type(called).__call__
    if any(is_generator(call) for is_generator in _GENERATORS):
        raise InvalidSignature(f"{label} is a generator; a component has one output: return a list instead")


def _is_async(function: Any) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.iscoroutinefunction(function) or inspect.isroutine(function):
        return inspect.iscoroutinefunction(function)
    return inspect.iscoroutinefunction(type(function).__call__)


_Evaluated = tuple[str, Any, inspect.Parameter]


def _evaluated(parameter: inspect.Parameter, scope: Scope, label: str) -> _Evaluated:
    if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
        star = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
        raise InvalidSignature(
            f"{label}: parameter '{star}{parameter.name}' takes any number of arguments, which no schema can name; "
            "declare each parameter, or take one `input: dict`"
        )
    if parameter.annotation is EMPTY:
        if parameter.name in {"self", "cls"} and parameter.default is EMPTY:
            raise InvalidSignature(
                f"{label}: parameter {parameter.name!r} is that of a method without its instance; "
                "register the bound method, such as `server.component('path')(instance.method)`"
            )
        return parameter.name, Any, parameter
    where = f"parameter {parameter.name!r}"
    return parameter.name, _evaluate(parameter.annotation, where, scope, label), parameter


def _evaluate(annotation: Any, where: str, scope: Scope, label: str) -> Any:
    try:
        evaluated = scope.evaluate(annotation)
    except NameError as error:
        raise InvalidSignature(f"{label}: {where}: {_unknown_name(error)}") from error
    except Exception as error:  # evaluating an annotation runs code of the user
        raise InvalidSignature(f"{label}: {where}: the annotation {annotation!r} cannot be read: {error}") from error
    if isinstance(evaluated, list | dict | set | tuple):
        raise InvalidSignature(
            f"{label}: {where}: the annotation {evaluated!r} is no type; write list[...] or the like"
        )
    return evaluated


def _unknown_name(error: NameError) -> str:
    return (
        f"its annotation names {error.name or str(error)!r}, which is not known here; define it before the "
        "decorator runs, and import it outside of `if TYPE_CHECKING:`"
    )


def _check_injected(name: str, annotation: Any, label: str, *, is_async: bool, in_thread: bool) -> None:
    cls = injected_class(annotation)
    if cls is None:
        return
    wanted = getattr(cls, "__stepflow_injectable__", "")
    where = f"{label}: parameter {name!r}: {cls.__name__}"
    if wanted == "async" and not is_async:
        raise InvalidSignature(
            f"{where} is for `async def`; make {label} an `async def`, or annotate the parameter with BlockingContext"
        )
    if wanted == "thread" and is_async:
        raise InvalidSignature(
            f"{where} would block the event loop in `async def`; annotate the parameter with StepflowContext"
        )
    if wanted == "thread" and not in_thread:
        raise InvalidSignature(
            f"{where} would block the event loop with run_in_thread=False; drop that, or make {label} an `async def`"
        )


def _check_path_names(parameters: Sequence[_Evaluated], path_names: Sequence[str], label: str) -> None:
    marked = [name for name, annotation, _ in parameters if marker_of(annotation) == "PathParam"]
    for name in marked:
        if name not in path_names:
            raise InvalidSignature(
                f"{label}: parameter {name!r} is a PathParam, but the component's path has no '{{{name}}}'; "
                "name it in the path, or drop the PathParam"
            )
    for name in path_names:
        if name not in marked:
            raise InvalidSignature(
                f"{label}: the path names '{{{name}}}', but no parameter of that name is a PathParam; "
                f"add `{name}: PathParam[str]`"
            )


def _whole_input(parameters: Sequence[_Evaluated], label: str) -> str | None:
    """Return the name of the parameter that is the whole input, None when each is a field of it.

    The input rule: a parameter marked `Input` is the whole input; so is a single one that is object-like or
    that is named ``input``.
    """
    rest = [
        (name, annotation)
        for name, annotation, _ in parameters
        if injected_class(annotation) is None and marker_of(annotation) != "PathParam"
    ]
    marked = [name for name, annotation in rest if marker_of(annotation) == "Input"]
    if marked and len(rest) > 1:
        others = ", ".join(repr(name) for name, _ in rest if name != marked[0])
        raise InvalidSignature(
            f"{label}: parameter {marked[0]!r} is the whole Input, so nothing is left for {others}; "
            "keep one of them, or drop the Input"
        )
    if len(rest) != 1:
        return None
    name, annotation = rest[0]
    return name if marked or name == "input" or is_object_like(annotation) else None


def _parameter(name: str, annotation: Any, plain: inspect.Parameter, *, whole: str | None) -> Parameter:
    keyword = plain.kind is plain.KEYWORD_ONLY
    injected = injected_class(annotation)
    if injected is not None:
        return Parameter(name, "injected", injected, plain.default, keyword)
    if marker_of(annotation) == "PathParam":
        return Parameter(name, "path", get_args(annotation)[0], plain.default, keyword)
    return Parameter(name, "input" if name == whole else "field", annotation, plain.default, keyword)
