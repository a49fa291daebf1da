"""The command line: one module a command, which parses arguments and prints; what it does lives on lower floors."""

from stepflow_sdk.cli.program import run_program

__all__ = ["run_program"]
