"""An MCP server on stdin and stdout; with ``--http PORT`` over streamable HTTP, after a line ``{"port": N}``."""

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from mcp.server import MCPServer
from mcp.types import CallToolResult, TextContent

server = MCPServer("tools")


@server.tool()
def add(a: int, b: int = 10) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def echo(value: Any) -> str:
    """Give a value back as JSON."""
    return json.dumps(value)


@server.tool()
def refuse(why: str) -> CallToolResult:
    """Fail with a reason."""
    return CallToolResult(content=[TextContent(type="text", text=why)], structured_content={"why": why}, is_error=True)


@server.tool()
def surroundings(names: list[str]) -> str:
    """Tell the directory and some variables."""
    return json.dumps([str(Path.cwd()), *(os.environ.get(name) for name in names)])


@server.tool()
def pid() -> int:
    """Tell the id of the process."""
    return os.getpid()


@server.tool()
def die() -> None:
    """End the process."""
    print("these are my last words", file=sys.stderr, flush=True)
    os._exit(3)


@server.tool()
async def wait_forever() -> None:
    """Never answer."""
    await anyio.sleep_forever()


def serve_http(port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port))
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    config = uvicorn.Config(server.streamable_http_app(), log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    if "--http" in sys.argv:
        serve_http(int(sys.argv[2]))
    else:
        server.run("stdio")
