"""``serve``: offers the REST API of the orchestrator.

  POST /api/v1/flows    stores a flow            GET /api/v1/runs/ID          the state of a run
  POST /api/v1/runs     runs one                 GET /api/v1/runs/ID/events   what happens in it
GET /openapi.json describes everything. A line {"port": N} on stdout says where it listens.
With --state, runs that were interrupted are finished when it starts.
SIGTERM and SIGINT let runs come to their end for a while (--drain), and then end the program with exit code 0; what
has not ended then is lost without --state.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable

from stepflow_sdk.cli.arguments import Options, Parser, add_target, number, whole_number
from stepflow_sdk.cli.http_options import add_http, open_listener, read_policy
from stepflow_sdk.cli.output import Output, say
from stepflow_sdk.cli.state import add_state
from stepflow_sdk.cli.targets import make_runtime
from stepflow_sdk.runtime import LocalRuntime, MemoryRunStore, ResumedRun, RuntimeMetrics
from stepflow_sdk.runtime.events import all_observers
from stepflow_sdk.runtime.run_log import RunLog
from stepflow_sdk.runtime.service import EventHub, RuntimeService, serve_api
from stepflow_sdk.runtime.service.runs import MAX_RUNS
from stepflow_sdk.transports.http.connection_limit import open_files_for
from stepflow_sdk.transports.open_files import raise_open_files
from stepflow_sdk.transports.shutdown import Shutdown
from stepflow_sdk.tuning import Tuning

__all__ = ["add_arguments", "execute"]

_PORT = 7837
_END_SECONDS = 20.0
"""How long the end may take behind the drain: servers get their time, and what hangs is ended."""


def add_arguments(parser: Parser) -> None:
    """Describe what the command takes."""
    add_target(parser)
    add_state(parser, "keep flows, blobs and runs in this file, and finish what was interrupted")
    add_http(parser, _PORT)
    group = parser.add_argument_group("what it shows")
    group.add_argument(
        "--metrics", action="store_true", help="count what happens: GET /metrics, in the form of Prometheus"
    )
    group.add_argument(
        "--slow",
        metavar="SECONDS",
        type=number(0.001, 10_000_000),
        help="warn in the log of a step that has not ended after so long",
    )
    parser.add_argument_group("how much it takes").add_argument(
        "--max-runs",
        metavar="N",
        type=whole_number(1),
        default=MAX_RUNS,
        help="how many runs may be under way, nested ones included; more are refused with 503 (default: %(default)s)",
    )
    parser.add_argument_group("the process").add_argument(
        "--no-tuning", action="store_true", help="leave memory, threads and the limit for open files as they are"
    )
    group = parser.add_argument_group("its end")
    group.add_argument(
        "--drain",
        metavar="SECONDS",
        type=number(0, 3600),
        default=5.0,
        help="how long runs may go on after the first signal (default: %(default)g)",
    )
    parser.set_defaults(parser=parser)


def execute(options: Options, output: Output) -> int:
    """Serve until a signal."""
    policy = read_policy(options)
    # The loop stays asyncio's own: servers are started from it.
    tuning = Tuning.none() if options.no_tuning else Tuning(uvloop=False)
    tuning.begin()
    if tuning.open_files:
        raise_open_files(open_files_for(policy.max_connections))
    hub = EventHub()
    log = RunLog(options.slow)
    metrics = RuntimeMetrics() if options.metrics else None
    store = MemoryRunStore(keep_steps=True)
    runtime = make_runtime(options, on_event=all_observers(hub, log), runs=store, metrics=metrics)
    listener = open_listener(options)

    def make_service() -> RuntimeService:
        return RuntimeService(runtime, hub, policy, metrics, max_runs=options.max_runs)

    asyncio.run(_serve(options, output, runtime, make_service, listener, tuning))
    log.close()
    return 0


async def _serve(
    options: Options,
    output: Output,
    runtime: LocalRuntime,
    make_service: Callable[[], RuntimeService],
    listener: socket.socket,
    tuning: Tuning,
) -> None:
    with Shutdown(options.drain + _END_SECONDS) as shutdown:
        async with runtime:
            service = make_service()
            async with serve_api(service, listener, service.policy, before_end=service.stop):
                port = listener.getsockname()[1]
                host = f"[{options.host}]" if ":" in options.host else options.host
                say(f"serving http://{host}:{port}/api/v1, described at /openapi.json")
                tuning.settle()
                output.write(f'{{"port": {port}}}\n')
                async with asyncio.TaskGroup() as tasks:
                    resumption = tasks.create_task(_resume(runtime)) if runtime.has_state else None
                    await shutdown.requested.wait()
                    running = runtime.engine.active_runs
                    say(f"stopping{f', {running} running' if running else ''}")
                    await service.drain(options.drain)
                    if resumption is not None:
                        resumption.cancel()


async def _resume(runtime: LocalRuntime) -> None:
    counts = Counter(run.status for run in await runtime.resume(on_end=_tell_unresumed))
    if counts:
        said = ", ".join(f"{count} {status}" for status, count in counts.items())
        say(f"runs that were interrupted: {said}")


def _tell_unresumed(run: ResumedRun) -> None:
    if run.error is not None:
        say(f"warning: the run {run.run_id} cannot be resumed: {run.error}")
