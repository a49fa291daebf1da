"""What is left to the garbage collector."""

import gc
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["garbage"]


@contextmanager
def garbage() -> Generator[list[type]]:
    """The collector rests inside; afterwards the list has the types of all from inside that only it has found."""
    left: list[type] = []
    gc.collect()
    gc.disable()
    # A thread or a task of another test that ends meanwhile leaves what was there before.
    gc.freeze()
    try:
        yield left
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left += map(type, gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.unfreeze()
        gc.enable()
