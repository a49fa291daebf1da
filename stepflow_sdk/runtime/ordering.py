"""Hands over the outcomes of a run in the order of its inputs."""

from collections.abc import Callable

from stepflow_sdk.protocol import FlowResult, FlowResultFailed

__all__ = ["InOrder"]


class InOrder:
    """Takes outcomes as items end, and hands on each as soon as those before it have been.

    Args:
        deliver: Takes them.

    Attributes:
        failed: How many of them were failures.
    """

    def __init__(self, deliver: Callable[[FlowResult], None]) -> None:
        self.failed = 0
        self._deliver = deliver
        self._next = 0
        self._early: dict[int, FlowResult] = {}

    def __call__(self, index: int, result: FlowResult) -> None:
        """Take the outcome of one item."""
        self._early[index] = result
        while self._next in self._early:
            due = self._early.pop(self._next)
            self._next += 1
            self.failed += isinstance(due, FlowResultFailed)
            self._deliver(due)
