"""``run``: runs a flow.

The outcome goes to --output, or to stdout alone; with --inputs there is one for each input, one a line, in their order:
  {"outcome": "success", "result": …}
  {"outcome": "skipped", "reason": …}
  {"outcome": "failed", "error": {"code": …, "message": …, "data": …}}
  {"outcome": "invalid", "diagnostics": […]}      the flow was refused and nothing ran
Steps are told on stderr as they start and end: as text, as JSON lines with --json, not at all with --quiet.
With --inputs it is items that are told, and how many have ended.
The exit code is 0 for success and skipped, 1 for the others (--exit-zero: 0 for failed, too), 2 for a wrong command
line or configuration. One failed item of many is enough for 1.
"""

import os
import shlex
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

import msgspec

from stepflow_sdk.cli.arguments import PROGRAM, Options, Parser, UsageError, add_target, whole_number
from stepflow_sdk.cli.batch_progress import BatchProgress
from stepflow_sdk.cli.engines import add_engine, make_engine
from stepflow_sdk.cli.inputs import add_input, add_value, given, read_input, read_object
from stepflow_sdk.cli.lines import count_lines, open_lines, read_lines
from stepflow_sdk.cli.loop import Terminated, run_to_end
from stepflow_sdk.cli.output import Output, check_writable, say, write_line
from stepflow_sdk.cli.progress import JsonProgress, TextProgress, causes
from stepflow_sdk.cli.state import add_state
from stepflow_sdk.cli.terminal import step_writer
from stepflow_sdk.cli.variables import read_variables
from stepflow_sdk.errors import InvalidFlow, InvalidValue
from stepflow_sdk.flows import Flow, check_flow, load_flow, require_runnable
from stepflow_sdk.flows.values import Json
from stepflow_sdk.protocol import FlowError, FlowResult, FlowResultFailed
from stepflow_sdk.runtime.events import Observer
from stepflow_sdk.runtime.overrides import apply_overrides
from stepflow_sdk.runtime.run_log import RunLog

__all__ = ["add_arguments", "add_given", "execute", "prepare"]

T = TypeVar("T")


def add_arguments(parser: Parser) -> None:
    """Describe what the command takes."""
    parser.add_argument("--flow", metavar="FILE", help="the flow, a .yaml, .yml or .json file (needed)")
    add_target(parser)
    add_engine(parser)
    add_state(parser, "keep the run in this file, so that `resume` can finish it if it is interrupted")
    add_given(parser)


def add_given(parser: Parser) -> None:
    """Describe what a run is given, and how it is told; for every command that runs a flow."""
    add_input(parser, many=True)
    add_value(parser, "variables", "values of the flow's variables by their names")
    parser.add_argument(
        "--env-variables",
        action="store_true",
        help="take variables that are not given from the environment: what the schema of a variable names as env_var, "
        "or STEPFLOW_VAR_NAME; JSON, or else a text",
    )
    add_value(parser, "overrides", "changes to steps, by their ids")
    group = parser.add_argument_group("how it runs")
    group.add_argument(
        "--output", metavar="FILE", help="where the outcome goes; .yaml and .yml files get YAML, but not with --inputs"
    )
    group.add_argument(
        "--max-concurrency", metavar="N", type=whole_number(1), help="steps that may run at once (default: 10)"
    )
    group.add_argument("--exit-zero", action="store_true", help="exit with 0 when the flow failed")
    group.add_argument("--json", action="store_true", help="tell progress on stderr as JSON lines")
    group.add_argument("-q", "--quiet", action="store_true", help="tell no progress")
    parser.set_defaults(parser=parser)


class _How(NamedTuple):
    """What a run is given beside its input."""

    variables: dict[str, Json]
    overrides: dict[str, Json] | None
    max_concurrency: int | None


class Prepared(NamedTuple):
    """A flow that was read and checked, and what its run is given beside the input."""

    file: str
    flow: Flow
    how: "_How"


def execute(options: Options, output: Output) -> int:
    """Run the flow and return the exit code."""
    prepared = prepare(options, output)
    if prepared is None:
        return 1
    return (_run_one if options.inputs is None else _run_many)(options, output, *prepared)


def prepare(options: Options, output: Output) -> Prepared | None:
    """Read the flow and everything that is given with it; None when the flow is refused, which is told then."""
    file: str = options.parser.need(options, "flow", "--flow FILE")
    _check_inputs(options)
    check_writable(options.output)
    found = read_object(options, "overrides")
    try:
        flow = _checked(file)
        if found is not None:
            _check_overrides(flow, *found)
    except InvalidFlow as error:
        say(f"the flow is refused: {error}")
        output.write_value({"outcome": "invalid", "diagnostics": error.diagnostics}, options.output)
        return None
    variables = read_variables(options, flow, os.environ)
    return Prepared(file, flow, _How(variables, None if found is None else found[1], options.max_concurrency))


def _run_one(options: Options, output: Output, file: str, flow: Flow, how: _How) -> int:
    engine = make_engine(options, file, on_event=_observer(options, flow), on_run=_teller(options))

    async def run(input: Json) -> FlowResult:
        async with engine:
            return await engine.run(flow, input, **how._asdict())

    result = _to_end(options, run(read_input(options)))
    output.write_value(result, options.output)
    if options.output and not options.quiet:
        say(f"outcome  {options.output}")
    if not isinstance(result, FlowResultFailed):
        return 0
    if not options.json:
        say(f"the flow failed: {_told(result.error)}")
    return 0 if options.exit_zero else 1


def _run_many(options: Options, output: Output, file: str, flow: Flow, how: _How) -> int:
    total = count_lines(options.inputs)
    as_records = options.json or options.log_format == "json"
    observer = _observer(options, flow) if as_records else BatchProgress(step_writer(), total)
    told = None if options.quiet else observer
    engine = make_engine(options, file, on_event=told, on_run=_teller(options))

    async def run() -> int:
        with open_lines(output, options.output) as write:
            async with engine:
                return await engine.run_stream(flow, read_lines(options.inputs), write, **how._asdict())

    failed = _to_end(options, run())
    if options.output and not options.quiet:
        say(f"outcomes {options.output}")
    return 1 if failed and not options.exit_zero else 0


def _to_end(options: Options, work: Coroutine[Any, Any, T]) -> T:
    try:
        return run_to_end(work)
    except (KeyboardInterrupt, Terminated):
        if options.state is not None:
            say(f"the run is kept; `{PROGRAM} resume --state {shlex.quote(options.state)}` finishes it")
        raise


def _check_inputs(options: Options) -> None:
    if options.inputs is None:
        return
    if ways := given(options):
        raise UsageError(f"--inputs is for many and --{ways[0].replace('_', '-')} for one; give one of them")
    if options.output is not None and options.output.lower().endswith((".yaml", ".yml")):
        raise UsageError(f"--output {options.output}: the outcomes of --inputs are JSON lines; name it .jsonl")


def _check_overrides(flow: Flow, flag: str, overrides: dict[str, Json]) -> None:
    try:
        require_runnable(apply_overrides(flow, overrides), refuse_errors=True)
    except InvalidValue as error:
        raise UsageError(f"{flag}: {error.message.removeprefix('overrides: ')}") from None


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
        return JsonProgress(write_line)
    if options.log_format == "json":
        return RunLog()
    return TextProgress(step_writer(), max([14, *(len(step.id) for step in flow.steps)]))


def _teller(options: Options) -> Callable[[str], None] | None:
    """Tells the ids of runs that another process runs, of which nothing else is told."""
    if options.quiet:
        return None
    if options.json:
        return lambda run_id: write_line(msgspec.json.encode({"event": "runStarted", "run_id": run_id}).decode())
    return lambda run_id: say(f"run      {run_id}")


def _told(error: FlowError) -> str:
    story = [cause for cause in causes(error.data) if cause != error.message]
    return "\n  because ".join([f"[{error.code}] {error.message}", *story])
