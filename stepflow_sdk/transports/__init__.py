"""Ways for messages to travel: what joins a `Peer` to pipes, sockets or memory."""

from stepflow_sdk.transports.connection import Connection, Handler

__all__ = ["Connection", "Handler"]
