"""A service for each test."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import pytest

from stepflow_sdk_tests.runtime.service.api import Api, serving


@pytest.fixture
async def api() -> AsyncGenerator[Api, None]:
    """A service whose runtime keeps runs in memory."""
    with anyio.fail_after(60):
        async with serving() as api:
            yield api


@pytest.fixture(params=["memory", "state file"])
async def kept(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Api, None]:
    """The same in memory and with a state file."""
    options: dict[str, Any] = {"state": tmp_path / "state.db"} if request.param == "state file" else {}
    with anyio.fail_after(60):
        async with serving(**options) as api:
            yield api
