"""The plugin whose components answer as the configuration says (section e.1 of the flow format)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from stepflow_sdk.errors import ComponentNotFound, RemoteError, ServerError, SkipStep
from stepflow_sdk.flows import canonical_json, did_you_mean
from stepflow_sdk.protocol import FlowResultFailed, FlowResultSkipped, FlowResultSuccess
from stepflow_sdk.protocol.messages import ComponentExecuteParams, ComponentInfo
from stepflow_sdk.runtime.plugins.plugin import Host

__all__ = ["Behavior", "Behaviors", "MockComponent", "MockPlugin"]

_MAX_SHOWN = 1000
"""How many characters of an input a message shows."""

Behavior: TypeAlias = FlowResultSuccess | FlowResultSkipped | FlowResultFailed | str
"""How a call ends; a text is the message of an internal error."""

# Keys are sorted in it, and 1 and 1.0 stay two values: what equality of JSON values is for upstream.
_identity = msgspec.json.Encoder(order="deterministic").encode


class Behaviors:
    """The end of a call for each input."""

    def __init__(self) -> None:
        self._ends: dict[bytes, Behavior] = {}

    def add(self, input: Any, behavior: Behavior) -> None:
        """Say how a call with this input ends; what was said last counts."""
        self._ends[_identity(input)] = behavior

    def find(self, input: Any) -> Behavior | None:
        """How a call with this input ends, or None."""
        return self._ends.get(_identity(input))


@dataclass(frozen=True, slots=True)
class MockComponent:
    """One component.

    Attributes:
        input_schema: What it says of itself; inputs are not checked against it.
        output_schema: The same.
        behaviors: How its calls end.
    """

    input_schema: Any
    output_schema: Any
    behaviors: Behaviors


class MockPlugin:
    """Components that look their output up by their input.

    Args:
        name: What messages call the plugin.
        components: By path, with a leading slash.
    """

    wraps_errors = True

    def __init__(self, name: str, components: Mapping[str, MockComponent]) -> None:
        self.name = name
        self._components = components

    def start(self, host: Host) -> None:
        """See `Plugin.start`: there is nothing to start."""

    async def stop(self) -> None:
        """See `Plugin.stop`: nothing was started."""

    async def execute(self, call: ComponentExecuteParams) -> Any:
        """See `Plugin.execute`."""
        component = self._components.get(call.component)
        if component is None:
            hint = did_you_mean(call.component, self._components)
            hint = hint or f"there are: {', '.join(self._components) or 'none'}"
            data = {"component": call.component}
            raise ComponentNotFound(f"plugin {self.name!r} has no component {call.component!r}; {hint}", data=data)
        match component.behaviors.find(call.input):
            case FlowResultSuccess(result):
                return result
            case FlowResultSkipped(reason):
                raise SkipStep(reason)
            case FlowResultFailed(error):
                raise RemoteError(error.message, code=error.code, data=error.data)
            case str(message):
                raise ServerError(message)
            case None:
                shown = canonical_json(call.input).decode()
                shown = shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}…"
                raise ServerError(f"No behavior defined for {call.component} on {shown}")

    async def list_components(self) -> list[ComponentInfo]:
        """See `Plugin.list_components`."""
        return [
            ComponentInfo(path, None, component.input_schema, component.output_schema)
            for path, component in self._components.items()
        ]
