"""Where a run takes its inputs from: what it was given, or what a store keeps of it."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import anyio

from stepflow_sdk.runtime.runs import PendingItem, RunStore

__all__ = ["GivenInputs", "InputSource", "StoredInputs"]

_CHUNK: Final = 100


class InputSource(Protocol):
    """Gives the items of a run one by one, those first that come first."""

    exhausted: bool
    """Whether it is known that none is left."""

    def take_now(self) -> PendingItem | None:
        """The next item; None when none is left, or when it has to be waited for by `wait`."""
        ...

    async def wait(self) -> None:
        """Wait until `take_now` gives an item, unless none is left."""
        ...


class GivenInputs:
    """Inputs that somebody has in hand, or makes one by one."""

    def __init__(self, inputs: Iterable[Any]) -> None:
        self._inputs = iter(inputs)
        self._left = len(inputs) if isinstance(inputs, Sequence) else None
        self._taken = 0
        self.exhausted = self._left == 0

    def take_now(self) -> PendingItem | None:
        """See `InputSource.take_now`."""
        try:
            value = next(self._inputs)
        except StopIteration:
            self.exhausted = True
            return None
        index = self._taken
        self._taken = index + 1
        self.exhausted = self._taken == self._left
        return PendingItem(index, value)

    async def wait(self) -> None:
        """See `InputSource.wait`; there is nothing to wait for."""


class StoredInputs:
    """The items of a stored run that have not ended, read as they are needed."""

    def __init__(self, store: RunStore, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._read: deque[PendingItem] = deque()
        self._last = -1
        self._reading = anyio.Lock()
        self.exhausted = False

    def take_now(self) -> PendingItem | None:
        """See `InputSource.take_now`."""
        return self._read.popleft() if self._read else None

    async def wait(self) -> None:
        """See `InputSource.wait`."""
        async with self._reading:
            # Another worker may have read on meanwhile.
            if not self._read and not self.exhausted:
                await self._read_on()

    async def _read_on(self) -> None:
        items = await self._store.pending(self._run_id, after=self._last, limit=_CHUNK)
        if items:
            self._last = items[-1].item
            self._read.extend(items)
        else:
            self.exhausted = True
