"""What is wrong with a flow, and the collector that gathers it while a document is read."""

from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec

from stepflow_sdk.errors import InvalidFlow
from stepflow_sdk.flows.paths import show_path
from stepflow_sdk.flows.values import PathParts

Level: TypeAlias = Literal["warning", "error", "fatal"]

UNREADABLE: Final = (4000, "unreadableDocument")
INVALID: Final = (4001, "invalidDocument")
MIXED: Final = (4002, "mixedLanguages")
UNKNOWN_KEY: Final = (4100, "unknownKey")
DUPLICATE_KEY: Final = (4101, "duplicateKey")
DEPRECATED: Final = (4102, "deprecatedLanguage")
MALFORMED_SCHEMA: Final = (4103, "malformedSchema")

_MOST_TOLD: Final = 50
_MOST_KEPT: Final = 1000
_MOST_NAMES: Final = 1000
"""Among so many names the nearest is looked for."""

_LONGEST_NAME: Final = 60


class Diagnostic(msgspec.Struct, frozen=True, omit_defaults=True):
    """One finding about a flow document.

    Codes below 4000 are those of the flow format (section c.9): 1000s warnings, 2000s errors, 3000s fatal.
    The 4000s are this library's own: what keeps a document from being read (4000 to 4099, always fatal), and
    warnings of what upstream passes over in silence (4100 and up).

    Attributes:
        kind: The finding's name in camelCase, such as ``unreachableStep``.
        code: Its number.
        level: ``fatal`` refuses the flow, ``error`` keeps command lines from running it.
        formatted: One sentence for a person, without the place.
        path: The JSON path of the place, such as ``$.steps[0].input``.
        file: The file, when the flow came from one.
        line: The line in that file, counted from 1.
        data: What a program may want to know.
        experimental: Whether the check may cry wolf.
    """

    kind: str
    code: int
    level: Level
    formatted: str
    path: str | None = None
    file: str | None = None
    line: int | None = None
    data: Any = None
    experimental: bool = False

    def to_json(self) -> dict[str, Any]:
        """The finding as a JSON object: ``{"kind", "code", "level", "formatted", …}``, empty fields left out."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document

    def __str__(self) -> str:
        place = [part for part in (self.file, None if self.line is None else str(self.line)) if part]
        where = [":".join(place)] if place else []
        if self.path is not None:
            where.append(self.path)
        return ": ".join([*where, self.formatted])


class Source(Protocol):
    """Where a document came from."""

    @property
    def file(self) -> str | None:
        """The name of the file, for messages."""
        ...

    def line(self, path: PathParts, /) -> int | None:
        """The line of the value at a path, or of the nearest thing around it; none where that is unknown."""
        ...


class Reporter:
    """Collects findings, each with its place in the source."""

    def __init__(self, source: Source | None = None) -> None:
        self.source = source
        self.findings: list[Diagnostic] = []
        self._kept: Counter[Level] = Counter()

    def has_room(self, level: Level) -> bool:
        """Whether another finding of this level would be kept; where not, looking for it is not worth the time."""
        return self._kept[level] < _MOST_KEPT

    def has_hints(self, level: Level) -> bool:
        """Whether another finding of this level is worth the search for what was meant; most are not read."""
        return self._kept[level] < _MOST_TOLD

    def add(
        self,
        finding: tuple[int, str],
        path: PathParts,
        message: str,
        *,
        level: Level = "fatal",
        data: Any = None,
        experimental: bool = False,
    ) -> None:
        """Record one finding; of each level the first thousand are kept."""
        if not self.has_room(level):
            return
        self._kept[level] += 1
        self.findings.append(
            Diagnostic(
                kind=finding[1],
                code=finding[0],
                level=level,
                formatted=message,
                path=show_path(path),
                file=None if self.source is None else self.source.file,
                line=None if self.source is None else self.source.line(path),
                data=data,
                experimental=experimental,
            )
        )

    def invalid(self, path: PathParts, message: str) -> None:
        """Record that a part of the document has not its form."""
        self.add(INVALID, path, message)

    def unknown_key(self, path: PathParts, key: str, known: Iterable[str], hint: str | None = None) -> None:
        """Warn of a key that means nothing there, and name the one that was probably meant."""
        if not self.has_room("warning"):
            return
        meant = did_you_mean(key, known) if self.has_hints("warning") else None
        said = hint or meant or f"known here: {', '.join(sorted(known))}"
        self.add(UNKNOWN_KEY, (*path, key), f"unknown key {key[:60]!r} is ignored; {said}", level="warning")

    def refuse_fatal(self) -> None:
        """Raise what was found, when some of it is fatal.

        Raises:
            InvalidFlow: With every finding that is not a warning in its message, and all in ``diagnostics``.
        """
        if any(finding.level == "fatal" for finding in self.findings):
            raise invalid_flow(self.findings)


def invalid_flow(findings: Sequence[Diagnostic]) -> InvalidFlow:
    """The exception for a list of findings, the worst of which are told in its message."""
    told = [str(finding) for finding in findings if finding.level != "warning"]
    told_file = findings[0].file if findings else None
    if len(told) == 1:
        message = told[0]
    else:
        shown = told[:_MOST_TOLD]
        more = [f"and {len(told) - len(shown)} more"] if len(told) > len(shown) else []
        message = "\n  ".join([f"{len(told)} problems in {told_file or 'the flow'}:", *shown, *more])
    return InvalidFlow(message, diagnostics=[finding.to_json() for finding in findings])


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant; case, dashes and underscores do not count.

    The search is bounded, for names may come from strangers: a thousand names, of 60 characters each.
    """
    # Far shorter or longer names are not near.
    shortest, longest = len(name) // 3, 3 * len(name) + 6
    near = (candidate for candidate in known if shortest <= len(candidate) <= longest)
    by_plain = {_plainly(candidate[:_LONGEST_NAME]): candidate for candidate in islice(near, _MOST_NAMES)}
    close = get_close_matches(_plainly(name[:_LONGEST_NAME]), by_plain, n=1, cutoff=0.7)
    return by_plain[close[0]] if close else None


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """``did you mean 'x'?`` for the nearest known name, if one is near."""
    close = nearest(name, known)
    return None if close is None else f"did you mean {close!r}?"


def _plainly(name: str) -> str:
    return name.replace("_", "").replace("-", "").casefold()
