"""Runs test cases of flows and tells how each has ended."""

from collections.abc import Callable, Collection, Iterable
from itertools import groupby
from typing import Any, Literal, TypeAlias

import anyio
import msgspec
from msgspec import Struct

from stepflow_sdk.errors import InvalidConfig, StepflowError
from stepflow_sdk.flows import MISSING, Flow
from stepflow_sdk.flows.matching import Mismatch, match_outcome
from stepflow_sdk.flows.values import Json
from stepflow_sdk.runtime.case_files import Case, CaseConfig, CaseFile
from stepflow_sdk.runtime.config import Config
from stepflow_sdk.runtime.engines import FlowEngine
from stepflow_sdk.runtime.local import LocalRuntime
from stepflow_sdk.runtime.stores.memory_runs import MemoryRunStore

__all__ = ["CaseReport", "CaseStatus", "FileReport", "run_case_files"]

CaseStatus: TypeAlias = Literal["passed", "failed", "error"]
"""How a case ended: as expected, otherwise, or not at all."""


class CaseReport(Struct, frozen=True, omit_defaults=True):
    """How one case has ended.

    Attributes:
        name: The name of the case.
        status: ``passed``, ``failed`` (the outcome is another one), or ``error`` (there is no outcome).
        index: The place of the case in its file.
        line: Its line in the file.
        seconds: How long it took.
        outcome: The outcome of the flow, as JSON.
        mismatches: Where that is not what was expected.
        message: Why there is no outcome.
        was_compared: Whether the case says what it expects; if not, it passes when it has run.
    """

    name: str
    status: CaseStatus
    index: int
    line: int | None = None
    seconds: float = 0.0
    outcome: Any = None
    mismatches: tuple[Mismatch, ...] = ()
    message: str | None = None
    was_compared: bool = True


class FileReport(Struct, frozen=True):
    """How the cases of one file have ended.

    Attributes:
        file: The file.
        cases: Those that were selected, in the order of the file.
        problem: Why none of them ran.
    """

    file: CaseFile
    cases: tuple[CaseReport, ...] = ()
    problem: str | None = None


async def run_case_files(
    files: Iterable[CaseFile],
    *,
    runtime: FlowEngine | None = None,
    make_runtime: Callable[[Config | None], FlowEngine] | None = None,
    names: Collection[str] = (),
    max_concurrency: int = 10,
    on_file: Callable[[FileReport], None] | None = None,
) -> list[FileReport]:
    """Run the test cases of files, one file after the other; files with one configuration share its servers.

    Args:
        files: The files, from `find_case_files`.
        runtime: What runs them, not yet started; by default each file has a runtime with its own configuration.
        make_runtime: Makes the runtime of a configuration, or of none; by default a `LocalRuntime` that keeps runs in
            memory, whatever the configuration says.
        names: Run only cases with these names, and leave out the files without any. None of them selects all.
        max_concurrency: How many cases of a file run at once.
        on_file: Called as each file is done.

    Returns:
        The reports, in the order of the files.
    """
    reports: list[FileReport] = []
    make = make_runtime or _local
    runner = _Runner(frozenset(names), anyio.CapacityLimiter(max(max_concurrency, 1)))

    def add(report: FileReport) -> None:
        reports.append(report)
        if on_file is not None:
            on_file(report)

    selected = [file for file in files if not names or file.problem or runner.select(file)]
    for config, group in groupby(selected, _config_of if runtime is None else lambda _: None):
        if isinstance(config, str):
            for file in group:
                add(FileReport(file, problem=config))
            continue
        try:
            used = make(config.load()) if runtime is None and config is not None else runtime
        except InvalidConfig as error:
            for file in group:
                add(FileReport(file, problem=_unusable(error)))
            continue
        async with used or make(None) as started:
            for file in group:
                add(await runner.run_file(file, started))
    return reports


def _local(config: Config | None) -> FlowEngine:
    # What tests do has no place in the state file of a service.
    return LocalRuntime(config=config, runs=MemoryRunStore())


def _config_of(file: CaseFile) -> CaseConfig | str:
    if file.problem is not None:
        return file.problem
    try:
        return file.find_config()
    except InvalidConfig as error:
        return _unusable(error)


def _unusable(error: InvalidConfig) -> str:
    return f"the configuration cannot be used: {error}"


class _Runner:
    def __init__(self, names: frozenset[str], limiter: anyio.CapacityLimiter) -> None:
        self.names = names
        self._limiter = limiter

    def select(self, file: CaseFile) -> list[Case]:
        return [case for case in file.cases if not self.names or case.name in self.names]

    async def run_file(self, file: CaseFile, runtime: FlowEngine) -> FileReport:
        if file.problem is not None or file.flow is None:
            return FileReport(file, problem=file.problem)
        cases = self.select(file)
        reports: dict[int, CaseReport] = {}

        async def run(case: Case, flow: Flow, runtime: FlowEngine) -> None:
            async with self._limiter:
                reports[case.index] = await _run_case(case, flow, runtime)

        async with anyio.create_task_group() as tasks:
            for case in cases:
                tasks.start_soon(run, case, file.flow, runtime)
        return FileReport(file, tuple(reports[case.index] for case in cases))


async def _run_case(case: Case, flow: Flow, runtime: FlowEngine) -> CaseReport:
    started = anyio.current_time()
    try:
        result = await runtime.run(flow, case.input)
    except StepflowError as error:
        return CaseReport(
            case.name,
            "error",
            case.index,
            case.line,
            seconds=anyio.current_time() - started,
            message=str(error),
            was_compared=case.output is not MISSING,
        )
    outcome: Json = msgspec.to_builtins(result)
    mismatches = () if case.output is MISSING else tuple(match_outcome(case.output, outcome))
    return CaseReport(
        case.name,
        "failed" if mismatches else "passed",
        case.index,
        case.line,
        seconds=anyio.current_time() - started,
        outcome=outcome,
        mismatches=mismatches,
        was_compared=case.output is not MISSING,
    )
