"""Whether values fit, with jsonschema for the referee."""

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stepflow_sdk.flows.types.fitting import fit
from stepflow_sdk.flows.types.types import Described, Exactly
from stepflow_sdk.flows.types.verdicts import Verdict
from stepflow_sdk_tests.flows.types.schemas import PLAIN, VALUES, is_valid, schemas


def described(schema: Any) -> Described:
    return Described(schema, schema)


@given(schemas(), VALUES)
@settings(max_examples=200, deadline=None)
def test_a_value_is_judged_as_the_referee_judges_it(schema: Any, value: Any) -> None:
    verdict = fit(described(schema), Exactly(value)).verdict
    if is_valid(schema, value):
        assert verdict in (Verdict.FITS, Verdict.UNKNOWN)
    else:
        assert verdict in (Verdict.NEVER, Verdict.UNKNOWN)


@given(schemas(), schemas(), st.lists(VALUES, max_size=8))
@settings(max_examples=250, deadline=None)
def test_what_is_said_of_a_schema_holds_for_its_values(wanted: Any, offered: Any, values: list[Any]) -> None:
    verdict = fit(described(wanted), described(offered)).verdict
    for value in values:
        if verdict in (Verdict.FITS, Verdict.NEVER) and is_valid(offered, value):
            assert is_valid(wanted, value) == (verdict is Verdict.FITS)


@given(schemas(), st.lists(VALUES, max_size=8))
@settings(max_examples=100, deadline=None)
def test_what_a_schema_allows_is_never_refused_by_the_same_schema(schema: Any, values: list[Any]) -> None:
    verdict = fit(described(schema), described(copy.deepcopy(schema))).verdict
    if any(is_valid(schema, value) for value in values):
        assert verdict is not Verdict.NEVER


@given(PLAIN)
@settings(max_examples=100, deadline=None)
def test_what_components_report_fits_itself(schema: Any) -> None:
    assert fit(described(schema), described(copy.deepcopy(schema))).verdict is Verdict.FITS
