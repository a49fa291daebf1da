"""``run``: runs a flow.

The outcome goes to --output, or to stdout alone:
  {"outcome": "success", "result": …}
  {"outcome": "skipped", "reason": …}
  {"outcome": "failed", "error": {"code": …, "message": …, "data": …}}
  {"outcome": "invalid", "diagnostics": […]}      the flow was refused and nothing ran
Steps are told on stderr as they start and end: as text, as JSON lines with --json, not at all with --quiet.
The exit code is 0 for success and skipped, 1 for the others (--exit-zero: 0 for failed, too), 2 for a wrong command
line or configuration.
"""

import os

from stepflow_sdk.cli.arguments import Options, Parser, UsageError, add_target
from stepflow_sdk.cli.inputs import add_input, read_input
from stepflow_sdk.cli.loop import run_to_end
from stepflow_sdk.cli.output import Output, check_writable, say
from stepflow_sdk.cli.progress import JsonProgress, TextProgress, causes
from stepflow_sdk.cli.targets import make_runtime
from stepflow_sdk.cli.terminal import step_writer
from stepflow_sdk.errors import InvalidFlow
from stepflow_sdk.flows import Flow, check_flow, load_flow, require_runnable
from stepflow_sdk.flows.values import Json
from stepflow_sdk.protocol import FlowError, FlowResult, FlowResultFailed
from stepflow_sdk.runtime import LocalRuntime
from stepflow_sdk.runtime.events import Observer

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: Parser) -> None:
    """Describe what the command takes."""
    parser.add_argument("--flow", metavar="FILE", help="the flow, a .yaml, .yml or .json file (needed)")
    add_target(parser)
    add_input(parser)
    group = parser.add_argument_group("how it runs")
    group.add_argument("--output", metavar="FILE", help="where the outcome goes; .yaml and .yml files get YAML")
    group.add_argument("--max-concurrency", metavar="N", type=_count, help="steps that may run at once (default: 10)")
    group.add_argument("--exit-zero", action="store_true", help="exit with 0 when the flow failed")
    group.add_argument("--json", action="store_true", help="tell progress on stderr as JSON lines")
    group.add_argument("-q", "--quiet", action="store_true", help="tell no progress")
    parser.set_defaults(parser=parser)


def execute(options: Options, output: Output) -> int:
    """Run the flow and return the exit code."""
    file: str = options.parser.need(options, "flow", "--flow FILE")
    check_writable(options.output)
    try:
        flow = _checked(file)
    except InvalidFlow as error:
        say(f"the flow is refused: {error}")
        output.write_value({"outcome": "invalid", "diagnostics": error.diagnostics}, options.output)
        return 1
    runtime = make_runtime(options, file, on_event=_observer(options, flow))
    result = run_to_end(_run(runtime, flow, read_input(options), options.max_concurrency))
    output.write_value(result, options.output)
    if options.output and not options.quiet:
        say(f"outcome  {options.output}")
    if not isinstance(result, FlowResultFailed):
        return 0
    if not options.json:
        say(f"the flow failed: {_told(result.error)}")
    return 0 if options.exit_zero else 1


async def _run(runtime: LocalRuntime, flow: Flow, input: Json, max_concurrency: int | None) -> FlowResult:
    async with runtime:
        return await runtime.run(flow, input, max_concurrency=max_concurrency)


def _checked(file: str) -> Flow:
    try:
        flow = load_flow(file)
    except InvalidFlow as error:
        # A file that is not there is a mistake on the command line, not in the flow.
        if not os.path.exists(file):  # noqa: PTH110  (it has no names that it cannot take)
            raise UsageError(f"run: --flow {error}") from None
        raise
    require_runnable(flow, refuse_errors=True)
    for finding in check_flow(flow):
        # A flow without a name or a schema works; what else is warned of is likely a mistake.
        if finding.code >= 1004 or finding.code == 1000:
            say(f"warning: {finding}")
    return flow


def _observer(options: Options, flow: Flow) -> Observer | None:
    if options.quiet:
        return None
    if options.json:
        return JsonProgress(say)
    return TextProgress(step_writer(), max([14, *(len(step.id) for step in flow.steps)]))


def _told(error: FlowError) -> str:
    story = [cause for cause in causes(error.data) if cause != error.message]
    return "\n  because ".join([f"[{error.code}] {error.message}", *story])


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
