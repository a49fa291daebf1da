"""Fixtures for tests whose clients outlive a test."""

import pytest


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One event loop for a module, so that its tests can share a client: to start a server takes a second."""
    return "asyncio"
