"""Whether a state file that is open is still where it was."""

import os
from pathlib import Path

from stepflow_sdk.errors import StateError

__all__ = ["Place"]


class Place:
    """Where a state file and its log are. They can be written after somebody has deleted them, and nobody finds it.

    Args:
        path: The file, which is open and has its log.
    """

    def __init__(self, path: Path) -> None:
        name = str(path.absolute())
        self._known = [(what, file, _identity(file)) for what, file in (("it", name), ("its log", f"{name}-wal"))]

    def check(self) -> None:
        """See that both are there.

        Raises:
            StateError: One of them is not, or another file has its name.
        """
        # Without the path: clients of a service are told this, too.
        for what, file, known in self._known:
            if _identity(file) != known:
                raise StateError(f"the state file: {what} was deleted or replaced while in use; nothing more is kept")


def _identity(file: str) -> tuple[int, int] | None:
    try:
        found = os.stat(file)  # noqa: PTH116  (Path.stat takes twice as long, at every commit)
    except OSError:
        return None
    return found.st_dev, found.st_ino
