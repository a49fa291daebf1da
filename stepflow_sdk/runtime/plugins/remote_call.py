"""Calls of components at the other end of a connection, for which no task waits."""

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

__all__ = ["RemoteCalls", "output_of"]


class RemoteCalls(msgspec.Struct, frozen=True, eq=False):
    """Makes calls; see `DirectCalls`.

    Attributes:
        connection: Carries them.
        link: Whose connection it is.
        explain: Says what an error of a call means, for which something may have to be waited for.
        timeout: Seconds that each has; None for no limit.
    """

    connection: Connection
    link: Link
    explain: Callable[[WireError, Link], Awaitable[WireError]]
    timeout: float | None

    def begin(self, call: ComponentExecuteParams, on_end: OnEnd) -> "RemoteCall":
        """See `DirectCalls.begin`."""
        ongoing = RemoteCall(self, call.component, on_end)
        try:
            ongoing.call = self.connection.begin(methods.EXECUTE, call, ongoing.answered, timeout=self.timeout)
        except WireError as error:
            ongoing.answered(None, error)
        return ongoing


class RemoteCall(msgspec.Struct, eq=False):
    """A call that has begun; see `OngoingCall`.

    Attributes:
        calls: What made it.
        component: The component's path.
        on_end: Told of the end.
        call: What is waited for.
        result: What was answered, where ``outcome`` says what that means.
        error: The same, for an error.
    """

    calls: RemoteCalls
    component: str
    on_end: OnEnd
    call: Call | None = None
    result: ComponentExecuteResult | None = None
    error: WireError | None = None

    def abandon(self) -> None:
        """See `OngoingCall.abandon`."""
        if self.call is not None:
            self.calls.connection.abandon(self.call)

    async def outcome(self) -> Any:
        """See `OngoingCall.outcome`."""
        error, self.error = self.error, None
        if error is not None:
            try:
                raise await self.calls.explain(error, self.calls.link) from None
            finally:
                error = None  # its traceback leads here
        if self.result is None:
            raise InternalError(f"the call of {self.component} has not ended")
        return output_of(self.result, self.component)

    def answered(self, result: ComponentExecuteResult | None, error: WireError | None) -> None:
        """Take the answer."""
        if result is not None and not result.skipped:
            try:
                output = decode_value(result.output)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                pass  # what that means says `outcome`
            else:
                self.on_end(output, None)
                return
        self.result, self.error = result, error
        self.on_end(None, self)


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
