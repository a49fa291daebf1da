"""Going on with a coroutine that has begun elsewhere."""

import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any

__all__ = ["go_on"]


@types.coroutine
def go_on(
    coroutine: Coroutine[Any, Any, Any] | Generator[Any, Any, Any],
    waits_for: Any,
    context: Context | None = None,
    error: BaseException | None = None,
) -> Generator[Any, Any, Any]:
    """Run the rest of a coroutine and return what it returns.

    Args:
        coroutine: Somebody has called its ``send`` once.
        waits_for: What that gave.
        context: Where it runs; None for where it is waited for, as it has begun there.
        error: What it gets instead of what it waits for.
    """
    run = _run_here if context is None else context.run
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
                waits_for = run(coroutine.send, sent)
            else:
                waits_for = run(coroutine.throw, error)
                error = None
        except StopIteration as ended:
            return ended.value


def _run_here(function: Callable[[Any], Any], argument: Any) -> Any:
    return function(argument)
