"""Going on with a coroutine that has begun elsewhere."""

import types
from collections.abc import Coroutine, Generator
from contextvars import Context
from typing import Any

__all__ = ["go_on"]


@types.coroutine
def go_on(
    coroutine: Coroutine[Any, Any, Any] | Generator[Any, Any, Any],
    waits_for: Any,
    context: Context,
    error: BaseException | None = None,
) -> Generator[Any, Any, Any]:
    """Run the rest of a coroutine, each step in its own context, and return what it returns.

    Args:
        coroutine: Somebody has called its ``send`` once.
        waits_for: What that gave.
        context: Where it runs.
        error: What it gets instead of what it waits for.
    """
    while True:
        sent: Any = None
        if error is None:
            try:
                sent = yield waits_for
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as thrown:
                error = thrown
        try:
            if error is None:
                waits_for = context.run(coroutine.send, sent)
            else:
                waits_for = context.run(coroutine.throw, error)
                error = None
        except StopIteration as ended:
            return ended.value
