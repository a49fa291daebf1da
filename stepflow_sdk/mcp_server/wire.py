"""MCP messages on stdin and stdout, one a line, for the session of the package ``mcp``.

The streams of that package would do, were it not that their reader waits in a thread that nothing can stop, reads
lines of any length, leaves what it cannot read without an answer, and drops what runs when stdin ends.
"""

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import anyio
import pydantic
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp.types import (
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)

from stepflow_sdk.errors import InvalidRequest, WireError
from stepflow_sdk.protocol import codec, error_of
from stepflow_sdk.transports.framing import LineSplitter, TooLong
from stepflow_sdk.transports.pipes import Reader, Writer, open_reader, open_writer
from stepflow_sdk.transports.stdio import WireDescriptors

__all__ = ["McpWire"]

_LAST_ANSWERS: Final = 1.0
"""Seconds that calls have to end when stdin has: clients that leave wait two seconds before they kill."""

_FLUSH_SECONDS: Final = 2.0

RequestId = int | str
Inbound = MemoryObjectReceiveStream[SessionMessage | Exception]
Outbound = MemoryObjectSendStream[SessionMessage]


class McpWire:
    """The client at the other end of a pair of descriptors.

    Args:
        wire: From `take_wire`, or any two descriptors.
        max_message_bytes: The longest line that is read; a longer one is answered with an error.
        max_in_flight: Nothing is read while more requests than this wait for their answer.
    """

    def __init__(self, wire: WireDescriptors, *, max_message_bytes: int, max_in_flight: int) -> None:
        self._wire = wire
        self._limit = max_message_bytes
        self._max_in_flight = max_in_flight
        self._lines = LineSplitter(max_message_bytes)
        self._in_flight: set[RequestId] = set()
        self._leaving = False
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._to_session, self._inbound = anyio.create_memory_object_stream[SessionMessage | Exception](math.inf)
        self._outbound, self._from_session = anyio.create_memory_object_stream[SessionMessage](0)
        self._reader: Reader | None = None
        self._writer: Writer | None = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[tuple[Inbound, Outbound], None]:
        """Read and write; the streams are for the session, which closes the second one in the end."""
        if self._wire.output is not None:
            resume = self._may_write.set
            self._writer = await open_writer(self._wire.output, self._may_write.clear, resume, self._output_lost)
        if self._wire.input is None:
            self.leave()
        else:
            self._reader = await open_reader(self._wire.input, self._received, self._input_ended)
        with self._to_session, self._inbound, self._outbound, self._from_session:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._pass_on)
                yield self._inbound, self._outbound
                self._leaving = True
                self._outbound.close()
                tasks.cancel_scope.deadline = anyio.current_time() + _FLUSH_SECONDS
        if self._reader is not None:
            self._reader.close()
        if self._writer is not None:
            await self._writer.finish(_FLUSH_SECONDS)

    def leave(self) -> None:
        """Read no further, and end the session when what was read is answered, within a second."""
        if self._leaving:
            return
        self._leaving = True
        if self._reader is not None:
            self._reader.pause()
        if self._in_flight:
            asyncio.get_running_loop().call_later(_LAST_ANSWERS, self._to_session.close)
        else:
            self._to_session.close()

    def _input_ended(self) -> None:
        if not self._leaving:
            self._take(self._lines.finish())
        self.leave()

    def _output_lost(self) -> None:
        # Nobody can be answered any more.
        self._leaving = True
        self._may_write.set()
        self._to_session.close()

    def _received(self, data: bytes) -> None:
        if not self._leaving:
            self._take(self._lines.feed(data))
            if len(self._in_flight) > self._max_in_flight and self._reader is not None:
                self._reader.pause()

    def _take(self, lines: list[bytes | bytearray | TooLong]) -> None:
        for line in lines:
            if isinstance(line, TooLong):
                message = f"the message is longer than {self._limit} bytes"
                self._refuse(codec.recover_id(line.start), InvalidRequest(message, data={"limit": self._limit}))
            elif line.strip():
                self._read(bytes(line))

    def _read(self, line: bytes) -> None:
        try:
            message = jsonrpc_message_adapter.validate_json(line, by_name=False)
        except pydantic.ValidationError:
            self._refuse(*_complaint(line))
            return
        if isinstance(message, JSONRPCRequest):
            self._in_flight.add(message.id)
        elif isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            # What is cancelled is never answered.
            self._settle((message.params or {}).get("requestId"))
        self._to_session.send_nowait(SessionMessage(message))

    def _refuse(self, id: RequestId | None, error: WireError) -> None:
        self._write(codec.encode_error(id, error_of(error)))

    def _write(self, line: bytes) -> None:
        if self._writer is not None:
            self._writer.write(line + b"\n")

    async def _pass_on(self) -> None:
        async for item in self._from_session:
            message: JSONRPCMessage = item.message
            await self._may_write.wait()
            self._write(message.model_dump_json(by_alias=True, exclude_unset=True).encode())
            if isinstance(message, JSONRPCResponse | JSONRPCError):
                self._settle(message.id)

    def _settle(self, id: object) -> None:
        if isinstance(id, int | str):
            self._in_flight.discard(id)
        if self._leaving:
            if not self._in_flight:
                self._to_session.close()
        elif self._reader is not None and len(self._in_flight) <= self._max_in_flight:
            self._reader.resume()


def _complaint(line: bytes) -> tuple[RequestId | None, WireError]:
    try:
        codec.read_envelope(line)
    except codec.Unreadable as unreadable:
        return unreadable.id, unreadable.error
    return codec.recover_id(line), InvalidRequest("the message is JSON, but no message of MCP")
