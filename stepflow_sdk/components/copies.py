"""Processes that a component forks, in which it then goes on as if it were to answer, too."""

import os
import weakref
from typing import NoReturn, Protocol

__all__ = ["end_copy", "mark_copies"]


class Copied(Protocol):
    """What a forked process has a copy of."""

    is_copy: bool


_originals: "weakref.WeakSet[Copied]" = weakref.WeakSet()


def mark_copies(original: Copied) -> None:
    """Have ``is_copy`` set in every process that is forked from this one."""
    _originals.add(original)


def end_copy(error: BaseException | None) -> NoReturn:
    """End a forked process at the place where it would answer, as a child ends whose function comes to its end.

    Args:
        error: What was raised there; the code of `SystemExit` is that of the process.
    """
    code: object = error.code if type(error) is SystemExit else error
    os._exit(code if isinstance(code, int) else int(code is not None))  # it shares more than files with its parent


def _mark() -> None:
    for original in list(_originals):
        original.is_copy = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark)
