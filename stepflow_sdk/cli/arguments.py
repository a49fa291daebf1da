"""Parsing of arguments: errors are one line, with the nearest name."""

import argparse
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any, Final, NoReturn

from stepflow_sdk.errors import StepflowError

__all__ = ["PROGRAM", "Options", "Parser", "UsageError", "add_target", "number", "whole_number"]

PROGRAM: Final = "stepflow-sdk"

Options = argparse.Namespace
"""What was given, by the names of the options."""


class UsageError(StepflowError):
    """The command line is wrong; the message says what to write instead."""


class Parser(argparse.ArgumentParser):
    """The arguments of one command.

    Args:
        command: Its name.
        summary: What it does, in one line.
        manual: The rest of its help.
    """

    def __init__(self, command: str, summary: str, manual: str) -> None:
        _, _, details = manual.partition("\n\n")
        super().__init__(
            prog=f"{PROGRAM} {command}",
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=details.strip("\n"),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self._command = command
        self.add_argument(
            "--log-level",
            type=str.upper,
            choices=["DEBUG", "INFO", "WARNING", "ERROR"],
            help="what of the log goes to stderr (default: warning, or info with --log-format json; info shows what "
            "components print)",
        )
        self.add_argument(
            "--log-format",
            choices=["text", "json"],
            default="text",
            help="json: everything on stderr is an object on each line, and progress is a part of the log",
        )

    def read(self, arguments: Sequence[str]) -> Options:
        """Parse the words behind the command.

        Raises:
            UsageError: One is unknown or missing.
        """
        options, unknown = self.parse_known_args(list(arguments))
        if unknown:
            self.error(self._unknown(unknown[0], vars(options)))
        return options

    def need(self, options: Options, name: str, what: str) -> str:
        """Return an option that must be there; ``what`` says what it is.

        Raises:
            UsageError: It is not.
        """
        value: str | None = getattr(options, name)
        if value is None:
            self.error(f"this is needed: {what}")
        return value

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError`; argparse calls it too."""
        raise UsageError(f"{self._command}: {message} (see {self.prog} --help)")

    @staticmethod
    def _unknown(word: str, known: dict[str, Any]) -> str:
        flags = [f"--{name.replace('_', '-')}" for name in (*known, "help")]
        if not word.startswith("-"):
            if word.endswith((".yaml", ".yml", ".json")) and "--flow" in flags:
                return f"unexpected argument {word[:80]!r}; did you mean --flow {word[:80]}?"
            return f"unexpected argument {word[:80]!r}"
        close = get_close_matches(word.partition("=")[0], flags, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]}?" if close else ""
        return f"unknown option {word.partition('=')[0][:60]}{hint}"


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """The reader of an option that is a whole number within bounds, which its errors tell."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"a whole number {_range(least, most)} is wanted, not {text[:40]!r}")
        return value

    return read


def number(least: float, most: float) -> Callable[[str], float]:
    """The reader of an option that is a number within bounds, which its errors tell."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"a number {_range(least, most)} is wanted, not {text[:40]!r}")
        return value

    return read


def _range(least: float, most: float | None) -> str:
    return f"from {least:g} up" if most is None else f"from {least:g} to {most:.15g}"


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where components come from."""
    group = parser.add_argument_group("where components come from")
    group.add_argument(
        "--config",
        metavar="FILE",
        help="plugins and routes; by default stepflow-config.yml beside the flow, else in this directory",
    )
    group.add_argument(
        "--server",
        metavar="[PREFIX=]MODULE:NAME",
        action="append",
        help="a server object of a Python module, served in this process without a configuration; with PREFIX its "
        "components are under /PREFIX/; may be given several times",
    )
