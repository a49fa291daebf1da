"""Fixtures for every test."""

import pytest
from hypothesis import settings

# How long an example takes is a matter of the machine.
settings.register_profile("any machine", settings(), deadline=None)
settings.load_profile("any machine")


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, the event loop that servers run on."""
    return "asyncio"
