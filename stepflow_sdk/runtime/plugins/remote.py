"""A plugin for a component server at the other end of a connection, whatever carries it."""

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
from anyio.abc import TaskStatus

from stepflow_sdk.errors import (
    RequestTimeout,
    ResourceUnavailable,
    ServerLost,
    StepflowError,
    WireError,
)
from stepflow_sdk.protocol import methods
from stepflow_sdk.protocol.dialects import PROTOCOL_VERSION
from stepflow_sdk.protocol.error_codes import is_stopping
from stepflow_sdk.protocol.failures import sole_cause
from stepflow_sdk.protocol.messages import (
    ComponentExecuteParams,
    ComponentExecuteResult,
    ComponentInferSchemaParams,
    ComponentInfo,
    ComponentListParams,
    Initialized,
    InitializeParams,
)
from stepflow_sdk.runtime.plugins.link import Link
from stepflow_sdk.runtime.plugins.plugin import Host, ServerHandler
from stepflow_sdk.runtime.plugins.remote_call import RemoteCalls, output_of
from stepflow_sdk.runtime.redaction import SECRET_FILTER

__all__ = ["HANDSHAKE_SECONDS", "STEP_SECONDS", "RemotePlugin"]

HANDSHAKE_SECONDS = 30.0

STEP_SECONDS = 3600.0
"""How long a component may take unless the runtime is told otherwise: no step waits for ever unseen."""

MAX_STARTS = 5
"""How often a server is started within `START_WINDOW` before it counts as unavailable."""

START_WINDOW = 60.0

_LIST_SECONDS = 60.0
_INFER_SECONDS = 10.0
_ALIVE_SECONDS = 5.0
"""How long a server that let a step run out of time may take to answer anything at all."""

_END_SECONDS = 10.0
_FIRST_DELAY = 0.1

_log = logging.getLogger("stepflow_sdk.runtime")


class _Service:
    """One life of the server."""

    def __init__(self, handler: ServerHandler) -> None:
        self.handler = handler
        self.scope = anyio.CancelScope()
        self.link: Link | None = None


class RemotePlugin:
    """Calls the components of one server, which it starts when it is first needed and again when it has died.

    Args:
        name: What messages call the plugin.
        open_link: Reaches the server, given the handler of its calls back; the server is stopped at the exit.
        handshake_timeout: Seconds that the server has to answer ``initialize``.
        step_timeout: Seconds that a component has; None for no limit. Its step then fails with `RequestTimeout`. A
            server that was started here and answers nothing else either is killed, and started again for the next
            call.

        infers_schemas: Whether the server may be asked what a component returns for a certain input. Servers of 0.9
            and later, all of which speak HTTP, may know; one of 0.7 on its pipe never answers such a question.
        calls_tools: Whether its components are the tools of an MCP server: the last part of a path names the tool, and
            null is as good as no arguments.

    Attributes:
        clock: Tells seconds, for the restart budget.
        starts: How often the server was started or reached.
    """

    wraps_errors = False

    def __init__(
        self,
        name: str,
        open_link: Callable[[ServerHandler], AbstractAsyncContextManager[Link]],
        *,
        handshake_timeout: float = HANDSHAKE_SECONDS,
        step_timeout: float | None = STEP_SECONDS,
        infers_schemas: bool = False,
        calls_tools: bool = False,
    ) -> None:
        self.name = name
        self.calls_tools = calls_tools
        self._infers = infers_schemas
        self._open_link = open_link
        self._handshake_timeout = handshake_timeout
        self._step_timeout = step_timeout
        # What a server writes on stderr is logged under its name.
        logging.getLogger(f"stepflow_sdk.server.{name}").addFilter(SECRET_FILTER)
        self.starts = 0
        self.clock: Callable[[], float] = time.monotonic
        self._host: Host | None = None
        self._link: Link | None = None
        self._calls: RemoteCalls | None = None
        self._starting = anyio.Lock()
        self._asking = anyio.Lock()
        self._starts: deque[float] = deque()
        self._last_end = ""
        self._stopping = False
        self._services: set[_Service] = set()

    @property
    def is_connected(self) -> bool:
        """Whether the server is there to be called."""
        return self._link is not None and not self._link.connection.closed

    def start(self, host: Host) -> None:
        """See `Plugin.start`."""
        self._host = host
        self._stopping = False

    async def stop(self) -> None:
        """See `Plugin.stop`: the server gets its time to end."""
        self._stopping = True
        for service in self._services:
            if service.link is None:
                service.scope.cancel()
            else:
                service.handler.ended.set()

    async def execute(self, call: ComponentExecuteParams) -> Any:
        """See `Plugin.execute`."""
        link = self._link
        if link is None or link.connection.closed:
            link = await self._reach()
        await link.drain()
        try:
            result: ComponentExecuteResult = await link.connection.call(
                methods.EXECUTE, call, timeout=self._step_timeout
            )
        except (ResourceUnavailable, RequestTimeout) as error:
            raise await self._explained(error, link) from None
        return output_of(result, call.component)

    def direct(self) -> RemoteCalls | None:
        """See `DirectPlugin.direct`."""
        link = self._link
        connection = None if link is None else link.direct
        if link is None or connection is None:
            return None
        calls = self._calls
        if calls is None or calls.link is not link:
            calls = self._calls = RemoteCalls(connection, link, self._explained, self._step_timeout)
        return calls

    async def _explained(self, error: WireError, link: Link) -> WireError:
        """What an error of a call means."""
        if isinstance(error, ServerLost):
            return error
        if is_stopping(error):
            # It ends in its own time, and what comes now, this step for one, is for the next one.
            if self._link is link:
                self._link = None
            return ServerLost(error.message)
        if isinstance(error, ResourceUnavailable) and link.connection.closed:
            # Either the component said so, or nobody is there any more to say anything.
            return ServerLost(error.message)
        # The step fails when it is settled what becomes of the server, so that another attempt meets a sound one.
        if isinstance(error, RequestTimeout) and await self._ends_if_hung(link):
            return RequestTimeout(f"{error.message}, and the server was killed", data=error.data)
        return error

    async def list_components(self) -> list[ComponentInfo]:
        """See `Plugin.list_components`."""
        link = self._link
        if link is None or link.connection.closed:
            link = await self._reach()
        try:
            result = await link.connection.call(methods.LIST, ComponentListParams(), timeout=_LIST_SECONDS)
        except ResourceUnavailable as error:
            if link.connection.closed and not isinstance(error, ServerLost):
                raise ServerLost(error.message) from None
            raise
        components: list[ComponentInfo] = result.components
        return components

    async def infer_schema(self, component: str, input_schema: dict[str, Any]) -> dict[str, Any] | None:
        """Ask what a component returns for inputs of a schema; None where the server cannot tell.

        A server that does not answer is not asked again: the method is optional, and older ones do not know it.
        """
        link = self._link
        if not self._infers or link is None or link.connection.closed:
            return None
        params = ComponentInferSchemaParams(component, input_schema)
        try:
            result = await link.connection.call(methods.INFER_SCHEMA, params, timeout=_INFER_SECONDS)
        except WireError:
            self._infers = False
            return None
        inferred: dict[str, Any] | None = result.output_schema
        return inferred

    async def _ends_if_hung(self, link: Link) -> bool:
        """Kill a server that answers nothing any more; returns whether it was killed.

        The protocol has no message that gives up a call and none that asks for a sign of life, so the server is asked
        for something that every one can answer at once.
        """
        child = link.child
        if child is None:
            return False
        async with self._asking:
            service = next((service for service in self._services if service.link is link), None)
            if service is not None and not link.connection.closed:
                try:
                    await link.connection.call(methods.LIST, ComponentListParams(), timeout=_ALIVE_SECONDS)
                except RequestTimeout:
                    child.kill(f"it had let a step run out of time, and answered nothing else in {_ALIVE_SECONDS:g} s")
                    with anyio.move_on_after(_END_SECONDS):
                        await service.handler.ended.wait()
                except WireError:
                    pass  # that is an answer too, or the server has ended by itself
        return child.killed

    # ---- the server's life ------------------------------------------------------------------------------------

    async def _reach(self) -> Link:
        async with self._starting:
            link = self._link
            if link is not None and not link.connection.closed:
                return link
            if self._host is None or self._stopping:
                raise ServerLost(f"plugin {self.name!r}: the runtime is not running")
            await self._spend_start()
            reached: Link = await self._host.tasks.start(self._serve)
            return reached

    async def _spend_start(self) -> None:
        now = self.clock()
        while self._starts and now - self._starts[0] > START_WINDOW:
            self._starts.popleft()
        spent = len(self._starts)
        if spent >= MAX_STARTS:
            message = (
                f"plugin {self.name!r} is unavailable: {spent} starts in {START_WINDOW:.0f} s, and it ended each time"
            )
            raise ServerLost(f"{message}; the last time: {self._last_end}", data={"plugin": self.name})
        self._starts.append(now)
        self.starts += 1
        if spent > 1:
            await anyio.sleep(_FIRST_DELAY * 2 ** (spent - 2))

    async def _serve(self, *, task_status: TaskStatus[Link]) -> None:
        host = self._host
        if host is None:
            return
        service = _Service(host.handler())
        self._services.add(service)
        try:
            with service.scope:
                await self._converse(service, task_status)
        except Exception as error:
            failure = self._start_failure(error)
            self._last_end = failure.message
            if service.link is None:
                raise failure from error
            _log.warning("%s", failure.message)
        finally:
            self._services.discard(service)
            # The next life may have begun while this one took its time to end.
            if self._link is service.link:
                self._link = self._calls = None
        if service.link is None:
            raise ServerLost(f"plugin {self.name!r} was stopped while it started")

    async def _converse(self, service: "_Service", task_status: TaskStatus[Link]) -> None:
        async with anyio.create_task_group() as tasks:
            service.handler.tasks = tasks
            async with self._open_link(service.handler) as link:
                await self._shake_hands(link)
                self._link = service.link = link
                task_status.started(link)
                await service.handler.ended.wait()
                self._last_end = link.describe_end()
            tasks.cancel_scope.cancel()

    async def _shake_hands(self, link: Link) -> None:
        connection = link.connection
        offered = connection.encodings
        capabilities = {"encodings": list(offered)} if offered else None
        params = InitializeParams(PROTOCOL_VERSION, capabilities=capabilities)
        try:
            result = await connection.call(methods.INITIALIZE, params, timeout=self._handshake_timeout)
        except ResourceUnavailable as error:
            if not (connection.closed or isinstance(error, ServerLost)):
                raise
            raise ServerLost(f"plugin {self.name!r} could not be started: {error.message}", flow_code=-32301) from None
        except RequestTimeout:
            said = link.describe_end()
            message = f"plugin {self.name!r} did not answer `initialize` within {self._handshake_timeout:g} s; {said}"
            raise ServerLost(message, flow_code=-32303) from None
        except WireError as error:
            message = f"plugin {self.name!r} does not speak the protocol: its answer to `initialize`: {error.message}"
            raise ServerLost(f"{message}; {link.describe_end()}", flow_code=-32303) from None
        if result.server_protocol_version != PROTOCOL_VERSION:
            message = f"plugin {self.name!r} speaks version {result.server_protocol_version} of the protocol"
            message = f"{message}, the runtime version {PROTOCOL_VERSION}; {link.describe_end()}"
            raise ServerLost(message, flow_code=-32303)
        if result.encoding is not None and result.encoding not in offered:
            message = f"plugin {self.name!r} wants to speak {result.encoding!r}, which it was not offered"
            raise ServerLost(f"{message}; {link.describe_end()}", flow_code=-32303)
        if result.encoding is not None:
            connection.expect()
        connection.notify(methods.INITIALIZED, Initialized())
        if result.encoding is not None:
            connection.switch()
        await link.drain()

    def _start_failure(self, error: BaseException) -> ServerLost:
        cause = sole_cause(error)
        if isinstance(cause, ServerLost):
            return cause
        said = str(cause) if isinstance(cause, StepflowError) else f"{type(cause).__name__}: {cause}"
        return ServerLost(f"plugin {self.name!r} could not be started: {said}", flow_code=-32301)
