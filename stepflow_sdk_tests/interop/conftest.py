"""What interop tests share: the network, and the table at their end."""

from collections.abc import Iterator

import pytest

from stepflow_sdk_tests.interop.network import Network, open_network


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    """A loopback network for programs that listen on every interface."""
    with open_network() as opened:
        yield opened
