"""What a target is: a function that takes any bytes, and inputs to begin with."""

from collections.abc import Callable
from typing import Any

import msgspec

__all__ = ["Target", "Wrong", "hold", "packed"]


class Wrong(Exception):
    """Decoding gave what it must not give."""


class Target:
    """What is fuzzed, and inputs to begin with.

    ``check`` takes any bytes and returns; it raises for what decoding must never do. Allowed are a value, held against
    a second way to it where there is one, and the exceptions that the docstring of what is called promises.
    """

    def __init__(self, check: Callable[[bytes], None], *seeds: bytes) -> None:
        self.check = check
        self.seeds = seeds


def hold(condition: bool, what: str) -> None:
    """Say what is wrong where a condition does not hold."""
    if not condition:
        raise Wrong(what)


def packed(**message: Any) -> bytes:
    """A message in MessagePack."""
    return msgspec.msgpack.encode(message)
