"""``recover``: copies what is sound of a damaged state file into a new one.

Every row is verified; the damaged file is read only. Runs that had not ended and whose inputs are all there can be
resumed from the copy; the others are failed in it.
"""

from pathlib import Path

from stepflow_sdk.cli.arguments import Options, Parser
from stepflow_sdk.cli.output import Output, as_json, say
from stepflow_sdk.cli.state import existing_file
from stepflow_sdk.runtime.stores.recovery import recover_file

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: Parser) -> None:
    """Describe what the command takes."""
    parser.add_argument("file", metavar="FILE", help="the damaged state file")
    parser.add_argument("-o", "--output", metavar="NEW", help="the file that is made (needed)")
    parser.set_defaults(parser=parser)


def execute(options: Options, output: Output) -> int:
    """Copy, print what was copied, and return the exit code."""
    target = options.parser.need(options, "output", "-o NEW")
    source = existing_file(Path(options.file), "recover:")
    recovered = recover_file(source, Path(target))
    output.write(as_json(recovered))
    if recovered.lost or recovered.given_up:
        say("what is damaged was left out; rows that could not even be found are not counted")
    return 0
