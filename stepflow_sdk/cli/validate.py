"""``validate``: checks a flow.

What is found goes to stdout, one line each: its level and code, file, line and JSON path. With a configuration, or with
--server, it is checked that a route leads to every component, and that plugins and routes are of use. With --type-check
the servers that the flow needs are started and asked for the schemas of their components, and what steps hand to each
other is held against these. Errors are only what fails whenever it runs; --strict makes errors of what may fail, too.
The exit code is 1 when something would keep the flow from running.
"""

from stepflow_sdk.cli.arguments import Options, Parser, UsageError, add_target
from stepflow_sdk.cli.checking import check_deployed, check_types, make_checker
from stepflow_sdk.cli.findings import REFUSED, as_line, check_file, summary, with_types
from stepflow_sdk.cli.loop import run_to_end
from stepflow_sdk.cli.output import Output, as_json

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: Parser) -> None:
    """Describe what the command takes."""
    parser.add_argument("--flow", metavar="FILE", help="the flow, a .yaml, .yml or .json file (needed)")
    add_target(parser)
    parser.add_argument(
        "--type-check", action="store_true", help="start the servers, and check what steps hand to each other"
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="with --type-check: make errors of what may fail, and warn where nothing can be told",
    )
    parser.add_argument("--json", action="store_true", help="write one JSON object instead of lines")
    parser.set_defaults(parser=parser)


def execute(options: Options, output: Output) -> int:
    """Check the flow and return the exit code."""
    file: str = options.parser.need(options, "flow", "--flow FILE")
    if options.strict and not options.type_check:
        raise UsageError("validate: --strict says how types are checked; give --type-check with it")
    flow, findings = check_file(file)
    deployed, is_usable = check_deployed(options, file, flow)
    findings += deployed
    if options.type_check and flow is not None and is_usable:
        report = run_to_end(check_types(make_checker(options, file), flow, strict=options.strict))
        findings = with_types(findings, report)
    refused = any(finding["level"] in REFUSED for finding in findings)
    if options.json:
        output.write(as_json({"valid": not refused, "diagnostics": findings}))
        return 1 if refused else 0
    for finding in findings:
        output.write(f"{as_line(finding, file)}\n")
    output.write(f"{summary(findings, file)}\n")
    return 1 if refused else 0
