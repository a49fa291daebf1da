"""The program ``stepflow-sdk``, also as ``python -m stepflow_sdk``."""

import sys

from stepflow_sdk.cli import run_program

__all__ = ["main"]


def main() -> None:
    """Run the command line of this process and exit with its code."""
    sys.exit(run_program(sys.argv[1:]))


if __name__ == "__main__":
    main()
