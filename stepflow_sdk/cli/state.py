"""The options for a state file."""

import argparse
from pathlib import Path

from stepflow_sdk.cli.arguments import Options, UsageError, number
from stepflow_sdk.runtime import StateOptions

__all__ = ["add_state", "existing_file", "read_state"]


def add_state(
    parser: argparse.ArgumentParser, what: str, otherwise: str = "what the configuration says, else memory"
) -> None:
    """Add the options that name a state file; ``what`` says what it is for, ``otherwise`` what its absence means."""
    group = parser.add_argument_group("where runs are kept")
    group.add_argument("--state", metavar="FILE", help=f"{what}; by default {otherwise}")
    group.add_argument(
        "--state-wait",
        metavar="SECONDS",
        type=number(0, 86400),
        default=0.0,
        help="how long to wait for the file when another process has it (default: 0)",
    )


def read_state(options: Options) -> StateOptions | None:
    """The state file that was named, or None."""
    file: str | None = getattr(options, "state", None)
    return None if file is None else StateOptions(Path(file), wait=options.state_wait)


def existing_file(path: Path, what: str) -> Path:
    """The path again; ``what`` names it in the error.

    Raises:
        UsageError: There is nothing, or something that is no file.
    """
    if not path.is_file():
        raise UsageError(f"{what} {path}: {'this is no file' if path.exists() else 'there is no such file'}")
    return path
