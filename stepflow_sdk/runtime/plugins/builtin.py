"""The builtin components (section d of the flow format)."""

from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

import msgspec
import msgspec.inspect

from stepflow_sdk.errors import ComponentNotFound, InvalidInput
from stepflow_sdk.flows import did_you_mean
from stepflow_sdk.flows.diagnostics import nearest
from stepflow_sdk.flows.values import is_object
from stepflow_sdk.protocol import ObservabilityContext
from stepflow_sdk.protocol.messages import ComponentExecuteParams, ComponentInfo
from stepflow_sdk.runtime.plugins import builtin_flows, builtin_openai, builtin_values
from stepflow_sdk.runtime.plugins.builtin_files import FileLoader, LoadedFile, LoadFile
from stepflow_sdk.runtime.plugins.plugin import Host

__all__ = ["BuiltinPlugin"]


class _Component(msgspec.Struct, frozen=True):
    input: type[msgspec.Struct]
    output: type[msgspec.Struct]
    run: Callable[[Host, Any, ObservabilityContext], Awaitable[msgspec.Struct]]


class BuiltinPlugin:
    """Components that need no server: messages, chat models, blobs, files and nested flows.

    Args:
        name: What messages call the plugin.
        working_directory: Where the paths of ``/load_file`` start, and below which its files are; by default here.
        load_file_from: Directories below which there may be files too.
        openai: What ``/openai`` asks.
    """

    wraps_errors = True

    def __init__(
        self,
        name: str = "builtin",
        *,
        working_directory: Path | None = None,
        load_file_from: Sequence[Path] = (),
        openai: builtin_openai.OpenAiSettings | None = None,
    ) -> None:
        self.name = name
        load_file = FileLoader(working_directory or Path(), load_file_from)
        self._chat = builtin_openai.ChatClient(openai or builtin_openai.OpenAiSettings())
        self._host: Host | None = None
        self._components = {
            "/create_messages": _Component(
                builtin_values.CreateMessages, builtin_values.Messages, builtin_values.create_messages
            ),
            "/openai": _Component(builtin_openai.OpenAi, builtin_openai.Reply, self._chat),
            "/put_blob": _Component(builtin_values.PutBlob, builtin_values.StoredBlob, builtin_values.put_blob),
            "/get_blob": _Component(builtin_values.GetBlob, builtin_values.BlobData, builtin_values.get_blob),
            "/load_file": _Component(LoadFile, LoadedFile, load_file),
            "/eval": _Component(builtin_flows.Eval, builtin_flows.Evaluated, builtin_flows.evaluate),
            "/map": _Component(builtin_flows.Map, builtin_flows.Mapped, builtin_flows.map_flow),
            "/iterate": _Component(builtin_flows.Iterate, builtin_flows.Iterated, builtin_flows.iterate),
        }

    def start(self, host: Host) -> None:
        """See `Plugin.start`."""
        self._host = host

    async def stop(self) -> None:
        """See `Plugin.stop`: connections to chat models are closed."""
        await self._chat.close()

    async def execute(self, call: ComponentExecuteParams) -> Any:
        """See `Plugin.execute`."""
        component = self._components.get(call.component)
        if component is None or self._host is None:
            hint = did_you_mean(call.component, self._components) or f"there are: {', '.join(self._components)}"
            data = {"component": call.component}
            raise ComponentNotFound(f"there is no builtin component {call.component!r}; {hint}", data=data)
        try:
            input = msgspec.convert(_with_integers(call.input, component.input), component.input)
        except msgspec.ValidationError as error:
            raise _invalid(call, component.input, error) from None
        output = await component.run(self._host, input, call.observability)
        return {field: getattr(output, field) for field in output.__struct_fields__}

    async def list_components(self) -> list[ComponentInfo]:
        """See `Plugin.list_components`."""
        return [
            ComponentInfo(path, _summary(component.run), _schema(component.input), _schema(component.output))
            for path, component in self._components.items()
        ]


def _with_integers(given: Any, wanted: type[msgspec.Struct]) -> Any:
    """The input with 2 for 2.0 where an integer is wanted: for JSON Schema that is one, for msgspec it is not."""
    if not is_object(given):
        return given
    whole = {
        name: int(value)
        for name, value in given.items()
        if isinstance(value, float) and value.is_integer() and name in _integer_fields(wanted)
    }
    return {**given, **whole} if whole else given


@cache
def _integer_fields(struct: type[msgspec.Struct]) -> frozenset[str]:
    described = cast("msgspec.inspect.StructType", msgspec.inspect.type_info(struct))
    return frozenset(
        field.encode_name
        for field in described.fields
        if any(isinstance(kind, msgspec.inspect.IntType) for kind in getattr(field.type, "types", (field.type,)))
    )


def _invalid(
    call: ComponentExecuteParams, wanted: type[msgspec.Struct], error: msgspec.ValidationError
) -> InvalidInput:
    message, _, place = str(error).partition(" - at `")
    path = place.rstrip("`") or "$"
    if hint := _hint(message, path, wanted, call.input):
        message = f"{message}; {hint}"
    problem = {"path": path, "message": message}
    return InvalidInput(f"invalid input of {call.component}: {path}: {message}", data={"problems": [problem]})


def _hint(message: str, path: str, wanted: type[msgspec.Struct], given: Any) -> str | None:
    """What may have been meant: the field that is nearly called so, or the values that there are."""
    if isinstance(given, dict) and path == "$" and message.startswith("Object missing"):
        name = message.split("`")[1]
        keys = [key for key in cast("dict[str, Any]", given) if key not in wanted.__struct_fields__]
        close = nearest(name, keys)
        return None if close is None else f"did you mean {name!r} by {close!r}?"
    if message.startswith("Invalid enum"):
        struct = cast("msgspec.inspect.StructType", msgspec.inspect.type_info(wanted))
        for field in struct.fields:
            kinds: tuple[Any, ...] = getattr(field.type, "types", (field.type,))
            values: list[Any] = [value for kind in kinds for value in getattr(kind, "values", ())]
            if values and path == f"$.{field.encode_name}":
                return f"it is one of {', '.join(map(repr, values))}"
    return None


def _summary(function: Callable[..., Any]) -> str:
    return (function.__doc__ or "").partition("\n")[0]


def _schema(struct: type[msgspec.Struct]) -> dict[str, Any]:
    return msgspec.json.schema(struct, ref_template="#/$defs/{name}")
