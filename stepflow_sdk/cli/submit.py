"""``submit``: runs a flow on a service: ``stepflow-sdk serve``, or an orchestrator 0.9 to 0.11.

Input, output and exit codes are those of ``run``. With --no-wait the run is printed as soon as it is accepted,
  {"runId": …, "status": "running"}
and the exit code is 0; an orchestrator 0.9 answers at the end of the run all the same. A wait that is interrupted
leaves the run to the service.
"""

from stepflow_sdk.cli import run
from stepflow_sdk.cli.arguments import Options, Parser, UsageError, add_target
from stepflow_sdk.cli.engines import LOCAL, ORCHESTRATOR, add_engine, engine_of, make_remote
from stepflow_sdk.cli.inputs import read_input
from stepflow_sdk.cli.lines import count_lines, read_lines
from stepflow_sdk.cli.loop import run_to_end
from stepflow_sdk.cli.output import Output
from stepflow_sdk.runtime.remote_service import RunState

__all__ = ["add_arguments", "execute"]

_URL = "http://localhost:7837"


def add_arguments(parser: Parser) -> None:
    """Describe what the command takes."""
    parser.add_argument("--flow", metavar="FILE", help="the flow, a .yaml, .yml or .json file (needed)")
    parser.add_argument("--url", metavar="URL", help=f"the service (default: {_URL})")
    parser.add_argument("--no-wait", action="store_true", help="print the id of the run, and do not wait for its end")
    add_engine(parser)
    add_target(parser)
    run.add_given(parser)
    # A service keeps runs where it wants to.
    parser.set_defaults(parser=parser, engine=None, state=None, leaves_runs=True)


def execute(options: Options, output: Output) -> int:
    """Submit the flow and return the exit code."""
    if options.url is not None and options.engine is not None:
        raise UsageError("--url and --engine say the same thing; give one of them")
    options.engine = options.engine or options.url or _URL
    if not options.no_wait:
        return run.execute(options, output)
    url = engine_of(options)
    if url in (LOCAL, ORCHESTRATOR):
        raise UsageError(f"--no-wait needs a service that goes on, not --engine {url}")
    prepared = run.prepare(options, output)
    if prepared is None:
        return 1
    if options.inputs is None:
        inputs = [read_input(options)]
    else:
        count_lines(options.inputs)
        inputs = list(read_lines(options.inputs))
    service = make_remote(options, url)

    async def submit() -> RunState:
        async with service:
            return await service.submit(prepared.flow, inputs, **prepared.how._asdict())

    state = run_to_end(submit())
    output.write_value({"runId": state.run_id, "status": state.status}, options.output)
    return 0
