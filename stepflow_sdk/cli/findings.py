"""What the checks of flows find, as lines for people."""

from collections.abc import Sequence
from typing import Any

from stepflow_sdk.errors import InvalidFlow
from stepflow_sdk.flows import Diagnostic, Flow, TypeReport, check_flow, load_flow

__all__ = ["REFUSED", "Finding", "as_findings", "as_line", "check_file", "summary", "with_types"]

Finding = dict[str, Any]
"""A `Diagnostic` as a JSON object."""

REFUSED = ("error", "fatal")
_UNVALIDATED = 1003
"""A path into something without a schema of the flow's own."""


def check_file(file: str) -> tuple[Flow | None, list[Finding]]:
    """Read and check a flow; it is None when it cannot be read or has a fatal finding."""
    try:
        flow = load_flow(file)
    except InvalidFlow as error:
        return None, error.diagnostics
    findings = as_findings(check_flow(flow))
    is_fatal = any(finding["level"] == "fatal" for finding in findings)
    return None if is_fatal else flow, findings


def as_findings(diagnostics: Sequence[Diagnostic]) -> list[Finding]:
    """The findings as JSON objects."""
    return [diagnostic.to_json() for diagnostic in diagnostics]


def with_types(findings: Sequence[Finding], report: TypeReport) -> list[Finding]:
    """The findings and those of the check of types, which makes up for what could not be checked without it."""
    covered = _UNVALIDATED if report.steps else 0
    return [*[finding for finding in findings if finding["code"] != covered], *as_findings(report.diagnostics)]


def as_line(finding: Finding, file: str) -> str:
    """One line: level and code, file and line, JSON path, and what was found."""
    place = ":".join(str(part) for part in (finding.get("file", file), finding.get("line")) if part is not None)
    path = f" {finding['path']}:" if finding.get("path") else ""
    return f"{finding['level']:<7} {finding['code']}  {place}:{path} {finding['formatted']}"


def summary(findings: Sequence[Finding], file: str) -> str:
    """One line: whether the flow is valid, and how much was found."""
    refused = sum(finding["level"] in REFUSED for finding in findings)
    verdict = "the flow is valid" if not refused else "the flow is refused"
    return f"{file}: {verdict}: {_number(refused, 'error')}, {_number(len(findings) - refused, 'warning')}"


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
