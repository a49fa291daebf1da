"""How a process that only serves is set up, and how that is turned off."""

import gc
import subprocess
import sys

import pytest

from stepflow_sdk_tests.e2e.web import serving_http
from stepflow_sdk_tests.e2e.wire import serving


def test_a_process_that_only_serves_is_tuned_for_it() -> None:
    with serving("looped") as wire:
        wire.execute("a", "/about", {"wait": True})
        about = wire.receive()["result"]["output"]
    assert about["gc"] > 700
    assert about["switch"] < 0.005
    assert about["frozen"] > 0


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_tuning_can_be_turned_off(transport: str) -> None:
    params = {"component": "/about", "input": {"wait": False}, "attempt": 1, "observability": {}}
    request = {"jsonrpc": "2.0", "id": "a", "method": "components/execute", "params": params}
    if transport == "stdio":
        with serving("looped", "--no-tuning") as wire:
            wire.send(request)
            about = wire.receive()["result"]["output"]
    else:
        with serving_http("looped", "--no-tuning") as web:
            about = web.send(body=request).json["result"]["output"]
    assert about == {"loop": "asyncio", "gc": gc.get_threshold()[0], "switch": 0.005, "frozen": 0}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks for the limits of another process")
def test_a_server_over_http_may_open_as_many_files_as_it_takes_connections() -> None:
    import resource

    def limit_of(pid: int) -> int:
        return resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, hard))
    try:
        with serving_http("looped") as web:
            raised = limit_of(web.process.pid)
        with serving_http("looped", "--no-tuning") as web:
            assert limit_of(web.process.pid) == 1000
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert raised > 10_000 or raised == hard


def test_an_import_tunes_nothing() -> None:
    code = (
        "import gc, sys; before = gc.get_threshold(), sys.getswitchinterval();"
        "import stepflow_sdk.running, stepflow_sdk.runtime;"
        "assert before == (gc.get_threshold(), sys.getswitchinterval()) and gc.get_freeze_count() == 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
