"""An MCP server that is started as a subprocess, as streams of messages (the stdio transport of MCP)."""

import os
import subprocess
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio

from stepflow_sdk.transports.children import spawn
from stepflow_sdk.transports.framing import DEFAULT_MAX_MESSAGE_BYTES, TooLong
from stepflow_sdk.transports.line_process import LineProcess

__all__ = ["McpProcess", "open_mcp_process"]

_MAX_WAITING = 10_000
"""How many messages of a server may wait to be read."""


@asynccontextmanager
async def open_mcp_process(
    name: str, command: Sequence[str], *, env: Mapping[str, str], cwd: str | os.PathLike[str] | None
) -> AsyncGenerator["McpProcess", None]:
    """Start an MCP server and stop it at the end, like a component server; see `open_process`.

    Raises:
        ResourceUnavailable: The program cannot be started.
    """
    process = McpProcess(name)
    try:
        await spawn(process, command, stdin=subprocess.PIPE, env=env, cwd=cwd)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.send_all)
            yield process
            tasks.cancel_scope.cancel()
    finally:
        process.close()
        await process.stop()


class McpProcess(LineProcess):
    """The server; made by `open_mcp_process`.

    Attributes:
        messages: What it says; ends with it.
        sink: Where what it is told goes.
    """

    def __init__(self, name: str) -> None:
        from mcp.shared.message import SessionMessage

        super().__init__(name, DEFAULT_MAX_MESSAGE_BYTES)
        self._received, self.messages = anyio.create_memory_object_stream[SessionMessage | Exception](_MAX_WAITING)
        self.sink, self._to_send = anyio.create_memory_object_stream[SessionMessage](0)
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the server says no more."""
        return self._closed

    def received(self, lines: list[bytes | bytearray]) -> None:
        """See `LineProcess.received`."""
        from mcp.shared.message import SessionMessage
        from mcp.types import jsonrpc_message_adapter

        for line in lines:
            try:
                message = jsonrpc_message_adapter.validate_json(bytes(line), by_name=False)
                self._received.send_nowait(SessionMessage(message))
            except ValueError:
                self.note_noise(line)
            except anyio.WouldBlock:
                self.kill(f"{_MAX_WAITING} messages of it waited to be read")
            except anyio.BrokenResourceError:
                return

    def refuse(self, line: TooLong) -> None:  # noqa: ARG002  (that it came is enough)
        """See `LineProcess.refuse`: it cannot be told which call it answers, so the conversation is over."""
        self.kill(f"it sent a message of more than {self.max_message_bytes} bytes")

    def over(self, reason: str) -> None:  # noqa: ARG002  (the link asks for it itself)
        """See `LineProcess.over`."""
        self._closed = True
        self._received.close()

    async def send_all(self) -> None:
        """Send what comes, one message a line."""
        async for message in self._to_send:
            await self.drain()
            self.write(message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")

    def close(self) -> None:
        """Close the streams."""
        self.over("")
        self.messages.close()
        self.sink.close()
        self._to_send.close()
