"""The frozen description of one component: how it is called, what it takes and what it gives."""

from collections.abc import Callable
from typing import Any

import msgspec

from stepflow_sdk.packed import Packed

from .binding import Bind

__all__ = ["ComponentSpec", "Encode"]

Encode = Callable[[Any], bytes | Packed]
"""Raises `ComponentError` when an output does not fit the output schema or is not JSON; every wrong path is named."""


class ComponentSpec(msgspec.Struct, frozen=True, eq=False):
    """One component, made when its decorator runs and never changed.

    Attributes:
        path: The component's path, with its leading slash; patterns as they were written.
        name: A short name for people.
        function: The function, as it was decorated.
        description: What the component does, from its docstring or as given.
        takes_input: Whether it has a use for an input; one without ignores what it is given.
        input_schema: JSON Schema (2020-12) of exactly the inputs that `bind` accepts.
        output_schema: JSON Schema of exactly the outputs that `encode` accepts.
        is_async: Whether a bound call gives a coroutine.
        in_thread: Whether a bound call belongs in a worker thread.
        timeout: The longest time that a call may take, in seconds.
        max_concurrency: How many calls may run at once.
        injected: The classes whose instances `bind` needs.
        at_once: Whether it is a coroutine without limits, which most probably ends before it ever waits.
        bind: Reads the input and returns the call, ready to be made.
        encode: Checks an output and returns it as JSON.
        make_pack: Makes what does the same in MessagePack, where that says the same.
    """

    path: str
    name: str
    function: Callable[..., Any]
    description: str | None
    takes_input: bool
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    is_async: bool
    in_thread: bool
    timeout: float | None
    max_concurrency: int | None
    injected: tuple[type, ...]
    at_once: bool
    bind: Bind
    encode: Encode
    make_pack: Callable[[], Encode]

    def packing(self) -> "ComponentSpec":
        """Return the same component, but for outputs in MessagePack."""
        return msgspec.structs.replace(self, encode=self.make_pack())
