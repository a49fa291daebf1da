"""What evaluating an expression needs, and what it gives besides a value."""

from typing import Any, Protocol

import msgspec

from stepflow_sdk.flows.values import Json

VALUE_NOT_FOUND = -32200
"""A field, a path or a variable is not there (section b.4 of the flow format)."""
UNKNOWN_STEP = -32201
"""A reference names a step that the flow does not have."""
ENGINE_ERROR = -32202
"""A variable path that names no variable."""


class Failure(msgspec.Struct, frozen=True):
    """An expression or a step failed; the error object of the flow format.

    Attributes:
        code: The error code, of the 0.11 family (-32200 to -32202 from expressions).
        message: One sentence.
        data: Any JSON value; null and absent are the same.
    """

    code: int
    message: str
    data: Any = None

    def to_json(self) -> dict[str, Json]:
        """The error object: ``{"code", "message", "data"?}``."""
        error: dict[str, Json] = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        return error


class Skipped(msgspec.Struct, frozen=True):
    """A step was skipped. In a flow of 0.9 its value is null; in one of 0.7 or 0.8 this stands where a value would.

    Attributes:
        reason: Why, where that is known.
    """

    reason: str | None = None


class Broken(msgspec.Struct, frozen=True):
    """An expression of a flow of 0.7 or 0.8 cannot be evaluated, which ends the whole run (section c.10).

    Attributes:
        failure: What is wrong.
    """

    failure: Failure


class Needs(msgspec.Struct, frozen=True):
    """An expression cannot be evaluated before these steps have ended.

    Attributes:
        steps: Ids of steps; running all of them at once is never wasted work.
    """

    steps: frozenset[str]


class Scope(Protocol):
    """What the engine tells expressions about a run."""

    @property
    def input(self) -> Json:
        """The input of the flow; null when none was given."""
        ...

    def step(self, step_id: str, /) -> object:
        """The result of a step: its value, a `Failure`, `PENDING` before it ended, `UNKNOWN` if there is none.

        For expressions of 0.7 and 0.8 also `Skipped`.
        """
        ...

    def variable(self, name: str, /) -> object:
        """The value given for a variable with the run (null counts as given), or `MISSING`."""
        ...
