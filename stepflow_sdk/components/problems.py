"""What is wrong with a value, and where: JSON paths and a bounded collection of problems."""

from typing import Any

import msgspec

__all__ = ["ROOT", "Path", "Report", "describe_exception", "render_path", "shown", "summary"]

Path = tuple[Any, ...]
"""A linked list, ``(parent, key)`` down to ``()``: a step costs one small tuple on the way down."""

ROOT: Path = ()

_LISTED = 20
_LONGEST_KEY = 60
_LONGEST_VALUE = 60
_LONGEST_MESSAGE = 400
_LONGEST_PATH = 400


def render_path(path: Path) -> str:
    """Return a path as JSONPath text, such as ``$.items[3].name``."""
    steps: list[str] = []
    while path:
        path, key = path
        if isinstance(key, int):
            steps.append(f"[{key}]")
        elif key.isascii() and key.isidentifier() and len(key) <= _LONGEST_KEY:
            steps.append(f".{key}")
        else:
            steps.append(f"[{_quoted(key, _LONGEST_KEY)}]")
    text = "$" + "".join(reversed(steps))
    if len(text) > _LONGEST_PATH:
        text = f"{text[: _LONGEST_PATH // 2]}…{text[-_LONGEST_PATH // 2 :]}"
    return text


def shown(value: Any) -> str:
    """Return a JSON value as a message shows it: short, on one line, containers by their kind only."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, str):
        return _quoted(value, _LONGEST_VALUE)
    if isinstance(value, int) and value.bit_length() > 128:
        return "an integer of more than 128 bits"
    return msgspec.json.encode(value).decode()


def describe_exception(error: BaseException) -> str:
    """Return ``error`` as one short line, also when its ``str()`` raises."""
    try:
        text = " ".join(str(error).split())
    except BaseException:  # the text of an exception is user code
        text = ""
    name = type(error).__name__
    return f"{name}: {_cut(text, 200)}" if text else name


class Report:
    """The problems found in one value.

    Args:
        build: Whether the values are wanted, or only the verdict: when false, no user class is constructed.

    Attributes:
        count: How many problems were found, listed or not.
        problems: The first twenty, each ``{"path", "message"}``.
    """

    __slots__ = ("build", "count", "memo", "problems")

    def __init__(self, *, build: bool = True) -> None:
        self.build = build
        self.count = 0
        self.problems: list[dict[str, str]] = []
        # What each union made of each container: without it, unions in recursive types cost exponential time.
        self.memo: dict[tuple[int, int], tuple[Any, Report]] = {}

    def add(self, path: Path, message: str) -> None:
        """Add one problem."""
        self.count += 1
        if len(self.problems) < _LISTED:
            self.problems.append({"path": render_path(path), "message": _cut(message, _LONGEST_MESSAGE)})

    def extend(self, other: "Report") -> None:
        """Add all problems of another report."""
        self.count += other.count
        self.problems.extend(other.problems[: _LISTED - len(self.problems)])

    def data(self) -> dict[str, Any]:
        """Return the problems as the data of an error; ``more`` tells how many are not listed."""
        more = self.count - len(self.problems)
        return {"problems": self.problems, **({"more": more} if more else {})}

    def trial(self) -> "Report":
        """Return an empty report for one of several alternatives."""
        report = Report(build=self.build)
        report.memo = self.memo
        return report


def summary(kind: str, report: Report) -> str:
    """Return one line that tells the first problem and how many more there are."""
    first = report.problems[0]
    more = report.count - 1
    rest = "" if not more else f" (and {more} more problem{'s' if more > 1 else ''})"
    return f"{kind}: {first['path']}: {first['message']}{rest}"


def _quoted(text: str, limit: int) -> str:
    # Lone surrogates cannot be encoded; a message about them must be.
    safe = _cut(text, limit).encode("utf-8", "backslashreplace").decode()
    return msgspec.json.encode(safe).decode()


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
