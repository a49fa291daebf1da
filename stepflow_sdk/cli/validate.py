"""``validate``: checks a flow.

What is found goes to stdout, one line each: its level and code, file, line and JSON path. The exit code is 1 when
something would keep the flow from running.
"""

from typing import Any

from stepflow_sdk.cli.arguments import Options, Parser, UsageError, add_target
from stepflow_sdk.cli.output import Output, as_json
from stepflow_sdk.cli.servers import import_servers
from stepflow_sdk.cli.targets import read_config
from stepflow_sdk.errors import InvalidFlow
from stepflow_sdk.flows import check_flow, load_flow

__all__ = ["add_arguments", "execute"]

_REFUSED = ("error", "fatal")


def add_arguments(parser: Parser) -> None:
    """Describe what the command takes."""
    parser.add_argument("--flow", metavar="FILE", help="the flow, a .yaml, .yml or .json file (needed)")
    add_target(parser)
    parser.add_argument("--json", action="store_true", help="write one JSON object instead of lines")
    parser.set_defaults(parser=parser)


def execute(options: Options, output: Output) -> int:
    """Check the flow and return the exit code."""
    file: str = options.parser.need(options, "flow", "--flow FILE")
    if options.server and options.config:
        raise UsageError("--server needs no --config; give one of them")
    if options.server:
        import_servers(options.server)
    else:
        read_config(options, file)
    findings = _findings(file)
    refused = sum(finding["level"] in _REFUSED for finding in findings)
    if options.json:
        output.write(as_json({"valid": not refused, "diagnostics": findings}))
        return 1 if refused else 0
    for finding in findings:
        output.write(f"{_line(finding, file)}\n")
    verdict = "the flow is valid" if not refused else "the flow is refused"
    output.write(f"{file}: {verdict}: {_number(refused, 'error')}, {_number(len(findings) - refused, 'warning')}\n")
    return 1 if refused else 0


def _findings(file: str) -> list[dict[str, Any]]:
    try:
        return [finding.to_json() for finding in check_flow(load_flow(file))]
    except InvalidFlow as error:
        return error.diagnostics


def _line(finding: dict[str, Any], file: str) -> str:
    place = ":".join(str(part) for part in (finding.get("file", file), finding.get("line")) if part is not None)
    path = f" {finding['path']}:" if finding.get("path") else ""
    return f"{finding['level']:<7} {finding['code']}  {place}:{path} {finding['formatted']}"


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
