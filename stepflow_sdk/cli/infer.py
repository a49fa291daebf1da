"""``infer``: writes the schemas of steps into a flow.

The servers that the flow needs are started and asked for the schemas of their components. The flow goes to stdout in
its normal form, with the schema of each step's result under schemas.properties.steps, and that of its output, where
they are known and the flow does not declare them itself. With -o it goes to a file, by default beside the flow:
flow.yaml becomes flow.inferred.yaml. What the checks find goes to stderr; when there is an error among it, nothing is
written and the exit code is 1.
"""

from pathlib import Path

from stepflow_sdk.cli.arguments import Options, Parser, UsageError, add_target
from stepflow_sdk.cli.checking import check_deployed, check_types, make_checker
from stepflow_sdk.cli.findings import REFUSED, as_line, check_file, summary, with_types
from stepflow_sdk.cli.loop import run_to_end
from stepflow_sdk.cli.output import Output, as_json, as_yaml, check_writable, say
from stepflow_sdk.flows import OldFlow, TypeReport

__all__ = ["add_arguments", "execute"]

_FLOWS = (".yaml", ".yml", ".json")


def add_arguments(parser: Parser) -> None:
    """Describe what the command takes."""
    parser.add_argument("--flow", metavar="FILE", help="the flow, a .yaml, .yml or .json file (needed)")
    add_target(parser)
    group = parser.add_argument_group("output")
    group.add_argument(
        "-o", "--output", metavar="FILE", nargs="?", const="", help="where the flow goes (default: stdout)"
    )
    group.add_argument("--show-step-inputs", action="store_true", help="show what each step is called with, on stderr")
    group.add_argument(
        "--strict",
        action="store_true",
        help="make errors of results without a schema and of what may fail, and warn where nothing can be told",
    )
    parser.set_defaults(parser=parser)


def execute(options: Options, output: Output) -> int:
    """Infer the schemas and return the exit code."""
    file: str = options.parser.need(options, "flow", "--flow FILE")
    if not file.lower().endswith(_FLOWS):
        raise UsageError(f"infer: --flow {file[:80]}: a flow is a .yaml, .yml or .json file")
    target = str(Path(file).with_suffix(".inferred.yaml")) if options.output == "" else options.output
    check_writable(target)
    flow, findings = check_file(file)
    if isinstance(flow, OldFlow):
        say(f"{file}: nothing is inferred for flows of {flow.language}; 'stepflow-sdk upgrade {file}' rewrites it")
        return 1
    deployed, is_usable = check_deployed(options, file, flow)
    findings += deployed
    report: TypeReport | None = None
    if flow is not None and is_usable:
        report = run_to_end(check_types(make_checker(options, file), flow, strict=options.strict))
        findings = with_types(findings, report)
    for finding in findings:
        say(as_line(finding, file))
    if report is not None and options.show_step_inputs:
        _show_inputs(report)
    if report is None or any(finding["level"] in REFUSED for finding in findings):
        say(f"{summary(findings, file)}; nothing is written")
        return 1
    document = report.annotated()
    if target is None:
        output.write(as_json(document) if file.lower().endswith(".json") else as_yaml(document))
    else:
        output.write_value(document, target)
    return 0


def _show_inputs(report: TypeReport) -> None:
    inputs = report.inputs()
    for step, (given, _) in report.in_words().items():
        say(f"step {step} calls {report.steps[step].component} with {given}:")
        for line in as_json(inputs[step]).splitlines():
            say(f"  {line}")
