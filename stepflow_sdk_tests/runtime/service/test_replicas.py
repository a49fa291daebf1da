"""A replica that no runtime introduces itself to."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import anyio

from stepflow_sdk_tests.runtime.service.api import Api

COMPONENTS = Path(__file__).parents[1] / "components.py"
HEADERS = {"accept": "application/json, text/event-stream"}


async def test_a_replica_that_is_told_where_blobs_are_needs_no_introduction(api: Api) -> None:
    url = f"{api.url}/api/v1/blobs"
    command = [sys.executable, str(COMPONENTS), "--http", "--blob-api", url]
    async with await anyio.open_process(command, stdin=subprocess.DEVNULL, stderr=None) as process:
        assert process.stdout is not None
        port = json.loads(await process.stdout.receive())["port"]
        params = {"component": "/keep", "input": {"é": [1.0]}, "attempt": 1, "observability": {}}
        request: Any = {"jsonrpc": "2.0", "id": "1", "method": "components/execute", "params": params}
        async with (
            aiohttp.ClientSession(headers=HEADERS) as session,
            session.post(f"http://127.0.0.1:{port}/", json=request) as answer,
        ):
            answered = await answer.json()
            assert "result" in answered, answered
            output = answered["result"]["output"]
        process.terminate()
    assert output["data"] == {"é": [1.0]}
    assert await api.runtime.get_blob(output["id"]) == {"é": [1.0]}


async def test_an_address_of_blobs_that_is_none_is_refused() -> None:
    command = [sys.executable, str(COMPONENTS), "--http", "--blob-api", "localhost"]
    done = await anyio.run_process(command, check=False)
    assert done.returncode == 2
    assert b"--blob-api is a URL" in done.stderr
