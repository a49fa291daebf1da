"""What every engine is that flows can be run on: the bundled runtime, an orchestrator, a service at a URL."""

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from stepflow_sdk.protocol import FlowResult
from stepflow_sdk.runtime.local import FlowSource

__all__ = ["FlowEngine"]


class FlowEngine(Protocol):
    """Runs flows inside ``async with``."""

    async def __aenter__(self) -> Self:
        """Start it, or reach it."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what was started."""
        ...

    async def run(
        self,
        flow: FlowSource,
        input: Any = None,
        *,
        variables: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Any] | None = None,
        max_concurrency: int | None = None,
    ) -> FlowResult:
        """Run a flow on one input; see `LocalRuntime.run`."""
        ...

    async def run_stream(
        self,
        flow: FlowSource,
        inputs: Iterable[Any],
        on_outcome: Callable[[FlowResult], None],
        *,
        variables: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Any] | None = None,
        max_concurrency: int | None = None,
    ) -> int:
        """Run a flow on any number of inputs; see `LocalRuntime.run_stream`."""
        ...
