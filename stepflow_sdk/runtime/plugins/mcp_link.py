"""An MCP server as `RemotePlugin` sees it: a component server whose components are the server's tools."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectSendStream
from msgspec import Raw

from stepflow_sdk import __version__
from stepflow_sdk.errors import (
    ComponentNotFound,
    InternalError,
    InvalidInput,
    RemoteError,
    RequestTimeout,
    ServerLost,
    WireError,
)
from stepflow_sdk.flows import did_you_mean
from stepflow_sdk.flows.values import describe, is_object
from stepflow_sdk.protocol import Method, methods
from stepflow_sdk.protocol.dialects import PROTOCOL_VERSION
from stepflow_sdk.protocol.messages import (
    ComponentExecuteParams,
    ComponentExecuteResult,
    ComponentInfo,
    InitializeResult,
    ListComponentsResult,
)
from stepflow_sdk.runtime.plugins.plugin import ServerHandler
from stepflow_sdk.transports.announced import LAST_WORDS
from stepflow_sdk.transports.children import Child

if TYPE_CHECKING:
    from mcp import ClientSession
    from mcp.client._transport import ReadStream, WriteStream
    from mcp.shared.message import SessionMessage

__all__ = ["McpLink"]

_TOOL_FAILED: Final = -32100
"""The component itself failed (section c.5 of the flow format)."""

_INTERNAL: Final = -32202
"""What a tool gets that the server did not run, by the same section."""

_MAX_PAGES: Final = 1000

_CONTENT: Final = {
    "type": "array",
    "description": "The content of the tool's result",
    "items": {"type": "object", "properties": {"type": {"type": "string"}}, "required": ["type"]},
}

_T = TypeVar("_T")

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class McpLink:
    """The link to an MCP server; made by `open`.

    Args:
        name: What messages call the plugin.
        session: The conversation.
        handler: Told, through ``ended``, when the server is to be reached again.
        describe_end: Says why the conversation ended.
        tools_fail: Whether a result with ``isError`` fails its step.
        child: The server's process, when the runtime has started it.
    """

    def __init__(
        self,
        name: str,
        session: "ClientSession",
        handler: ServerHandler,
        describe_end: Callable[[], str],
        tools_fail: bool,
        child: Child | None,
    ) -> None:
        self.child = child
        self._name = name
        self._session = session
        self._handler = handler
        self._tools_fail = tools_fail
        self.describe_end = describe_end

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        name: str,
        handler: ServerHandler,
        read_stream: "ReadStream[SessionMessage | Exception]",
        write_stream: "WriteStream[SessionMessage]",
        ended: Callable[[], Awaitable[None]],
        describe_end: Callable[[], str],
        tools_fail: bool,
        child: Child | None = None,
    ) -> AsyncGenerator["McpLink", None]:
        """Speak MCP on two streams; ``ended`` is awaited when the server sends no more, before callers hear of it."""
        from mcp import ClientSession
        from mcp.shared.message import SessionMessage
        from mcp.types import Implementation

        async def forward(sink: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
            async with sink:
                try:
                    async for message in read_stream:
                        await sink.send(message)
                    await ended()
                finally:
                    handler.ended.set()

        sink, source = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        me = Implementation(name="stepflow-sdk", version=__version__)
        async with source, anyio.create_task_group() as tasks:
            tasks.start_soon(forward, sink)
            async with ClientSession(source, write_stream, client_info=me) as session:
                yield cls(name, session, handler, describe_end, tools_fail, child)
            tasks.cancel_scope.cancel()

    @property
    def connection(self) -> "McpLink":
        """The conversation: the link itself."""
        return self

    @property
    def direct(self) -> None:
        """See `Link.direct`: the session has a task wait for each call."""

    @property
    def closed(self) -> bool:
        """Whether the server must be reached again."""
        return self._handler.ended.is_set()

    @property
    def encodings(self) -> Sequence[str]:
        """See `Conversation.encodings`: there is JSON and nothing else."""
        return ()

    def expect(self) -> None:
        """See `Conversation.expect`."""

    def switch(self) -> None:
        """See `Conversation.switch`."""

    def notify(self, method: str, params: msgspec.Struct) -> None:
        """See `Conversation.notify`: what there is to tell, the session tells by itself."""

    async def drain(self) -> None:
        """See `Link.drain`: a request waits until it is written."""

    async def call(self, method: Method, params: msgspec.Struct, *, timeout: float | None = None) -> Any:
        """Do what this method of the Stepflow protocol asks for with those of MCP.

        Raises:
            WireError: The tool failed, or is not there, or the server's answer is not MCP.
            RequestTimeout: There was no answer in time.
            ServerLost: The server went away, or cannot be reached.
        """
        try:
            with anyio.fail_after(timeout):
                if isinstance(params, ComponentExecuteParams):
                    return await self._execute(params)
                return await (self._list() if method is methods.LIST else self._initialize())
        except TimeoutError:
            what = getattr(params, "component", method.name)
            message = f"{what} of the server {self._name!r} did not end within {timeout:g} s"
            raise RequestTimeout(message, data={"timeout": timeout}) from None

    async def _initialize(self) -> InitializeResult:
        await self._ask(self._session.initialize())
        return InitializeResult(PROTOCOL_VERSION)

    async def _list(self) -> ListComponentsResult:
        from mcp.types import PaginatedRequestParams

        components: list[ComponentInfo] = []
        cursor: str | None = None
        for _ in range(_MAX_PAGES):
            page = await self._ask(self._session.list_tools(params=PaginatedRequestParams(cursor=cursor)))
            components += [
                ComponentInfo(f"/{tool.name}", tool.description, tool.input_schema, _CONTENT) for tool in page.tools
            ]
            cursor = page.next_cursor
            if cursor is None:
                break
        return ListComponentsResult(components)

    async def _execute(self, params: ComponentExecuteParams) -> ComponentExecuteResult:
        from mcp import CallToolRequest
        from mcp.types import CallToolRequestParams, CallToolResult

        tool = params.component.rpartition("/")[2]
        arguments = params.input
        if arguments is not None and not is_object(arguments):
            problem = {"path": "$", "message": f"expected an object, not {describe(arguments)}"}
            message = f"the arguments of the tool {tool!r} are an object, not {describe(arguments)}"
            raise InvalidInput(message, data={"problems": [problem]})
        # Not `call_tool`, which checks the structured content: it is no part of the output.
        request = CallToolRequest(params=CallToolRequestParams(name=tool, arguments=arguments or {}))
        try:
            result = await self._ask(self._session.send_request(request, CallToolResult))
        except RemoteError as error:
            await self._require_tool(tool, params.component)
            raise _not_executed(tool, error) from None
        told = result.model_dump(mode="json", by_alias=True, exclude_none=True)
        if result.is_error and self._tools_fail:
            await self._require_tool(tool, params.component)
            raise _tool_failed(tool, told)
        return ComponentExecuteResult(Raw(_encode(told["content"])))

    async def _require_tool(self, tool: str, component: str) -> None:
        """Servers say in many ways that they have no such tool; whether that is so is asked when a call has failed."""
        try:
            names = [info.component[1:] for info in (await self._list()).components]
        except WireError:
            return
        if tool not in names:
            hint = did_you_mean(tool, names) or f"there are: {', '.join(names) or 'none'}"
            data = {"component": component}
            raise ComponentNotFound(f"the server {self._name!r} has no tool {tool!r}; {hint}", data=data)

    async def _ask(self, answer: Awaitable[_T]) -> _T:
        """Wait for an answer; an error that the server gave is a `RemoteError`."""
        from mcp.shared.exceptions import MCPError
        from mcp.types import CONNECTION_CLOSED
        from pydantic import ValidationError

        try:
            return await answer
        except MCPError as error:
            problem = error.error
        except (RuntimeError, ValidationError) as error:
            said = " ".join(str(error).split())[:500]
            raise InternalError(f"the server {self._name!r} broke the protocol of MCP: {said}") from None
        if problem.code == CONNECTION_CLOSED:
            # Servers may use this code too. When it is true, the last words are on their way.
            with anyio.move_on_after(LAST_WORDS):
                await self._handler.ended.wait()
        if self.closed:
            raise ServerLost(self.describe_end())
        raise RemoteError(problem.message, code=problem.code, data=problem.data)


def _not_executed(tool: str, error: RemoteError) -> RemoteError:
    message = f"Tool '{tool}' execution failed"
    cause: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        cause["data"] = error.data
    return RemoteError(
        message, code=_INTERNAL, data={"stack": [{"error": message}, {"error": error.message}], "cause": cause}
    )


def _tool_failed(tool: str, told: dict[str, Any]) -> RemoteError:
    texts = [part["text"] for part in told["content"] if part["type"] == "text"]
    said = f": {chr(10).join(texts)}" if texts else ""
    data = {key: told[key] for key in ("content", "structuredContent") if key in told}
    return RemoteError(f"Tool '{tool}' failed{said}", code=_TOOL_FAILED, data=data)
