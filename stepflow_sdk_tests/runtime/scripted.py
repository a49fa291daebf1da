"""A plugin whose components are functions of the test, and a fake server."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from stepflow_sdk.errors import ComponentNotFound
from stepflow_sdk.protocol import FlowResultFailed, Notification, Request, methods
from stepflow_sdk.protocol.messages import ComponentExecuteParams, ComponentInfo
from stepflow_sdk.runtime.plugins.plugin import Host
from stepflow_sdk.transports import Connection, Handler
from stepflow_sdk.transports.memory import connect


def stack_of(outcome: FlowResultFailed) -> list[dict[str, Any]]:
    """The story that the data of an infrastructure error tells."""
    data: Any = outcome.error.data
    stack: list[dict[str, Any]] = data["stack"]
    return stack


class Scripted:
    """Calls ``functions[path](input)`` and remembers what was called, in order."""

    wraps_errors = False

    def __init__(self, **functions: Callable[[Any], Awaitable[Any]]) -> None:
        self.name = "scripted"
        self.calls: list[str] = []
        self._functions = {f"/{name}": function for name, function in functions.items()}

    def start(self, host: Host) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def execute(self, call: ComponentExecuteParams) -> Any:
        self.calls.append(call.observability.step_id or call.component)
        function = self._functions.get(call.component)
        if function is None:
            raise ComponentNotFound(f"no {call.component}", data={"component": call.component})
        return await function(call.input)

    async def list_components(self) -> list[ComponentInfo]:
        return [ComponentInfo(path) for path in self._functions]


class FakeServer:
    """A server that answers ``initialize`` and lets the test call the runtime; ``connection`` is its own end."""

    def __init__(self) -> None:
        self.connection: Connection | None = None

    @asynccontextmanager
    async def open_memory(self, handler: Handler, /) -> AsyncGenerator[Connection, None]:
        runtime_end, self.connection = connect(handler, self)
        yield runtime_end
        runtime_end.close()

    def request(self, connection: Connection, request: Request) -> None:
        result: Any = {"server_protocol_version": 1} if request.method == methods.INITIALIZE.name else {"output": None}
        connection.reply(request, result)

    def notification(self, connection: Connection, notification: Notification) -> None:
        pass

    def closed(self, connection: Connection) -> None:
        pass
