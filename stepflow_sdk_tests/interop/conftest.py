"""What interop tests share: the network, the stages, and the table at their end."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stepflow_sdk_tests.interop.network import Network, open_network
from stepflow_sdk_tests.interop.orchestrator import VERSIONS
from stepflow_sdk_tests.interop.stages import MODES, Stage, open_stage

CORE = "0.11.1"
"""The version of the tests that every run has; the others are `slow`."""

_cells: dict[tuple[str, str], str] = {}
_limits: dict[tuple[str, str], list[str]] = {}
_networks: list[Network] = []
_counts: list[str] = []


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    """A loopback network for programs that listen on every interface."""
    with open_network() as opened:
        _networks.append(opened)
        yield opened


STAGES = [
    pytest.param((version, mode), id=f"{version}-{mode}", marks=[] if version == CORE else [pytest.mark.slow])
    for version in VERSIONS
    for mode in MODES
]


@pytest.fixture(scope="session", params=STAGES)
def shared_stage(
    request: pytest.FixtureRequest, network: Network, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """An orchestrator with our server, one for all cases of a version and a mode."""
    version, mode = request.param
    with open_stage(version, mode, network, tmp_path_factory.mktemp(f"{version}-{mode}")) as stage:
        yield stage


@pytest.fixture
def stage(request: pytest.FixtureRequest, shared_stage: Stage) -> Iterator[Stage]:
    """The same, with its log beside a failed test."""
    yield from _noted(request, shared_stage)


@pytest.fixture(params=STAGES)
def own_stage(request: pytest.FixtureRequest, network: Network, tmp_path: Path) -> Iterator[Stage]:
    """An orchestrator with our server for one case alone, which may break both."""
    version, mode = request.param
    with open_stage(version, mode, network, tmp_path) as stage:
        yield from _noted(request, stage)


def _noted(request: pytest.FixtureRequest, stage: Stage) -> Iterator[Stage]:
    node: Any = request.node
    case = node.originalname.removeprefix("test_").replace("_", " ")
    node.user_properties.append(("interop", (case, f"{stage.version} {stage.mode}")))
    yield stage
    print(stage.log())


@pytest.fixture
def known_limit(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Say that what a test then asserts is the runtime's own limit; the table shows it."""

    def say(reason: str) -> None:
        request.node.user_properties.append(("limit", reason))

    return say


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note the outcome of a case for the table."""
    properties: dict[str, Any] = dict(report.user_properties)
    if report.when == "call":
        _counts.extend(properties.get("counts", ()))
    if "interop" not in properties:
        return
    case, column = properties["interop"]
    if report.failed:
        _cells[case, column] = "FAILED"
    elif report.when == "call":
        reason = properties.get("limit")
        _cells.setdefault((case, column), "limit" if reason else "ok" if report.passed else "skipped")
        if reason:
            _limits.setdefault((case, reason), []).append(column)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the counts, and the table case x version x mode when more than the core was run."""
    if _counts:
        terminalreporter.section("random flows on this runtime and on the orchestrator")
        for line in _counts:
            terminalreporter.write_line(line)
    columns = [f"{version} {mode}" for version in VERSIONS for mode in MODES]
    shown = [column for column in columns if any(column == cell[1] for cell in _cells)]
    if len(shown) <= len(MODES):
        return
    say = terminalreporter.write_line
    cases = list(dict.fromkeys(case for case, _ in _cells))
    width = max(map(len, cases))
    terminalreporter.section("interop: case x version x mode")
    say(" " * width + "".join(f"  {column:>14}" for column in shown))
    for case in cases:
        row = "".join(f"  {_cells.get((case, column), '-'):>14}" for column in shown)
        say(f"{case:<{width}}{row}")
    say("")
    say("Limits of the runtimes, as the tests pin them:")
    for (case, reason), where in _limits.items():
        say(f"- {case} ({', '.join(where)}): {reason}")
    isolated = all(network.isolated for network in _networks)
    say(f"The orchestrators listened in {'a network namespace of their own' if isolated else 'the machine network'}.")
