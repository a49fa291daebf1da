"""A tree of path patterns, in which the most literal match is found first."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from .paths import Segment

__all__ = ["Trie"]

T = TypeVar("T")


class _Node(Generic[T]):
    __slots__ = ("literals", "one", "rest", "value")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[T]] = {}
        self.one: _Node[T] | None = None
        self.rest: T | None = None
        self.value: T | None = None


class Trie(Generic[T]):
    """Values under path patterns; the names of parameters play no part, only where they stand."""

    def __init__(self) -> None:
        self._root = _Node[T]()

    def add(self, segments: Sequence[Segment], value: T) -> None:
        """Put a value under a pattern."""
        node = self._root
        for segment in segments:
            if segment.form == "rest":
                # The rest is always the last segment, so nothing can follow.
                node.rest = value
                return
            if segment.form == "one":
                node.one = node.one or _Node[T]()
                node = node.one
            else:
                node = node.literals.setdefault(segment.text, _Node[T]())
        node.value = value

    def get(self, segments: Sequence[Segment]) -> T | None:
        """Return the value under a pattern of the same shape."""
        node: _Node[T] | None = self._root
        for segment in segments:
            if node is None:
                return None
            if segment.form == "rest":
                return node.rest
            node = node.one if segment.form == "one" else node.literals.get(segment.text)
        return None if node is None else node.value

    def find(self, texts: Sequence[str]) -> tuple[T, list[str]] | None:
        """Return the value of the best pattern that fits a path, and the texts of its parameters."""
        return self._find(self._root, texts, 0, [])

    def _find(self, node: _Node[T], texts: Sequence[str], index: int, values: list[str]) -> tuple[T, list[str]] | None:
        if index == len(texts):
            return None if node.value is None else (node.value, values)
        text = texts[index]
        following = node.literals.get(text)
        if following is not None:
            found = self._find(following, texts, index + 1, values)
            if found is not None:
                return found
        if node.one is not None and text:
            found = self._find(node.one, texts, index + 1, [*values, text])
            if found is not None:
                return found
        # What was more literal has failed all the way down; now the rest may have it.
        rest = "/".join(texts[index:])
        return None if node.rest is None or not rest else (node.rest, [*values, rest])
