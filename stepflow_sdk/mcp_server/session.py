"""The conversation of an MCP client with the components of a server."""

import logging

import mcp.types
import msgspec
from mcp.server import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from stepflow_sdk import __version__
from stepflow_sdk.components.suggestions import nearest
from stepflow_sdk.dispatch import Dispatcher
from stepflow_sdk.errors import InvalidInput, WireError
from stepflow_sdk.mcp_server.blobs import BlobKeeper
from stepflow_sdk.mcp_server.results import failure, success
from stepflow_sdk.mcp_server.tools import ComponentTool, make_tool
from stepflow_sdk.mcp_server.wire import McpWire
from stepflow_sdk.protocol import ObservabilityContext, methods
from stepflow_sdk.protocol.messages import ComponentExecuteParams
from stepflow_sdk.service import Service
from stepflow_sdk.transports.memory import connect

__all__ = ["McpSession"]

_log = logging.getLogger("stepflow_sdk.server")

_LONGEST_NAME = 128
"""The longest name of a tool that every client takes (MCP, "Tool Names")."""


class McpSession:
    """Serves the components of a service as tools.

    Args:
        name: What clients call the server.
        service: Where the components run.
    """

    def __init__(self, name: str, service: Service) -> None:
        self._service = service
        self._profile = service.profile()
        self._blobs = BlobKeeper()
        self._tools = {tool.name: tool for tool in map(make_tool, service.router.specs)}
        self._listed = mcp.types.ListToolsResult(tools=[_listed(tool) for tool in self._tools.values()])
        self._server = Server(name, version=__version__, on_list_tools=self._list, on_call_tool=self._call)
        for tool in self._tools.values():
            if len(tool.name) > _LONGEST_NAME:
                _log.warning("the name of the tool %s is longer than %d characters", tool.name, _LONGEST_NAME)

    async def run(self, wire: McpWire) -> None:
        """Talk to the client at the other end until it leaves, or `McpWire.leave` is called."""
        async with wire.open() as (inbound, outbound):
            await self._server.run(inbound, outbound, self._server.create_initialization_options())

    async def _list(
        self, _context: ServerRequestContext, _params: mcp.types.PaginatedRequestParams | None
    ) -> mcp.types.ListToolsResult:
        return self._listed

    async def _call(
        self, _context: ServerRequestContext, params: mcp.types.CallToolRequestParams
    ) -> mcp.types.CallToolResult:
        tool = self._tools.get(params.name)
        if tool is None:
            meant = nearest(params.name, self._tools)
            hint = f"; did you mean {meant!r}?" if meant else ""
            raise MCPError(mcp.types.INVALID_PARAMS, f"Unknown tool: {params.name[:200]}{hint}")
        try:
            path, input = tool.read(params.arguments or {})
            self._require_own(tool, path)
        except InvalidInput as error:
            return failure(error)
        try:
            return await self._execute(tool, path, input)
        except WireError as error:
            return failure(error, tool.place)

    async def _execute(self, tool: ComponentTool, path: str, input: bytes) -> mcp.types.CallToolResult:
        # A connection for each call: to close it is to cancel what runs, and nothing else.
        client, _ = connect(self._blobs, Dispatcher(self._service, self._profile))
        try:
            params = ComponentExecuteParams(path, msgspec.Raw(input), 1, ObservabilityContext())
            return success(tool, await client.call(methods.EXECUTE, params))
        finally:
            client.close()

    def _require_own(self, tool: ComponentTool, path: str) -> None:
        """Values of a path's parameters may make it the path of another component, which takes other inputs."""
        found, _ = self._service.router.lookup(path)
        if found is not tool.spec:
            name = next(other.name for other in self._tools.values() if other.spec is found)
            problem = {"path": "$.path", "message": f"this is the path of the tool {name!r}"}
            raise InvalidInput("invalid input", data={"problems": [problem]})


def _listed(tool: ComponentTool) -> mcp.types.Tool:
    return mcp.types.Tool(
        name=tool.name,
        title=tool.spec.name,
        description=tool.spec.description,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
    )
