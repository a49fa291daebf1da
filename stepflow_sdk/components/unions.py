"""The kind of a union: a value of any one of several kinds."""

from collections.abc import Mapping, Sequence
from typing import Any

from .json_types import is_object, json_types
from .kinds import Definitions, Described, Kind, Named, bare
from .problems import Path, Report, shown
from .scalars import Integer, Number

__all__ = ["Union"]


class Union(Kind):
    """One of several kinds; when several accept a value, the first of them as written has it.

    Args:
        members: The kinds.
        tag: The name of the field that tells tagged classes apart, when all objects here are tagged.
        tagged: The kind of each tag.
    """

    def __init__(
        self, members: Sequence[Kind], *, tag: str | None = None, tagged: Mapping[str | int, Kind] | None = None
    ) -> None:
        self._members = tuple(members)
        self._tag = tag
        self._tagged = dict(tagged or {})
        # msgspec (0.22.0) corrupts memory when it frees the type of a union of a bounded scalar and a
        # container, so it must not even see one: the exact way reads these.
        self.exact = not (any(_is_bounded(member) for member in members) and any(map(_is_container, members)))

    def takes(self) -> frozenset[str]:
        """See `Kind.takes`."""
        return frozenset(json_type for member in self._members for json_type in member.takes())

    def label(self) -> str:
        """See `Kind.label`."""
        labels = list(dict.fromkeys(member.label() for member in self._members))
        return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} or {labels[-1]}"

    def children(self) -> Sequence[Kind]:
        """See `Kind.children`."""
        return self._members

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        """See `Kind.schema`."""
        tagged = {id(member) for member in self._tagged.values()}
        options: list[dict[str, Any]] = []
        for member in self._members:
            option = member.schema(definitions)
            # On its own a tagged class needs no tag; among others it does.
            options.append({**option, "required": [self._tag]} if id(member) in tagged else option)
        return {"anyOf": options}

    def load(self, value: Any, path: Path, report: Report) -> Any:
        """See `Kind.load`."""
        # The JSON type rules most members out, which keeps the problems to those that were meant.
        types = json_types(value)
        if self._tag is not None and is_object(value):
            candidates = self._by_tag(value, path, report)
        else:
            candidates = [member for member in self._members if not member.takes().isdisjoint(types)]
            if not candidates:
                return self.refuse(value, path, report)
        if len(candidates) == 1:
            return candidates[0].load(value, path, report)
        if type(value) is float:
            # 3.0 fits int and float; it was written as a float.
            candidates.sort(key=lambda member: isinstance(bare(member), Integer))
        elif type(value) is int:
            candidates.sort(key=lambda member: isinstance(bare(member), Number))
        return self._first(candidates, value, path, report)

    def _by_tag(self, value: dict[str, Any], path: Path, report: Report) -> list[Kind]:
        tag = str(self._tag)
        if tag not in value:
            report.add((path, tag), f"is required but missing: expected {self._tags()}")
            return [_NOTHING]
        found = value[tag]
        # JSON Schema: 1.0 is the tag 1, but true is not, which Python would find under 1.
        member = self._tagged.get(found) if type(found) in {str, int, float} else None
        if member is None:
            report.add((path, tag), f"expected {self._tags()}, got {shown(found)}")
            return [_NOTHING]
        return [member]

    def _tags(self) -> str:
        return "one of " + ", ".join(shown(tag) for tag in list(self._tagged)[:10])

    def _first(self, candidates: Sequence[Kind], value: Any, path: Path, report: Report) -> Any:
        container = isinstance(value, dict | list)
        key = (id(self), id(value))
        if container and key in report.memo:
            loaded, trial = report.memo[key]
        else:
            loaded, trial = self._try(candidates, value, path, report)
            if container:
                report.memo[key] = (loaded, trial)
        report.extend(trial)
        return loaded

    def _try(self, candidates: Sequence[Kind], value: Any, path: Path, report: Report) -> tuple[Any, Report]:
        best: Report | None = None
        for member in candidates:
            trial = report.trial()
            loaded = member.load(value, path, trial)
            if not trial.count:
                return loaded, trial
            if best is None or trial.count < best.count:
                best = trial
        # For a scalar "a date or an integer" says more than what is wrong with each; inside a container the
        # nearest member does.
        if best is None or not isinstance(value, dict | list):
            best = report.trial()
            self.refuse(value, path, best)
        return None, best


def _is_bounded(kind: Kind) -> bool:
    while isinstance(kind, Described):
        kind = kind.inner
    return kind.bounded


def _is_container(kind: Kind) -> bool:
    while isinstance(kind, Described):
        kind = kind.inner
    # A named kind may still be on its way; but for enums these are containers anyway.
    if isinstance(kind, Named) and not hasattr(kind, "target"):
        return True
    return not kind.takes().isdisjoint({"array", "object"})


class _Nothing(Kind):
    """Stands in when the tag was wrong, which is already reported."""

    def load(self, value: Any, path: Path, report: Report) -> Any:
        """See `Kind.load`."""


_NOTHING = _Nothing()
