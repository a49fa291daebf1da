"""``test``: runs the test cases that flows carry.

Without PATHS, the folder it is started in. The components of a file come from --config or --server, else from its
test.configFile or test.config, else from stepflow-config.test.yml beside it or in this directory, else from the
configuration that is found for it.
A result may have more fields than a case expects; arrays have the same length, 1 is not 1.0, the code and the message
of an error are the same, and run ids do not count. A case without an output passes when it has run.
The exit code is 1 when a case failed, or could not be run, or there is none; 2 for a wrong command line.
"""

import difflib
import os
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from stepflow_sdk.cli.arguments import Options, Parser, UsageError, add_target, whole_number
from stepflow_sdk.cli.engines import LOCAL, ORCHESTRATOR, add_engine, engine_of, make_engine, make_orchestrator
from stepflow_sdk.cli.junit import as_junit
from stepflow_sdk.cli.loop import run_to_end
from stepflow_sdk.cli.output import Output, as_json, check_writable, printable, say
from stepflow_sdk.cli.state import add_state, read_state
from stepflow_sdk.errors import InvalidDocument
from stepflow_sdk.flows import did_you_mean, dump_yaml
from stepflow_sdk.flows.diagnostics import DEPRECATED
from stepflow_sdk.flows.matching import normalized, restricted
from stepflow_sdk.runtime import Config, LocalRuntime
from stepflow_sdk.runtime.case_files import CaseFile, find_case_files, update_case_file
from stepflow_sdk.runtime.case_runs import CaseReport, FileReport, run_case_files
from stepflow_sdk.runtime.engines import FlowEngine

__all__ = ["add_arguments", "execute"]

_MARKS = {"passed": "ok     ", "failed": "FAILED ", "error": "ERROR  ", "updated": "updated"}


def add_arguments(parser: Parser) -> None:
    """Describe what the command takes."""
    parser.add_argument("paths", metavar="PATHS", nargs="*", help="flows, and folders of them (default: this folder)")
    add_target(parser)
    add_engine(parser)
    add_state(parser, "keep the runs of the cases in this file", "memory")
    group = parser.add_argument_group("what runs, and how")
    group.add_argument("--case", metavar="NAME", action="append", default=[], help="only this case; may be repeated")
    group.add_argument(
        "--max-concurrency", metavar="N", type=whole_number(1), default=10, help="cases at once (default: 10)"
    )
    group = parser.add_argument_group("what is told")
    group.add_argument("--update", action="store_true", help="write the outcomes into the files, where they differ")
    group.add_argument("--diff", action="store_true", help="show what differs as a diff")
    group.add_argument("--junit", metavar="FILE", help="write a JUnit XML file, too")
    group.add_argument("--json", action="store_true", help="write one JSON object instead of lines")
    parser.set_defaults(parser=parser, in_memory=True)


def execute(options: Options, output: Output) -> int:
    """Run the cases and return the exit code."""
    _check_junit(options.junit)
    files = _find(options)
    printer = _Printer(options, output)
    engine = engine_of(options)
    has_own = options.server or options.config or engine not in (LOCAL, ORCHESTRATOR)
    reports = run_to_end(
        run_case_files(
            files,
            runtime=make_engine(options) if has_own else None,
            make_runtime=_maker(options),
            names=options.case,
            max_concurrency=options.max_concurrency,
            on_file=printer.take,
        )
    )
    if options.junit:
        _write_junit(options.junit, reports)
    return printer.finish()


def _maker(options: Options) -> Callable[[Config | None], FlowEngine] | None:
    if engine_of(options) == ORCHESTRATOR:
        return make_orchestrator
    state = read_state(options)
    return None if state is None else lambda config: LocalRuntime(config=config, state=state)


def _find(options: Options) -> list[CaseFile]:
    paths: list[str] = options.paths or ["."]
    for path in paths:
        if not os.path.exists(path):  # noqa: PTH110  (it has no names that it cannot take)
            folder, name = os.path.split(path)
            beside = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []  # noqa: PTH112, PTH208
            hint = did_you_mean(name, beside)
            raise UsageError(f"test: there is no {path[:200]!r}{f'; {hint}' if hint else ''}")
    files = find_case_files(paths)
    for file in files:
        for finding in () if file.flow is None else file.flow.warnings:
            if finding.code == DEPRECATED[0]:
                say(f"warning: {finding}")
    names = [case.name for file in files for case in file.cases]
    for name in options.case:
        if name not in names and not any(file.problem for file in files):
            hint = did_you_mean(name, names) or f"cases are: {', '.join(map(repr, names[:10])) or 'none'}"
            raise UsageError(f"test: there is no case {name[:80]!r}; {hint}")
    return files


class _Printer:
    """Tells each file as it is done, updates it where that is asked for, and counts."""

    def __init__(self, options: Options, output: Output) -> None:
        self._options = options
        self._output = output
        self._files: list[dict[str, Any]] = []
        self._counts = {"passed": 0, "failed": 0, "error": 0, "updated": 0}

    def take(self, report: FileReport) -> None:
        problem = report.problem
        updated: set[int] = set()
        if self._options.update and problem is None:
            updated, problem = _update(report)
        told: list[dict[str, Any]] = []
        lines = [str(report.file.path)]
        if problem is not None:
            self._counts["error"] += 1
            lines.append(f"  {_MARKS['error']} {_indented(problem)}")
        for case in report.cases:
            status = "updated" if case.index in updated else case.status
            self._counts[status] += 1
            told.append({**msgspec.to_builtins(case), "status": status})
            lines += self._lines(report.file, case, status)
        self._files.append({"file": str(report.file.path), "problem": problem, "cases": told})
        if not self._options.json:
            self._output.write("".join(f"{printable(line)}\n" for line in lines))

    def finish(self) -> int:
        counts = {"errors" if name == "error" else name: count for name, count in self._counts.items()}
        is_good = not (counts["failed"] or counts["errors"]) and bool(self._files)
        if self._options.json:
            self._output.write(as_json({"success": is_good, **counts, "files": self._files}))
        else:
            told = ", ".join(
                f"{count} {name if count > 1 else name.removesuffix('s')}" for name, count in counts.items() if count
            )
            files = "1 file" if len(self._files) == 1 else f"{len(self._files)} files"
            self._output.write(f"{told or 'no test cases'} in {files}\n")
        if not self._files:
            say("test: no flow here has a 'test' section")
        return 0 if is_good else 1

    def _lines(self, file: CaseFile, case: CaseReport, status: str) -> list[str]:
        remark = "" if case.was_compared or status != "passed" else "  (no output to compare with)"
        lines = [f"  {_MARKS[status]} {case.name}{remark}"]
        if case.message is not None:
            lines.append(f"          {_indented(case.message)}")
        if self._options.diff and case.mismatches:
            lines += [f"          {line}" for line in _diff(file.cases[case.index].output, case.outcome)]
        else:
            lines += [f"          {mismatch}" for mismatch in case.mismatches]
        return lines


def _update(report: FileReport) -> tuple[set[int], str | None]:
    """Write what differs or is missing; returns the cases whose output was written, or why none was."""
    outputs = {
        case.index: normalized(case.outcome)
        for case in report.cases
        if case.outcome is not None and (case.mismatches or not case.was_compared)
    }
    try:
        if outputs:
            update_case_file(report.file, outputs)
    except InvalidDocument as error:
        return set(), str(error)
    return set(outputs), None


def _diff(expected: Any, actual: Any) -> list[str]:
    """Both as YAML; of the outcome only what the case speaks of."""
    before, after = dump_yaml(normalized(expected)), dump_yaml(restricted(expected, actual))
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "expected", "actual", lineterm="")
    return list(lines)


def _indented(text: str) -> str:
    return text.replace("\n", "\n          ")


def _check_junit(file: str | None) -> None:
    try:
        check_writable(file)
    except UsageError as error:
        raise UsageError(str(error).replace("--output", "--junit")) from None


def _write_junit(file: str, reports: Sequence[FileReport]) -> None:
    try:
        with open(file, "w", encoding="utf-8") as stream:  # noqa: PTH123  (it has no names that it cannot take)
            stream.write(as_junit(reports))
    except OSError as error:
        raise UsageError(f"--junit {file}: cannot be written: {error.strerror or error}") from None
