"""What `RemotePlugin` needs of the way to a server, whatever carries it."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from stepflow_sdk.protocol import Method
from stepflow_sdk.transports import Connection
from stepflow_sdk.transports.children import Child

__all__ = ["Conversation", "Link"]


class Conversation(Protocol):
    """The runtime's end of a conversation with a server, such as a `Connection`."""

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        ...

    @property
    def encodings(self) -> Sequence[str]:
        """See `Connection.encodings`."""
        ...

    def expect(self) -> None:
        """See `Connection.expect`."""
        ...

    def switch(self) -> None:
        """See `Connection.switch`."""
        ...

    async def call(self, method: Method, params: msgspec.Struct, *, timeout: float | None = None) -> Any:
        """Ask the server and wait for its answer; see `Connection.call`."""
        ...

    def notify(self, method: str, params: msgspec.Struct) -> None:
        """Tell the server something."""
        ...


class Link(Protocol):
    """A server that was reached."""

    @property
    def connection(self) -> Conversation:
        """The runtime's end of the conversation."""
        ...

    async def drain(self) -> None:
        """Wait while the server is behind with reading; raise `ServerLost` when it refuses what it was told."""
        ...

    def describe_end(self) -> str:
        """Why the conversation ended."""
        ...

    @property
    def direct(self) -> Connection | None:
        """The conversation, where it takes calls for which no task waits, and where nothing is in their way now."""
        ...

    @property
    def child(self) -> Child | None:
        """The server's process, where the runtime has started it."""
        ...
