"""A call of a component at the other end of a connection, for which no task waits."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from stepflow_sdk.errors import InternalError, SkipStep, WireError
from stepflow_sdk.protocol import Call, methods
from stepflow_sdk.protocol.messages import ComponentExecuteParams, ComponentExecuteResult
from stepflow_sdk.protocol.values import decode_value
from stepflow_sdk.runtime.plugins.link import Link
from stepflow_sdk.runtime.plugins.plugin import OnEnd
from stepflow_sdk.transports import Connection

__all__ = ["RemoteCall", "output_of"]


class RemoteCall:
    """Begins a call, and tells of its end; see `OngoingCall`.

    Args:
        connection: Carries it.
        component: The component's path.
        on_end: Told of the end.
        explain: Says what an error of the call means, for which something may have to be waited for.
        link: What ``explain`` is told beside the error.
    """

    __slots__ = ("_call", "_component", "_connection", "_error", "_explain", "_link", "_on_end", "_result")

    def __init__(
        self,
        connection: Connection,
        component: str,
        on_end: OnEnd,
        explain: Callable[[WireError, Link], Awaitable[WireError]],
        link: Link,
    ) -> None:
        self._connection = connection
        self._component = component
        self._on_end = on_end
        self._explain = explain
        self._link = link
        self._call: Call | None = None
        self._result: ComponentExecuteResult | None = None
        self._error: WireError | None = None

    def begin(self, params: ComponentExecuteParams, timeout: float | None) -> None:
        """Ask the server."""
        try:
            self._call = self._connection.begin(methods.EXECUTE, params, self._answered, timeout=timeout)
        except WireError as error:
            self._answered(None, error)

    def abandon(self) -> None:
        """See `OngoingCall.abandon`."""
        if self._call is not None:
            self._connection.abandon(self._call)

    async def outcome(self) -> Any:
        """See `OngoingCall.outcome`."""
        error, self._error = self._error, None
        if error is not None:
            raise await self._explain(error, self._link) from None
        if self._result is None:
            raise InternalError(f"the call of {self._component} has not ended")
        return output_of(self._result, self._component)

    def _answered(self, result: ComponentExecuteResult | None, error: WireError | None) -> None:
        if result is not None and not result.skipped:
            try:
                output = decode_value(result.output)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                pass  # what that means says `outcome`
            else:
                self._on_end(output, None)
                return
        self._result, self._error = result, error
        self._on_end(None, self)


def output_of(result: ComponentExecuteResult, component: str) -> Any:
    """The output that a component server has answered.

    Raises:
        SkipStep: The component asks that its step be skipped.
        InternalError: The output is not JSON.
    """
    if result.skipped:
        raise SkipStep(result.skipped if isinstance(result.skipped, str) else None)
    try:
        return decode_value(result.output)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InternalError(f"the output of {component} cannot be read: {error}") from None
