"""What a server loads before its first reply: each module costs time at the start, and memory for good."""

import subprocess
import sys

import pytest

from stepflow_sdk_tests.e2e.web import serving_http
from stepflow_sdk_tests.e2e.wire import serving

RARE = {
    *("stepflow_sdk.flows", "stepflow_sdk.runtime", "stepflow_sdk.cli", "stepflow_sdk.testing"),
    *("stepflow_sdk.mcp_server", "stepflow_sdk.command_line", "stepflow_sdk.transports.blob_api"),
    *("stepflow_sdk.metrics", "stepflow_sdk.monitor", "stepflow_sdk.transports.memory"),
    *("aiohttp", "anyio", "attrs", "fastapi", "jsonschema", "mcp", "opentelemetry", "pydantic", "sse_starlette"),
    *("starlette", "yaml", "difflib", "importlib.metadata", "sqlite3", "xml"),
}
"""What no server needs that only runs components, on either transport."""

NOT_ON_STDIO = {
    *("stepflow_sdk.transports.http", "stepflow_sdk.transports.relay"),
    *("uvicorn", "httptools", "h11", "click", "argparse", "dataclasses", "email", "hashlib", "hmac", "http"),
    *("ipaddress", "json", "logging.handlers", "pathlib", "pickle", "queue", "urllib"),
    *("stepflow_sdk.components.packing", "stepflow_sdk.protocol.packing", "stepflow_sdk.tracing"),
}


def bare_modules() -> set[str]:
    """What the interpreter and the two things that any server here stands on load by themselves."""
    code = "import asyncio, msgspec, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def families(modules: set[str]) -> set[str]:
    """The modules and the packages that they are in."""
    return {".".join(name.split(".")[:depth]) for name in modules for depth in range(1, name.count(".") + 2)}


@pytest.mark.promise("S15")
def test_a_server_on_stdio_loads_what_it_needs_and_no_more() -> None:
    with serving("loaded") as wire:
        wire.execute("a", "/loaded")
        loaded = set(wire.receive()["result"]["output"]) - bare_modules()
    assert families(loaded) & (RARE | NOT_ON_STDIO) == set()
    ours = {name for name in loaded if name.startswith("stepflow_sdk")}
    assert 40 < len(ours) <= 77
    outside = {name.partition(".")[0] for name in loaded - ours} - sys.stdlib_module_names - {"__mp_main__", "uvloop"}
    assert outside <= {"msgspec", "typing_extensions"}
    # What is left of the standard library and of what the environment brings along.
    assert len(loaded - ours) <= 12, sorted(loaded - ours)


def test_a_server_over_http_loads_what_it_needs_and_no_more() -> None:
    with serving_http("loaded") as web:
        loaded = set(web.execute("/loaded")["result"]["output"]) - bare_modules()
    assert "stepflow_sdk.transports.http" in loaded
    assert families(loaded) & RARE == set()
    assert len({name for name in loaded if name.startswith("stepflow_sdk")}) <= 100
