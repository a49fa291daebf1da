"""The reports of test cases as JUnit XML."""

import re
from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree as ET

from stepflow_sdk.runtime.case_runs import CaseReport, FileReport

__all__ = ["as_junit"]

# XML 1.0 has no way to write these, not even as references.
_NOT_IN_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_junit(reports: Sequence[FileReport]) -> str:
    """Write a test suite for each file, and a test case for each of its cases."""
    suites = [_suite(report) for report in reports]
    root = ET.Element("testsuites", name="stepflow-sdk test")
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in suites)))
    root.set("time", f"{sum(float(suite.get('time', '0')) for suite in suites):.3f}")
    root.extend(suites)
    ET.indent(root)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ET.tostring(root, encoding='unicode')}\n"


def _suite(report: FileReport) -> ET.Element:
    name = _text(str(report.file.path))
    suite = ET.Element("testsuite", name=name)
    if report.problem is not None:
        case = ET.SubElement(suite, "testcase", name=name, classname=name, time="0.000")
        _say(case, "error", report.problem, report.problem)
    for told in report.cases:
        case = ET.SubElement(suite, "testcase", name=_text(told.name), classname=name, time=f"{told.seconds:.3f}")
        if told.line is not None:
            case.set("file", name)
            case.set("line", str(told.line))
        _add_verdict(case, told)
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", str(len(suite.findall("testcase/error"))))
    suite.set("time", f"{sum(case.seconds for case in report.cases):.3f}")
    return suite


def _add_verdict(case: ET.Element, told: CaseReport) -> None:
    if told.status == "error":
        _say(case, "error", told.message or "", told.message or "")
    elif told.status == "failed":
        lines = [str(mismatch) for mismatch in told.mismatches]
        _say(case, "failure", lines[0], "\n".join(lines))


def _say(case: ET.Element, kind: str, message: str, details: str) -> None:
    ET.SubElement(case, kind, message=_text(message)).text = _text(details)


def _text(text: str) -> str:
    return _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)
