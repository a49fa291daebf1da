"""The program: finds the command, and turns what goes wrong into one line and an exit code."""

import importlib
import logging
import os
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final, Protocol, cast

from stepflow_sdk import __version__
from stepflow_sdk.cli.arguments import PROGRAM, Options, Parser, UsageError
from stepflow_sdk.cli.log import begin_log
from stepflow_sdk.cli.loop import Terminated
from stepflow_sdk.cli.output import Output, say
from stepflow_sdk.errors import CorruptState, InvalidConfig, StateError, StepflowError

__all__ = ["run_program"]

FAILED: Final = 1
MISUSED: Final = 2
DAMAGED: Final = 3
INTERRUPTED: Final = 130
TERMINATED: Final = 143

_COMMANDS: Final = {
    "run": "run a flow, on one input or many, and print what comes of it",
    "call": "call one component and print its output",
    "list-components": "list the components that flows can use",
    "validate": "check a flow, and its configuration, without running it",
    "serve": "offer the REST API of the orchestrator",
    "submit": "run a flow on such a service, and print what comes of it",
    "infer": "write the schemas of a flow's steps into it",
    "resume": "finish runs that were interrupted",
    "runs": "list the runs of a state file, or print the outcomes of one",
    "recover": "copy what is sound of a damaged state file",
    "test": "run the test cases that flows carry",
    "upgrade": "rewrite a flow of 0.7 or 0.8 in the language of 0.9",
    "visualize": "draw a flow as SVG, Mermaid or DOT",
}
_HELP: Final = """\
usage: stepflow-sdk COMMAND …

Runs Stepflow flows and the component servers they use.

{commands}

  stepflow-sdk COMMAND --help   what a command takes
  stepflow-sdk --version        the version

examples:
  stepflow-sdk run --flow flow.yaml --server my_components:server --input-json '{{"name": "you"}}'
  stepflow-sdk run --flow flow.yaml --config stepflow-config.yml --input input.json --output result.json
  stepflow-sdk list-components --server my_components:server

exit codes: 0 success, 1 the flow or component failed or was refused, 2 wrong command line or configuration,
3 the state file is damaged, 130 interrupted, 143 terminated
"""


class Command(Protocol):
    """What the module of a command offers."""

    def add_arguments(self, parser: Parser) -> None:
        """Describe what the command takes."""
        ...

    def execute(self, options: Options, output: Output) -> int:
        """Do it, and return the exit code."""
        ...


def run_program(arguments: Sequence[str]) -> int:
    """Run one command line; results go to stdout, everything else to stderr.

    Args:
        arguments: The words behind the name of the program.

    Returns:
        The exit code: 0 for success, 1 for a flow or a component that failed or was refused, 2 for a wrong command line
        or configuration, 3 for a damaged state file, 130 after Ctrl-C, 143 after SIGTERM.
    """
    try:
        return _answer(arguments[0] if arguments else "", arguments[1:])
    except StepflowError as error:
        config = "the configuration cannot be used: " if isinstance(error, InvalidConfig) else ""
        say(f"{PROGRAM}: {config}{error}", logging.ERROR)
        return _code_of(error)
    except KeyboardInterrupt:
        say(f"{PROGRAM}: interrupted")
        return INTERRUPTED
    except Terminated:
        say(f"{PROGRAM}: terminated")
        return TERMINATED
    except BrokenPipeError:
        # Whoever read stdout has gone; at exit Python would try to flush it once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED


def _code_of(error: StepflowError) -> int:
    if isinstance(error, CorruptState):
        return DAMAGED
    return MISUSED if isinstance(error, (UsageError, InvalidConfig, StateError)) else FAILED


def _answer(name: str, arguments: Sequence[str]) -> int:
    if name in ("", "-h", "--help", "help"):
        print(_HELP.format(commands="\n".join(f"  {verb:<16}{text}" for verb, text in _COMMANDS.items())), end="")
        return 0 if name else MISUSED
    if name in ("-V", "--version"):
        print(f"{PROGRAM} {__version__}")
        return 0
    return _run_command(name, arguments)


def _run_command(name: str, arguments: Sequence[str]) -> int:
    if name not in _COMMANDS:
        close = get_close_matches(name.casefold(), _COMMANDS, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"commands are {', '.join(_COMMANDS)}"
        raise UsageError(f"there is no command {name[:60]!r}; {hint}")
    # Only the command that is wanted is imported: help and errors come at once.
    module = importlib.import_module(f"stepflow_sdk.cli.{name.replace('-', '_')}")
    command = cast("Command", module)
    parser = Parser(name, _COMMANDS[name], module.__doc__ or "")
    command.add_arguments(parser)
    try:
        options = parser.read(arguments)
    except SystemExit as ended:
        # argparse has shown the help.
        return FAILED if ended.code else 0
    begin_log(options)
    with Output() as output:
        return command.execute(options, output)
