"""``runs``: lists the runs of a state file, the newest first, or prints the outcomes of one.

With RUN_ID the outcomes of its items go to stdout, one a line, in the order of the inputs. The file may be in use.
"""

import contextlib
import sqlite3
import time
from pathlib import Path

import msgspec

from stepflow_sdk.cli.arguments import Options, Parser, UsageError, whole_number
from stepflow_sdk.cli.output import Output, printable, say
from stepflow_sdk.cli.state import existing_file
from stepflow_sdk.runtime import RunQuery, RunRecord
from stepflow_sdk.runtime.run_status import run_statistics
from stepflow_sdk.runtime.stores.opening import check_file, open_for_reading
from stepflow_sdk.runtime.stores.run_reads import find_run, find_runs, read_items

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: Parser) -> None:
    """Describe what the command takes."""
    parser.add_argument("run", metavar="RUN_ID", nargs="?", help="print the outcomes of this run")
    parser.add_argument("--state", metavar="FILE", help="the state file (needed)")
    parser.add_argument("--status", choices=["running", "completed", "failed", "cancelled"], help="only such runs")
    parser.add_argument(
        "--limit", metavar="N", type=whole_number(1), default=50, help="at most so many (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="write a line of JSON for each run")
    parser.set_defaults(parser=parser)


def execute(options: Options, output: Output) -> int:
    """List them and return the exit code."""
    path = existing_file(Path(options.parser.need(options, "state", "--state FILE")), "runs: --state")
    check_file(path)
    with contextlib.closing(open_for_reading(path)) as connection:
        if options.run is not None:
            _write_outcomes(connection, options.run, output)
            return 0
        runs = find_runs(connection, RunQuery(status=options.status, limit=options.limit + 1))
    for run in runs[: options.limit]:
        output.write(_line(run, as_json=options.json))
    if len(runs) > options.limit:
        say(f"there are older runs; these are the latest {options.limit} (--limit)")
    if not runs:
        say("there are no such runs")
    return 0


def _write_outcomes(connection: sqlite3.Connection, run_id: str, output: Output) -> None:
    found = find_run(connection, run_id)
    if found is None:
        raise UsageError(f"runs: there is no run with the id {run_id[:80]!r}")
    for item in sorted(read_items(connection, run_id), key=lambda item: item.item):
        output.write(msgspec.json.encode(item.result).decode() + "\n")
    if found[1].status == "running":
        say("the run has not ended; these are the items that have, and `resume` finishes the others")


def _line(run: RunRecord, *, as_json: bool) -> str:
    items = run_statistics(run)
    if as_json:
        told = {
            "runId": run.run_id,
            "flowName": run.flow_name,
            "flowId": run.flow_id,
            "status": run.status,
            "items": items,
            "createdAt": run.created_at,
            "completedAt": run.completed_at,
        }
        return msgspec.json.encode(told).decode() + "\n"
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.created_at))
    count = f"{items.completed + items.failed}/{items.total}"
    failed = f"  {items.failed} failed" if items.failed else ""
    return printable(f"{run.run_id}  {run.status:<9}  {since}  {count:>9}  {run.flow_name or '-'}{failed}") + "\n"
