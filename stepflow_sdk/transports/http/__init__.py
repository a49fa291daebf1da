"""HTTP: an ASGI endpoint that answers JSON-RPC by POST, plainly or as an event stream, and a server for it."""

from stepflow_sdk.transports.http.endpoint import HttpEndpoint
from stepflow_sdk.transports.http.policy import HttpPolicy

__all__ = ["HttpEndpoint", "HttpPolicy"]
