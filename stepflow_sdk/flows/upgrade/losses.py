"""What an upgrade has to say: what cannot be kept, and what is good to know."""

from typing import Final

from stepflow_sdk.flows.diagnostics import Reporter
from stepflow_sdk.flows.values import PathParts

__all__ = ["Losses"]

_NOT_KEPT: Final = (4200, "meaningNotKept")
_REMARK: Final = (4201, "upgradeRemark")


class Losses:
    """Reports of one document, or of a flow inside of it.

    Args:
        reporter: Takes them.
        path: Where the flow stands.
    """

    def __init__(self, reporter: Reporter, path: PathParts = ()) -> None:
        self._reporter = reporter
        self.path = path

    def inside(self, path: PathParts) -> "Losses":
        """Reports of a flow that stands at a place of this one."""
        return Losses(self._reporter, (*self.path, *path))

    def add(self, path: PathParts, message: str) -> None:
        """Something means something else after the upgrade, in the way that the message tells."""
        self._reporter.add(_NOT_KEPT, (*self.path, *path), message, level="error")

    def remark(self, path: PathParts, message: str) -> None:
        """Something went that meant nothing when the flow ran."""
        self._reporter.add(_REMARK, (*self.path, *path), message, level="warning")
