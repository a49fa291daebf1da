"""Ids of requests of ours: UUIDs of version 4 in form, cheaper than those of the standard library."""

import itertools
import os
from collections.abc import Iterator

__all__ = ["ids_in_sequence", "unguessable_id"]

_PAGE = 64
_drawn: list[str] = []
if hasattr(os, "register_at_fork"):
    # Two processes behind one address must not take the answers to each other's calls.
    os.register_at_fork(after_in_child=_drawn.clear)


def unguessable_id() -> str:
    """An id that strangers cannot find out, for transports on which they could send an answer to it."""
    while True:
        try:
            return _drawn.pop()
        except IndexError:
            # One page of randomness for all connections: over HTTP each call has one of its own.
            page = os.urandom(16 * _PAGE).hex()
            _drawn.extend([_as_uuid(page[at : at + 32]) for at in range(0, len(page), 32)])


def ids_in_sequence() -> Iterator[str]:
    """Ids that nobody else has, one after the other, for transports with one other end alone."""
    prefix = _as_uuid(os.urandom(16).hex())[:-12]
    return (f"{prefix}{number:012x}" for number in itertools.count(1))


def _as_uuid(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
