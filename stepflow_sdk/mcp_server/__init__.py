"""A server's components as the tools of an MCP server; imported only where the extra ``mcp`` is installed."""

from stepflow_sdk.mcp_server.names import tool_name
from stepflow_sdk.mcp_server.session import McpSession
from stepflow_sdk.mcp_server.wire import McpWire

__all__ = ["McpSession", "McpWire", "tool_name"]
