"""``call``: calls a component.

Its output goes to stdout as JSON. Without an input option the component is called with null; --input - reads stdin.
A component that fails is told on stderr, and the exit code is 1. One that asks to be skipped gives null.
"""

from stepflow_sdk.cli.arguments import Options, Parser, add_target
from stepflow_sdk.cli.inputs import add_input, given, read_input
from stepflow_sdk.cli.loop import run_to_end
from stepflow_sdk.cli.output import Output, explain, say
from stepflow_sdk.cli.targets import make_runtime
from stepflow_sdk.errors import SkipStep, WireError
from stepflow_sdk.flows.values import Json
from stepflow_sdk.runtime import LocalRuntime

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: Parser) -> None:
    """Describe what the command takes."""
    parser.add_argument("component", nargs="?", metavar="COMPONENT", help="its path, such as /greet")
    add_target(parser)
    add_input(parser)
    parser.set_defaults(parser=parser)


def execute(options: Options, output: Output) -> int:
    """Call the component and return the exit code."""
    component: str = options.parser.need(options, "component", "the path of a COMPONENT; list-components shows them")
    input = read_input(options) if given(options) else None
    try:
        value = run_to_end(_call(make_runtime(options), component, input))
    except WireError as error:
        say(f"{component} failed: {explain(error)}")
        return 1
    output.write_value(value)
    return 0


async def _call(runtime: LocalRuntime, component: str, input: Json) -> Json:
    async with runtime:
        try:
            return await runtime.execute(component, input)
        except SkipStep as skipped:
            say(f"skipped: {skipped}")
            return None
