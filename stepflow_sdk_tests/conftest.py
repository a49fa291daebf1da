"""Fixtures for every test."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, the event loop that servers run on."""
    return "asyncio"
