"""Fixtures for every test."""

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes is a matter of the machine, and so is how long it takes to make one.
_slow = [*settings().suppress_health_check, HealthCheck.too_slow]
settings.register_profile("any machine", settings(), deadline=None, suppress_health_check=_slow)
settings.load_profile("any machine")


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, the event loop that servers run on."""
    return "asyncio"
