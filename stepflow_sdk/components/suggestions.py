"""The nearest valid name, for messages about names that do not exist."""

from collections.abc import Iterable

__all__ = ["nearest"]

_LONGEST = 100
_MOST = 5_000


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """Return the valid name that ``name`` was most likely meant to be, or None when none is near.

    The work is bounded: very long names and the tail of very long lists are not compared.
    """
    from difflib import get_close_matches

    if len(name) > _LONGEST:
        return None
    candidates = [candidate for candidate, _ in zip(valid, range(_MOST), strict=False) if candidate != name]
    found = get_close_matches(name, candidates, n=1, cutoff=0.6)
    return found[0] if found else None
