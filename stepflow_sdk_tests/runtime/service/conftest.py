"""A service for each test."""

from collections.abc import AsyncGenerator

import anyio
import pytest

from stepflow_sdk_tests.runtime.service.api import Api, serving


@pytest.fixture
async def api() -> AsyncGenerator[Api, None]:
    """A service whose runtime keeps runs in memory."""
    with anyio.fail_after(60):
        async with serving() as api:
            yield api
