"""The outcome of a flow or a step: success, skipped or failed."""

from typing import Annotated, Any

import msgspec
from msgspec import Struct

from stepflow_sdk.errors import FlowFailed, SkipStep
from stepflow_sdk.protocol.values import AnyValue, Int64, named, shown_as

__all__ = ["FlowError", "FlowResult", "FlowResultFailed", "FlowResultSkipped", "FlowResultSuccess"]


class FlowError(Struct, omit_defaults=True):
    """Why a flow or a step failed; ``data`` is any JSON value."""

    code: Int64
    message: str
    data: AnyValue | None = None


class FlowResultSuccess(Struct, tag_field="outcome", tag="success"):
    """Success; ``result`` is any JSON value."""

    result: AnyValue

    def unwrap(self, type: Any = Any) -> Any:
        """Return the result; with ``type``, converted into that type.

        Raises:
            msgspec.ValidationError: The result does not have that type.
        """
        return self.result if type is Any else msgspec.convert(self.result, type)


class FlowResultSkipped(Struct, tag_field="outcome", tag="skipped", omit_defaults=True):
    """The step, or what the flow's output needs, was skipped."""

    reason: Annotated[str | None, shown_as(type="string")] = None

    def unwrap(self, type: Any = Any) -> Any:  # noqa: ARG002  (the same call on every outcome)
        """Raise `SkipStep` with the reason."""
        raise SkipStep(self.reason)


class FlowResultFailed(Struct, tag_field="outcome", tag="failed"):
    """Failure."""

    error: FlowError

    def unwrap(self, type: Any = Any) -> Any:  # noqa: ARG002  (the same call on every outcome)
        """Raise `FlowFailed` with the error's code, message and data."""
        raise FlowFailed(self.error.message, code=self.error.code, data=self.error.data)


FlowResult = Annotated[
    FlowResultSuccess | FlowResultSkipped | FlowResultFailed, named("FlowResult", title="FlowResult")
]
"""The outcome of a flow or a step, told apart by its ``outcome``."""
