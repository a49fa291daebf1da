"""One server for all the cases of a module that it must survive."""

from collections.abc import Iterator

import pytest

from stepflow_sdk_tests.reliability.ends import TRANSPORTS, End, open_end


@pytest.fixture(scope="module", params=TRANSPORTS)
def end(request: pytest.FixtureRequest) -> Iterator[End]:
    """A server that serves every case of a module, over each transport."""
    with open_end(request.param) as end:
        yield end
