"""Crashes, restarts, idle times and hard ends of published orchestrators and of our server."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from stepflow_sdk_tests.interop.network import Network
from stepflow_sdk_tests.interop.orchestrator import VERSIONS, Orchestrator, running_orchestrator, told
from stepflow_sdk_tests.interop.program import eventually, start_time
from stepflow_sdk_tests.interop.stages import ECHO, INPUT, MODES, Stage, configuration, flow_of, open_stage, step

pytestmark = pytest.mark.interop

IDLE_SECONDS = 35.0
"""Longer than our server keeps an idle connection."""

CALLS_BACK = {
    "steps": [
        step("keep", "keep", INPUT),
        step("nested", "nested", {"flow": {"$literal": ECHO}, "input": INPUT}),
    ],
    "output": [{"$step": "keep", "path": "$.data"}, {"$step": "nested"}],
}


def crash() -> dict[str, Any]:
    return flow_of("crash_once", {"name": uuid4().hex})


def test_after_a_crash_the_step_is_tried_again_where_the_runtime_starts_the_server(own_stage: Stage) -> None:
    if own_stage.server is None:
        assert own_stage.orchestrator.result(crash())["attempt"] == 2
    else:
        assert 'step "s" failed' in own_stage.orchestrator.error(crash())["message"]
        own_stage.server.restart()
    assert own_stage.orchestrator.result(ECHO, "back") == "back"


def test_the_step_of_a_server_that_is_told_to_end_is_tried_again_on_the_next_one(own_stage: Stage) -> None:
    if own_stage.server is not None or own_stage.version in ("0.9.0", "0.10.0"):
        pytest.skip("the server is not started again, or the code of the answer is not looked at")
    assert own_stage.orchestrator.result(flow_of("end_once", {"name": uuid4().hex}))["attempt"] == 2
    assert own_stage.orchestrator.result(ECHO, "back") == "back"


def test_after_a_crash_calls_back_work_again(
    own_stage: Stage, network: Network, tmp_path: Path, known_limit: Callable[[str], None]
) -> None:
    own_stage.orchestrator.outcome(crash())
    if own_stage.server is None:
        assert own_stage.orchestrator.result(CALLS_BACK, 7) == [7, 7]
        return
    if own_stage.version == "0.9.0":
        own_stage.server.restart()
        assert own_stage.orchestrator.result(CALLS_BACK, 7) == [7, 7]
        return
    # The call that nobody answers is given up after this time; those of the other orchestrator must be done in it.
    own_stage.server.restart(CALL_TIMEOUT="10")
    known_limit("a remote server is initialized once: after its restart only a new orchestrator tells it the blob API")
    assert "has not introduced itself" in told(own_stage.orchestrator.error(CALLS_BACK, 7)).message
    with another_orchestrator(own_stage, network, tmp_path) as orchestrator:
        assert orchestrator.result(CALLS_BACK, 7) == [7, 7]


def test_an_orchestrator_that_ends_takes_its_server_with_it(own_stage: Stage) -> None:
    pid = own_stage.orchestrator.result(flow_of("pid"))
    own_stage.orchestrator.program.stop()
    if own_stage.server is None:
        eventually(lambda: start_time(pid) is None, "our server ends with the orchestrator")
    else:
        assert start_time(pid) is not None


def test_a_server_notices_that_its_orchestrator_was_killed(own_stage: Stage, network: Network, tmp_path: Path) -> None:
    assert own_stage.orchestrator.result(CALLS_BACK, 6) == [6, 6]
    pid = own_stage.orchestrator.result(flow_of("pid"))
    busy = threading.Thread(target=wait_in_vain, args=(own_stage.orchestrator,))
    busy.start()
    eventually(lambda: (tmp_path / "meeting").exists(), "the call is under way")
    own_stage.orchestrator.program.kill()
    busy.join()
    if own_stage.server is None:
        eventually(lambda: start_time(pid) is None, "our server ends after the orchestrator")
        return
    # A server that somebody else started serves the next one.
    with another_orchestrator(own_stage, network, tmp_path) as orchestrator:
        assert orchestrator.result(CALLS_BACK, 7) == [7, 7]
        assert orchestrator.result(flow_of("pid")) == pid
    own_stage.server.program.stop()
    assert "Unclosed" not in own_stage.server.program.tail()


def wait_in_vain(orchestrator: Orchestrator) -> None:
    with suppress(HTTPException, ConnectionError, OSError):
        flow = flow_of("meet", {"name": "nobody", "parties": 2, "marker": "meeting"})
        orchestrator.outcome(flow)


def another_orchestrator(stage: Stage, network: Network, directory: Path) -> AbstractContextManager[Orchestrator]:
    assert stage.server is not None
    config = configuration({"type": "stepflow", "url": f"http://127.0.0.1:{stage.server.port}"})
    return running_orchestrator(stage.version, config, network, directory)


@pytest.fixture(scope="module")
def idled(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], Stage]]:
    """All orchestrators after the same idle time, so that it is waited for once."""
    with ExitStack() as stack:
        stages = {
            (version, mode): stack.enter_context(
                open_stage(version, mode, network, tmp_path_factory.mktemp(f"idle-{version}-{mode}"))
            )
            for version in VERSIONS
            for mode in MODES
        }
        for stage in stages.values():
            assert stage.orchestrator.result(CALLS_BACK, 1) == [1, 1]
        # Time is the subject here: nothing else closes an idle connection.
        threading.Event().wait(IDLE_SECONDS)
        yield stages


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("version", VERSIONS)
def test_after_an_idle_time_everything_works(
    idled: dict[tuple[str, str], Stage], version: str, mode: str, request: pytest.FixtureRequest
) -> None:
    request.node.user_properties.append(("interop", ("after an idle time everything works", f"{version} {mode}")))
    stage = idled[version, mode]
    assert stage.orchestrator.result(CALLS_BACK, {"n": 2}) == [{"n": 2}, {"n": 2}]
