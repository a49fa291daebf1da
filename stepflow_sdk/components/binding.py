"""Putting a call together: the input's values, the path's parameters and the injected objects, in order."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from stepflow_sdk.errors import InvalidInput
from stepflow_sdk.packed import Packed

from .kinds import Kind
from .problems import ROOT, Report
from .signature import Parameter

__all__ = ["Bind", "Bound", "PathReader", "Reading", "make_binder"]

Bound = Callable[[], Any]
Bind = Callable[[Any, Mapping[str, str], Mapping[type, Any]], Bound]
"""Takes the raw JSON of an input (not looked at when the component has no use for it), the texts of the parameters of
the path and an instance of each injected class. Raises `InvalidInput` when the input does not fit the input schema or a
path parameter its type, and `ComponentError` when a class of the user failed while the input was made into it."""

_astuple = msgspec.structs.astuple


class Reading(msgspec.Struct, frozen=True):
    """How an input is read: the whole value, or a struct of the fields.

    Attributes:
        read: Reads any input.
        decode: Reads right inputs in JSON, faster; whatever it raises says that ``read`` has to look. None when there
            is no such way.
    """

    read: Callable[[Any], Any]
    decode: Callable[[Any], Any] | None


class PathReader:
    """Reads one parameter of a path: text that stands for a value of a kind.

    Args:
        name: The parameter's name, for messages.
        kind: What it is.
    """

    __slots__ = ("_kind", "_name", "_text_first")

    def __init__(self, name: str, kind: Kind) -> None:
        self._name = name
        self._kind = kind
        self._text_first = "string" in kind.takes()

    def read(self, text: str) -> Any:
        """Return the value of the parameter.

        Raises:
            InvalidInput: The text does not stand for such a value.
        """
        report = Report()
        # "12" for text stays "12"; only what cannot be text is read as a number or a truth value.
        if self._text_first:
            value = self._kind.load(text, ROOT, report)
            if not report.count:
                return value
        if self._kind.takes() - {"string"}:
            try:
                decoded = msgspec.json.decode(text.encode("utf-8", "replace"))
            except (msgspec.DecodeError, RecursionError):
                decoded = text
            second = Report()
            value = self._kind.load(decoded, ROOT, second)
            if not second.count:
                return value
            # The first reading is the one that the author meant.
            report = report if self._text_first else second
        message = f"path parameter {self._name!r}: {report.problems[0]['message']}"
        raise InvalidInput(message, data={"problems": [{"path": self._name, "message": message}]})


def make_binder(
    function: Callable[..., Any],
    parameters: Sequence[Parameter],
    reading: Reading | None,
    path_readers: Mapping[str, PathReader],
) -> Bind:
    """Return the function that binds one call.

    Args:
        function: What is called.
        parameters: Its parameters in order.
        reading: How the input is read; None when it is ignored.
        path_readers: The readers of the path parameters.
    """
    roles = {parameter.role for parameter in parameters}
    keywords = any(parameter.keyword for parameter in parameters)
    if reading is not None and not keywords and roles == {"input"}:
        return _whole_binder(function, reading.read, reading.decode)
    if reading is not None and not keywords and roles == {"field"}:
        return _fields_binder(function, reading.read, reading.decode)
    if reading is not None and not keywords and [parameter.role for parameter in parameters] == ["input", "injected"]:
        return _injected_binder(function, parameters[1].annotation, reading.read)
    return _general_binder(function, parameters, None if reading is None else reading.read, path_readers)


# Most components take one of the simple forms, whose binding is a matter of a quarter of a microsecond.
def _whole_binder(
    function: Callable[..., Any], read: Callable[[Any], Any], decode: Callable[[Any], Any] | None
) -> Bind:
    def bind(raw: Any, path_params: Mapping[str, str], inject: Mapping[type, Any]) -> Bound:  # noqa: ARG001  (`Bind`)
        if decode is None or type(raw) is Packed:
            return functools.partial(function, read(raw))
        try:
            value = decode(raw)
        except Exception:
            value = read(raw)
        return functools.partial(function, value)

    return bind


def _fields_binder(
    function: Callable[..., Any], read: Callable[[Any], Any], decode: Callable[[Any], Any] | None
) -> Bind:
    def bind(raw: Any, path_params: Mapping[str, str], inject: Mapping[type, Any]) -> Bound:  # noqa: ARG001  (`Bind`)
        if decode is None or type(raw) is Packed:
            return functools.partial(function, *_astuple(read(raw)))
        try:
            values = decode(raw)
        except Exception:
            values = read(raw)
        return functools.partial(function, *_astuple(values))

    return bind


def _injected_binder(function: Callable[..., Any], injected: type, read: Callable[[Any], Any]) -> Bind:
    def bind(raw: Any, path_params: Mapping[str, str], inject: Mapping[type, Any]) -> Bound:  # noqa: ARG001  (`Bind`)
        return functools.partial(function, read(raw), inject[injected])

    return bind


def _general_binder(
    function: Callable[..., Any],
    parameters: Sequence[Parameter],
    read: Callable[[Any], Any] | None,
    path_readers: Mapping[str, PathReader],
) -> Bind:
    # Tuples are unpacked faster than attributes are read.
    steps = [(parameter.name, parameter.role, parameter.annotation, parameter.keyword) for parameter in parameters]

    has_fields = any(parameter.role == "field" for parameter in parameters)

    def bind(raw: Any, path_params: Mapping[str, str], inject: Mapping[type, Any]) -> Bound:
        value: Any = None if read is None else read(raw)
        fields = iter(_astuple(value) if has_fields else ())
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for name, role, annotation, keyword in steps:
            if role == "field":
                argument = next(fields)
            elif role == "input":
                argument = value
            elif role == "injected":
                argument = inject[annotation]
            else:
                argument = path_readers[name].read(path_params[name])
            if keyword:
                named[name] = argument
            else:
                positional.append(argument)
        return functools.partial(function, *positional, **named)

    return bind
