"""``resume``: finishes runs that were interrupted.

Without RUN_ID, every run in the state file that has not ended. Steps whose results are stored do not run again; those
that were under way when the run was interrupted do. For each run a line of JSON goes to stdout as it ends:
  {"runId": …, "flowName": …, "status": "completed", "items": 1, "failed": 0, "outcome": {…}}
with the outcome where there is one input; `runs --state FILE RUN_ID` prints those of any run.
The exit code is 0 when all have completed, or there was none, 1 when one failed or could not be resumed, 2 for a wrong
command line or a file that another process has, 3 for a damaged file.
"""

from pathlib import Path
from typing import Any

import msgspec

from stepflow_sdk.cli.arguments import Options, Parser, UsageError, add_target
from stepflow_sdk.cli.loop import run_to_end
from stepflow_sdk.cli.output import Output, say, write_line
from stepflow_sdk.cli.progress import JsonProgress, TextProgress
from stepflow_sdk.cli.state import add_state, existing_file
from stepflow_sdk.cli.targets import make_runtime
from stepflow_sdk.cli.terminal import step_writer
from stepflow_sdk.errors import NotFound
from stepflow_sdk.runtime import LocalRuntime, ResumedRun
from stepflow_sdk.runtime.events import Observer
from stepflow_sdk.runtime.run_log import RunLog

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: Parser) -> None:
    """Describe what the command takes."""
    parser.add_argument("runs", metavar="RUN_ID", nargs="*", help="only these runs")
    add_state(parser, "the file that the runs are kept in")
    add_target(parser)
    group = parser.add_argument_group("what is told")
    group.add_argument("--json", action="store_true", help="tell progress on stderr as JSON lines")
    group.add_argument("-q", "--quiet", action="store_true", help="tell no progress")
    parser.set_defaults(parser=parser)


def execute(options: Options, output: Output) -> int:
    """Finish the runs and return the exit code."""
    if options.state is not None:
        # A new file would have nothing to resume, and a wrong name would look like success.
        existing_file(Path(options.state), "resume: --state")
    runtime = make_runtime(options, on_event=_observer(options))
    if not runtime.has_state:
        raise UsageError("resume: no state file: give --state FILE, or a configuration with a storageConfig")
    return run_to_end(_resume(options, output, runtime))


async def _resume(options: Options, output: Output, runtime: LocalRuntime) -> int:
    wanted: list[str] = options.runs
    async with runtime:
        try:
            ended = await runtime.resume(wanted or None)
        except NotFound as error:
            raise UsageError(f"resume: {error}") from None
        for run in ended:
            output.write(msgspec.json.encode(await _told(runtime, run)).decode() + "\n")
        known = {run.run_id for run in ended}
        for run_id in wanted:
            if run_id not in known:
                say(f"the run {run_id} has ended already")
    if not ended and not wanted and not options.quiet:
        say("no run was interrupted")
    for run in ended:
        if run.error is not None:
            say(f"the run {run.run_id} cannot be resumed: {run.error}")
    return 0 if all(run.status in ("completed", "cancelled") for run in ended) else 1


async def _told(runtime: LocalRuntime, run: ResumedRun) -> dict[str, Any]:
    told: dict[str, Any] = {"runId": run.run_id, "flowName": run.flow_name, "status": run.status}
    record = await runtime.engine.runs.get(run.run_id)
    if record is not None:
        told |= {"items": record.items, "failed": record.failed}
        if record.items == 1:
            for item in await runtime.engine.runs.items(run.run_id):
                told["outcome"] = item.result
    if run.error is not None:
        told["error"] = run.error
    return told


def _observer(options: Options) -> Observer | None:
    if options.quiet:
        return None
    if options.log_format == "json" and not options.json:
        return RunLog()
    return JsonProgress(write_line) if options.json else TextProgress(step_writer(), 14)
