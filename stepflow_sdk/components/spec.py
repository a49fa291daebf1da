"""The frozen description of one component: how it is called, what it takes and what it gives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from .binding import Bind, Bound

__all__ = ["ComponentSpec"]


@dataclass(frozen=True, slots=True, eq=False)
class ComponentSpec:
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
    _bind: Bind = field(repr=False)
    _encode: Callable[[Any], bytes] = field(repr=False)

    def bind(
        self,
        raw: bytes | bytearray | memoryview | msgspec.Raw,
        path_params: Mapping[str, str],
        inject: Mapping[type, Any],
    ) -> Bound:
        """Read the input and return the call, ready to be made.

        Args:
            raw: The input as JSON; not looked at when the component has no use for it.
            path_params: The texts of the path's parameters, from `Router.lookup`.
            inject: An instance for each class of `injected`.

        Raises:
            InvalidInput: The input does not fit the input schema, or a path parameter its type.
            ComponentError: A class of the user failed while the input was made into it.
        """
        return self._bind(raw, path_params, inject)

    def encode(self, output: Any) -> bytes:
        """Check an output and return it as JSON.

        Raises:
            ComponentError: It does not fit the output schema or has no JSON form; every wrong path is named.
        """
        return self._encode(output)
