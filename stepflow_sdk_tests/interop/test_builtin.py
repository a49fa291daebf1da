"""The harness itself: published orchestrators with nothing but their builtin components."""

import socket
from collections.abc import Iterator

import pytest

from stepflow_sdk.flows import blob_id
from stepflow_sdk.runtime import load_config
from stepflow_sdk_tests.interop.network import Network
from stepflow_sdk_tests.interop.orchestrator import VERSIONS, Orchestrator, running_orchestrator
from stepflow_sdk_tests.interop.program import descendants, start_time

CONFIG = {
    "plugins": {"builtin": {"type": "builtin"}},
    "routes": {"/builtin/{*component}": [{"plugin": "builtin"}]},
    "builtin": {"loadFileFrom": ["/"], "openai": {"model": "local"}},
    "stepTimeoutSecs": 30,
}
CORE = "0.11.1"

pytestmark = pytest.mark.interop


@pytest.fixture(
    scope="module", params=[pytest.param(v, marks=[] if v == CORE else [pytest.mark.slow]) for v in VERSIONS]
)
def orchestrator(
    request: pytest.FixtureRequest, network: Network, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Orchestrator]:
    directory = tmp_path_factory.mktemp("builtin")
    with running_orchestrator(request.param, CONFIG, network, directory) as started:
        yield started


def test_a_real_orchestrator_is_healthy(orchestrator: Orchestrator) -> None:
    health = orchestrator.ask("GET", "/health")
    assert (health["status"], health["version"]) == ("healthy", orchestrator.version)


def test_a_configuration_with_what_only_this_library_knows_works_in_both(orchestrator: Orchestrator) -> None:
    loaded = load_config(CONFIG)
    assert (loaded.step_timeout, loaded.warnings) == (30, ())
    assert orchestrator.ask("GET", "/health")["status"] == "healthy"


def test_it_runs_a_flow_of_builtin_components(orchestrator: Orchestrator) -> None:
    flow = {
        "steps": [
            {"id": "ask", "component": "/builtin/create_messages", "input": {"user_prompt": {"$input": "$.prompt"}}},
            {"id": "put", "component": "/builtin/put_blob", "input": {"data": {"$step": "ask"}, "blob_type": "data"}},
            {
                "id": "get",
                "component": "/builtin/get_blob",
                "input": {"blob_id": {"$step": "put", "path": "$.blob_id"}},
            },
        ],
        "output": {"id": {"$step": "put", "path": "$.blob_id"}, "data": {"$step": "get", "path": "$.data"}},
    }
    messages = {"messages": [{"role": "user", "content": "Grüß Gott"}]}
    assert orchestrator.result(flow, {"prompt": "Grüß Gott"}) == {"id": blob_id(messages), "data": messages}


def test_the_loopback_network_is_its_own_where_the_machine_allows(network: Network, orchestrator: Orchestrator) -> None:
    if not network.isolated:
        pytest.skip("this machine allows no network namespace: the orchestrators listen on its own interfaces")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", orchestrator.port), 5).close()


def test_nothing_of_it_is_left_when_it_is_stopped(network: Network, tmp_path_factory: pytest.TempPathFactory) -> None:
    with running_orchestrator(CORE, CONFIG, network, tmp_path_factory.mktemp("stopped")) as started:
        pid = started.program.process.pid
        assert start_time(pid)
    assert start_time(pid) is None
    assert descendants(pid) == {}
