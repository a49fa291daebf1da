"""What every plugin is: a way to reach components."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import anyio
from anyio.abc import TaskGroup

from stepflow_sdk.flows import Flow
from stepflow_sdk.protocol import FlowResult
from stepflow_sdk.protocol.messages import ComponentExecuteParams, ComponentInfo
from stepflow_sdk.runtime.blobs import BlobStore
from stepflow_sdk.transports import Handler

__all__ = [
    "DirectCalls",
    "DirectPlugin",
    "FlowRunner",
    "HandlerFactory",
    "Host",
    "OnEnd",
    "OngoingCall",
    "Plugin",
    "ServerHandler",
]


class FlowRunner(Protocol):
    """What plugins ask of the engine."""

    async def flow(self, flow_id: str) -> Flow:
        """The stored flow with this id.

        Raises:
            NotFound: There is no such blob.
            InvalidValue: The blob is no flow, or one that fails its checks.
        """
        ...

    async def run_nested(
        self, flow: Flow, inputs: Sequence[Any], *, parent_run_id: str | None, max_concurrency: int | None = None
    ) -> list[FlowResult]:
        """Run a flow on inputs for a step or a component, and return the outcomes in the order of the inputs."""
        ...


class ServerHandler(Handler, Protocol):
    """What takes the calls that a component server makes."""

    tasks: TaskGroup | None
    """Where its answers are worked out; set before the connection carries anything."""

    @property
    def ended(self) -> anyio.Event:
        """Set when the connection is over."""
        ...

    def fork(self) -> "ServerHandler":
        """A handler for another connection to the same server, where each call has one of its own."""
        ...

    async def blob_url(self) -> str | None:
        """Where a server on this machine reaches the blobs over HTTP, or None where it cannot."""
        ...


class HandlerFactory(Protocol):
    """Makes a handler for each connection."""

    def __call__(self) -> ServerHandler:
        """A handler for one connection."""
        ...


@dataclass(frozen=True, slots=True)
class Host:
    """What a plugin gets of the runtime that uses it.

    Attributes:
        tasks: Where its own tasks run; they end when the plugin is stopped.
        handler: Makes what takes the calls back of a server, one for each connection.
        blobs: The blobs of the runtime.
        flows: Its engine.
    """

    tasks: TaskGroup
    handler: HandlerFactory
    blobs: BlobStore
    flows: FlowRunner


class Plugin(Protocol):
    """A way to reach components. Retries, defaults and limits are the engine's, not a plugin's.

    Attributes:
        name: What messages call it.
        wraps_errors: Whether an error of a component is told as ``step "x" failed`` with the error in the stack of its
            data, as for builtin components (section c.5 of the flow format), instead of as it is.
    """

    name: str
    wraps_errors: bool

    def start(self, host: Host) -> None:
        """Be ready to be called; what takes time waits for the first call."""
        ...

    async def stop(self) -> None:
        """End everything that the plugin has started."""
        ...

    async def execute(self, call: ComponentExecuteParams) -> Any:
        """Call a component and return its output.

        Args:
            call: As on the wire, with the path as the plugin knows it and a Python value for input, not to be changed.

        Raises:
            WireError: The component failed, or is not there.
            SkipStep: The component asks that its step be skipped.
            ServerLost: The component could not be reached, or its server went away meanwhile.
        """
        ...

    async def list_components(self) -> list[ComponentInfo]:
        """The components that can be called, with their schemas.

        Raises:
            WireError: They cannot be listed.
            ServerLost: The server cannot be reached.
        """
        ...


class OngoingCall(Protocol):
    """A call of a component that has begun, and for which no task waits."""

    def abandon(self) -> None:
        """Want nothing of it any more; nobody is told of its end then."""
        ...

    async def outcome(self) -> Any:
        """Do, once it has ended, what `Plugin.execute` would do at that point: return the output or raise."""
        ...


OnEnd: TypeAlias = Callable[[Any, "OngoingCall | None"], None]
"""Takes the output of a component, or else the call, whose ``outcome`` says the rest; it must not raise."""


class DirectCalls(Protocol):
    """Makes calls for which no task waits."""

    def begin(self, call: ComponentExecuteParams, on_end: OnEnd) -> OngoingCall:
        """Call a component; ``on_end`` is called once, and perhaps before this returns."""
        ...


class DirectPlugin(Plugin, Protocol):
    """A plugin that can call components without a task for each call, which would cost more than many components."""

    def direct(self) -> DirectCalls | None:
        """What makes the next call; None where something has to be waited for before."""
        ...
