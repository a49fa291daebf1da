"""The error codes of the dialects."""

import pytest

from stepflow_sdk import errors
from stepflow_sdk.protocol.error_codes import protocol_codes, range_codes
from stepflow_sdk.protocol.failures import error_of


@pytest.mark.parametrize(
    ("error", "by_table", "by_range"),
    [
        (ValueError("x"), -32004, -32100),
        (errors.ComponentError("x", retryable=True), -32004, -32100),
        (errors.ComponentError("x"), -32004, -32000),
        (errors.InvalidInput("x"), -32003, -32003),
        (errors.ComponentNotFound("x"), -32001, -32001),
        (errors.ResourceUnavailable("x"), -32005, -32102),
        (errors.ServerStopping(), -32005, -32300),
        (errors.RequestTimeout("x"), -32006, -32102),
        (errors.NotFound("x"), -32012, -32005),
        (errors.InvalidValue("x"), -32011, -32004),
        (errors.MethodNotFound("x"), -32601, -32601),
        (errors.RemoteError("x", code=42), 42, 42),
    ],
)
def test_an_error_has_the_code_of_its_dialect(error: Exception, by_table: int, by_range: int) -> None:
    assert error_of(error, protocol_codes).code == by_table
    assert error_of(error, range_codes).code == by_range


@pytest.mark.parametrize("error", errors.WIRE_ERRORS.values())
def test_only_what_may_succeed_later_is_in_the_range_that_is_tried_again(error: type[errors.WireError]) -> None:
    retried = -32199 <= error_of(error("x"), range_codes).code <= -32100
    assert retried == (error in (errors.ResourceUnavailable, errors.RequestTimeout))
