"""One call of a component: its function, its outcome, and what it needs meanwhile."""

import asyncio
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from stepflow_sdk.components.copies import end_copy
from stepflow_sdk.components.lanes import Lane
from stepflow_sdk.components.spec import ComponentSpec
from stepflow_sdk.packed import Packed

if TYPE_CHECKING:
    from stepflow_sdk.components.executor import Executor

__all__ = ["SMALL", "Execution"]

SMALL = 1024
"""Outputs of threads up to so many bytes are not counted: as many as can be in flight fill no memory."""

Outcome = tuple[bytes | Packed, BaseException | None]


class _Progress(Struct, eq=False, kw_only=True):
    answered: bool = False
    begun: bool = False
    kept: bool = False
    task: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None
    variables: Context | None = None


class Execution(_Progress, eq=False):
    """One call of a component: it is answered once, by its end, its timeout or its cancellation.

    Attributes:
        executor: What runs it.
        spec: The component.
        lane: What can hold it back.
        answered: Whether the outcome has been told; what comes later is dropped.
        begun: Whether the function has been called.
        kept: Whether the executor has to forget it at its end.
        task: The task in which it goes on, when it had to wait.
        timer: What ends it when its time is over.
        variables: The context variables of where the request was read, while the call waits for its turn or a thread.
    """

    executor: "Executor"
    spec: ComponentSpec
    lane: Lane

    def call(self) -> Any:
        """Call the function: returns its output, or for an ``async def`` component the coroutine that does.

        Called inside a context of its own, in the task or thread of the component. Sets ``begun`` first of all.

        Raises:
            CancelledError: Nobody waits for the outcome any more.
        """
        raise NotImplementedError

    def ended(self, output: bytes | Packed, error: BaseException | None) -> None:
        """Take the outcome, the encoded output or the exception; called once, on the loop."""
        raise NotImplementedError

    def end(self, value: Any, error: BaseException | None) -> None:
        """Take what the coroutine returned or raised."""
        if self.executor.is_copy:
            end_copy(error)
        if error is None and not self.answered:
            try:
                value = self.spec.encode(value)
            except BaseException as failure:  # parts of an output are code of the user
                error = failure
        if self.kept:
            self.executor.finish(self, value, error)
        else:
            self.answered = True
            self.ended(value, error)
        # The traceback of a failed encoding holds this frame: left here, it would live on until garbage is collected.
        error = None

    def work(self) -> None:
        """Run the call, in a thread."""
        lane = self.lane
        # The lane is asked again where the call begins: those before it may have filled the wire meanwhile.
        if lane.is_full:
            self.executor.relaunch(self)
            return
        output, error = (b"", None) if self.answered else self.take_variables().run(self.outcome)
        if len(output) > SMALL:
            lane.count(len(output))
        self.executor.made(self, output, error)
        # Its traceback leads to this frame, see `end`.
        error = None

    def take_variables(self) -> Context:
        """Return the context in which the call runs, and forget it."""
        variables, self.variables = self.variables, None
        return copy_context() if variables is None else variables

    def outcome(self) -> Outcome:
        """Call the function and encode its output."""
        try:
            output = self.spec.encode(self.call())
        except BaseException as error:  # SystemExit of a component must not be that of the server
            if self.executor.is_copy:
                end_copy(error)
            # Not kept in a variable: its traceback leads to this frame.
            return b"", error
        if self.executor.is_copy:
            end_copy(None)
        return output, None
