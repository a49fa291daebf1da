"""From a decorated function to its `ComponentSpec`."""

import math
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import msgspec

from stepflow_sdk.errors import DefinitionError, InvalidSignature

from .annotations import Scope
from .binding import PathReader, Reading, make_binder
from .docstrings import Docstring, parse_docstring
from .kinds import Kind, root_schema
from .paths import normalize_path, parse_path
from .reader import Reader, fast_decoder, make_arguments
from .recognition import Recognizer
from .records import ABSENT, Field, Record
from .scalars import Null
from .signature import EMPTY, Parameter, Signature, check_callable, read_signature
from .spec import ComponentSpec, Encode
from .unions import Union
from .values import shown_default
from .writer import make_writer

__all__ = ["Options", "define_component"]


class Options(msgspec.Struct, frozen=True):
    """What the decorator was given; see `Router.component`."""

    path: str | None = None
    name: str | None = None
    description: str | None = None
    timeout: float | None = None
    max_concurrency: int | None = None
    run_in_thread: bool = True


def define_component(function: Callable[..., Any], options: Options, frame: FrameType | None) -> ComponentSpec:
    """Return the component of a function.

    Args:
        function: The function.
        options: What the decorator was given.
        frame: Where the decorator was called, for annotations that name local types.

    Raises:
        InvalidSignature: The function cannot be served.
        DefinitionError: An option is wrong.
    """
    label = _label(function)
    # First of all: what follows reads names and annotations that only functions have.
    check_callable(function, label)
    name = _name(function, options, label)
    _check_options(options, label)
    path = normalize_path(options.path if options.path is not None else name)
    path_names = [segment.text for segment in parse_path(path) if segment.form != "literal"]
    scope = Scope(_origin(function), frame)
    signature = read_signature(function, scope, label=label, path_names=path_names, in_thread=options.run_in_thread)
    docs = parse_docstring(_doc(function))
    maker = _Maker(label, name, signature, docs, Recognizer(scope))
    input_kind, reading = maker.input()
    output_kind = maker.kind(signature.returns, "the output")
    encode = make_writer(output_kind, signature.returns)

    def make_pack() -> Encode:
        # For a runtime that speaks it, when that has come.
        from .packing import make_packer

        return make_packer(output_kind, signature.returns, encode)

    return ComponentSpec(
        path=path,
        name=name,
        function=function,
        description=options.description if options.description is not None else docs.description,
        takes_input=input_kind is not None,
        input_schema={} if input_kind is None else root_schema(input_kind),
        output_schema=root_schema(output_kind, "output"),
        is_async=signature.is_async,
        in_thread=options.run_in_thread and not signature.is_async,
        timeout=options.timeout,
        max_concurrency=options.max_concurrency,
        injected=tuple(dict.fromkeys(parameter.annotation for parameter in signature.of("injected"))),
        at_once=signature.is_async
        and options.timeout is options.max_concurrency is None
        and not signature.of("injected"),
        bind=make_binder(function, signature.parameters, reading, maker.path_readers()),
        encode=encode,
        make_pack=make_pack,
    )


class _Maker:
    """Makes the kinds of one function's parameters and output."""

    def __init__(self, label: str, name: str, signature: Signature, docs: Docstring, recognizer: Recognizer) -> None:
        self._label = label
        self._name = name
        self._signature = signature
        self._docs = docs
        self._recognizer = recognizer

    def kind(self, annotation: Any, where: str) -> Kind:
        try:
            return self._recognizer.kind(annotation)
        except InvalidSignature as error:
            raise InvalidSignature(f"{self._label}: {where}: {error}") from None
        except NameError as error:
            raise InvalidSignature(
                f"{self._label}: {where}: an annotation of its type names {error.name or str(error)!r}, which is "
                "not known here; define it before the decorator runs"
            ) from error
        except Exception as error:  # annotations are code of the user, and types beyond typing exist
            raise InvalidSignature(
                f"{self._label}: {where}: the type {annotation!r:.100} cannot be read: {error}"
            ) from error

    def input(self) -> tuple[Kind | None, Reading | None]:
        """Return the kind of the input and how it is read; both None when there is no input."""
        whole = self._signature.of("input")
        if whole:
            return self._whole(whole[0])
        fields = self._signature.of("field")
        return self._fields(fields) if fields else (None, None)

    def path_readers(self) -> dict[str, PathReader]:
        readers: dict[str, PathReader] = {}
        for parameter in self._signature.of("path"):
            kind = self.kind(parameter.annotation, f"parameter {parameter.name!r}")
            # No text of a path could be a value of such a type.
            if not kind.takes() - {"object", "array"}:
                raise InvalidSignature(
                    f"{self._label}: parameter {parameter.name!r} is part of a path, which is text; "
                    "give it a plain type, such as str or int"
                )
            readers[parameter.name] = PathReader(parameter.name, kind)
        return readers

    def _whole(self, parameter: Parameter) -> tuple[Kind, Reading]:
        kind = self.kind(parameter.annotation, f"parameter {parameter.name!r}")
        if parameter.default is EMPTY:
            return kind, Reader(kind, fast_decoder(kind, lambda: parameter.annotation)).reading
        # There is always an input on the wire; null stands for one that was not given.
        optional = kind if "null" in kind.takes() else Union([kind, Null()])
        reader = Reader(optional, fast_decoder(optional, lambda: parameter.annotation | None))
        if optional is kind:
            return kind, reader.reading

        def read_or_default(raw: Any) -> Any:
            value = reader.read(raw)
            return parameter.default if value is None else value

        return optional, Reading(read_or_default, None)

    def _fields(self, parameters: Sequence[Parameter]) -> tuple[Kind, Reading]:
        annotations: list[tuple[str, Any, Any]] = []
        fields: list[Field] = []
        for index, parameter in enumerate(parameters):
            required = parameter.default is EMPTY
            kind = self.kind(parameter.annotation, f"parameter {parameter.name!r}")
            shown = ABSENT if required else shown_default(parameter.default)
            said = self._docs.names.get(parameter.name)
            fields.append(Field(parameter.name, f"a{index}", kind, required=required, default=shown, description=said))
            default = msgspec.NODEFAULT if required else parameter.default
            annotations.append((parameter.name, parameter.annotation, default))
        # The exact way makes the same struct, with nothing left to check in it.
        made = make_arguments([(name, Any, default) for name, _, default in annotations])
        record = Record(fields, made, annotations={"title": f"{self._name} input"})
        decode = fast_decoder(record, lambda: make_arguments(annotations))
        return record, Reader(record, decode).reading


def _label(function: Any) -> str:
    while hasattr(function, "func") and not hasattr(function, "__name__"):
        function = function.func  # functools.partial
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{str(name).rpartition('<locals>.')[2]}()"


def _name(function: Any, options: Options, label: str) -> str:
    if options.name is not None:
        return options.name
    name = getattr(function, "__name__", None)
    if isinstance(name, str) and name.isidentifier():
        return name
    if options.path is None:
        raise InvalidSignature(f"{label} has no name of its own; give the decorator a path or a name")
    return normalize_path(options.path)[1:]


def _origin(function: Any) -> Any:
    """Return the function whose module and enclosing scopes the annotations belong to."""
    import inspect

    while hasattr(function, "func") and not inspect.isroutine(function):
        function = function.func
    if not inspect.isroutine(function):
        function = type(function).__call__
    return inspect.unwrap(getattr(function, "__func__", function))


def _doc(function: Any) -> str | None:
    # A partial and an object with __call__ have the docstring of their class, which tells nothing here.
    origin = _origin(function)
    doc = getattr(function if hasattr(function, "__name__") else origin, "__doc__", None)
    return doc if isinstance(doc, str) else None


def _check_options(options: Options, label: str) -> None:
    # Not what the annotations say, but what callers without a type checker may write.
    timeout: Any = options.timeout
    limit: Any = options.max_concurrency
    if timeout is not None and not (isinstance(timeout, int | float) and 0 < timeout < math.inf):
        raise DefinitionError(
            f"{label}: timeout is {timeout!r}; give a number of seconds above 0, or None for no limit"
        )
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise DefinitionError(
            f"{label}: max_concurrency is {limit!r}; give an integer of at least 1, or None for no limit"
        )
