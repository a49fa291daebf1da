"""What a service says of itself is believed only as far as it can be read."""

import pytest

from stepflow_sdk.runtime.remote_service import _number


@pytest.mark.parametrize(
    ("version", "number"),
    [
        ("0.11.1", (0, 11)),
        ("0.9", (0, 9)),
        ("10.20-rc1", (10, 20)),
        ("", (0, 0)),
        ("1", (0, 0)),
        ("v0.11", (0, 0)),
        ("\u00b2.1", (0, 0)),
        (f"0.{'9' * 5000}", (0, 0)),
    ],
)
def test_a_version_that_is_none_is_an_old_one(version: str, number: tuple[int, int]) -> None:
    assert _number(version) == number
