"""How a state file is used."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Retention", "StateOptions"]


@dataclass(frozen=True, slots=True)
class Retention:
    """What becomes of runs that have ended, and of blobs that none of the others names.

    Attributes:
        max_age: Seconds after its end for which a run is kept; None for ever.
        max_runs: How many runs that have ended are kept, the latest; None for all.
    """

    max_age: float | None = None
    max_runs: int | None = None


@dataclass(frozen=True, slots=True)
class StateOptions:
    """A state file and how it is used.

    Attributes:
        path: The file.
        wait: Seconds to wait for it when another process has it.
        synchronous: ``full`` writes through to the disk before anything counts as kept. ``normal`` is faster, and
            survives the death of the process (``kill -9``), but not a power cut: the last runs and results may be lost.
        create: Make the file where there is none.
        auto_migrate: Bring files of older versions up to date, after a backup.
        patience: Seconds for which results wait for space on a full disk before their runs are interrupted.
        retention: What is forgotten, when the file is opened and every hour; by default nothing.
    """

    path: Path
    wait: float = 0.0
    synchronous: Literal["full", "normal"] = "full"
    create: bool = True
    auto_migrate: bool = True
    patience: float = 30.0
    retention: Retention | None = None
