import hashlib
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepflow_sdk.errors import InvalidValue
from stepflow_sdk.flows import blob_id, canonical_json, parse_flow, parse_json
from stepflow_sdk_tests.flows.strategies import JSON


@pytest.mark.parametrize(
    ("text", "identifier"),
    [
        ('{"a":1,"b":2}', "43258cff783fe7036d8a43033f830adfc60ec037382473548ac742b888292777"),
        ('{"b":2,"a":1}', "3fb75453225c732a76b7899ea2096dda1455189c89817239732182f73fe5a09f"),
        ('"x"', "ba2df4903a2c14e86dc3bcca58911b44ac1d2514b7227bf6eb08cfb978f55a1b"),
        ('{"b":1,"a":[1.0]}', "8d1fee9dd6703cfcbf0b4176e885fb890ec2975889d988ef0743b837e694aac2"),
        (
            '{"s":"hé\\n\\u0007/","n":[1e-6,1e+16,0.00001,-0.0,100.0]}',
            "259ac06294ea6567383af3a515a78d32c28dbfba5fdafb26728559172b1fcb20",
        ),
        ("null", "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b"),
        ('"aGk="', "35a1818d651b50538be060e534a661d659b614b97c917ff90527e2b463917cf0"),
    ],
)
def test_blob_ids_are_those_that_the_orchestrator_gives(text: str, identifier: str) -> None:
    value = parse_json(text).value
    assert canonical_json(value) == text.encode()
    assert blob_id(value) == identifier


@pytest.mark.parametrize(
    ("document", "identifier"),
    [
        ({}, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
        (
            {
                "output": {"a": {"$input": "x"}, "b": {"path": "$.y", "$step": "s1"}},
                "name": "n",
                "description": None,
                "steps": [
                    {
                        "component": "/builtin/create_messages",
                        "id": "s1",
                        "mustExecute": False,
                        "input": {"user_prompt": {"$input": ""}},
                        "onError": {"action": "fail"},
                        "metadata": {},
                        "unknown": 1,
                    }
                ],
            },
            "952809d183375034d281f1962b0b1ae69cc963f62a1d0062891b2c39785c2a9c",
        ),
        # An `else` of null is kept, though it is the same as none.
        (
            {"steps": [], "output": {"$if": [], "then": {"$literal": 1}, "else": None}},
            "ac64eb16e453087498c210460a2b928651f09a04cffad399b7e5c4f40948e598",
        ),
    ],
)
def test_flow_ids_are_those_that_the_orchestrator_gives(document: dict[str, Any], identifier: str) -> None:
    assert parse_flow(document).id == identifier


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e15, "1000000000000000.0"),
        (9999999999999998.0, "9999999999999998.0"),
        (1e16, "1e+16"),
        (1.5e300, "1.5e+300"),
        (0.0001, "0.0001"),
        (0.00001, "0.00001"),
        (-1.25e-5, "-0.0000125"),
        (9.999e-6, "9.999e-6"),
        (1.5e-7, "1.5e-7"),
        (5e-324, "5e-324"),
        (-0.0, "-0.0"),
        (2**64 - 1, "18446744073709551615"),
        (2**64, "1.8446744073709552e+19"),
        (-(2**63), "-9223372036854775808"),
        (-(2**63) - 1, "-9.223372036854776e+18"),
        (True, "true"),
        ('"\\/\x7f\u2028\x1f\b\f😀', '"\\"\\\\/\x7f\u2028\\u001f\\b\\f😀"'),
        ((1, [2, {"é": 1e-9}]), '[1,[2,{"é":1e-9}]]'),
    ],
)
def test_numbers_and_strings_are_written_as_the_format_says(value: object, text: str) -> None:
    assert canonical_json(value).decode() == text


@given(JSON)
@settings(max_examples=200, deadline=None)
def test_the_canonical_text_reads_back_to_the_same_value(value: Any) -> None:
    text = canonical_json(value).decode()
    assert repr(json.loads(text)) == repr(value)
    assert parse_json(text).value == value
    assert blob_id(value) == hashlib.sha256(text.encode()).hexdigest()


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=500, deadline=None)
def test_a_float_is_plain_between_1e_5_and_1e16_and_has_an_exponent_elsewhere(value: float) -> None:
    text = canonical_json(value).decode()
    assert float(text) == value
    if value == 0 or 1e-5 <= abs(value) < 1e16:
        assert re.fullmatch(r"-?[0-9]+\.[0-9]+", text)
    else:
        assert re.fullmatch(r"-?[1-9](\.[0-9]*[1-9])?e(\+|-)[1-9][0-9]*", text)


def _nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [0, float("nan")]}, "$.a[1]"),
        ({"a": float("inf")}, "$.a"),
        ({"a": {1: 2}}, "$.a"),
        ([object()], "$[0]"),
        ({"a": b"x"}, "$.a"),
        (_nested(129), "$" + "[0]" * 128),
    ],
)
def test_what_is_not_json_is_refused_with_its_path(value: object, path: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        canonical_json(value)
    assert caught.value.data == {"path": path}


def test_half_a_surrogate_pair_and_a_boundless_integer_have_no_canonical_text() -> None:
    with pytest.raises(InvalidValue, match="surrogate"):
        canonical_json("\ud800")
    with pytest.raises(InvalidValue, match="range"):
        canonical_json(10**400)


def test_a_value_may_be_nested_as_deep_as_a_message() -> None:
    assert canonical_json(_nested(128)) == b"[" * 128 + b"]" * 128
