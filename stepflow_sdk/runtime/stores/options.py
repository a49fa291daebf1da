"""How a state file is used."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["StateOptions"]


@dataclass(frozen=True, slots=True)
class StateOptions:
    """A state file and how it is used.

    Attributes:
        path: The file; it is made where there is none.
        wait: Seconds to wait for it when another process has it.
        synchronous: ``full`` writes through to the disk before anything counts as kept. ``normal`` is faster, and
            survives the death of the process (``kill -9``), but not a power cut: the last runs and results may be lost.
        auto_migrate: Bring files of older versions up to date, after a backup.
        patience: Seconds for which results wait for space on a full disk before their runs are interrupted.
    """

    path: Path
    wait: float = 0.0
    synchronous: Literal["full", "normal"] = "full"
    auto_migrate: bool = True
    patience: float = 30.0
