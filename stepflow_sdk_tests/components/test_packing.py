"""Inputs and outputs in MessagePack are what they are in JSON."""

import itertools
import json
import math
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from stepflow_sdk.components import ComponentSpec, Router
from stepflow_sdk.errors import ComponentError, DefinitionError, InvalidInput
from stepflow_sdk.packed import Packed, has_no_json

from .helpers import spec_of, whole
from .types import types, values

_SETTINGS = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


# Nothing of which looks like such a number: without, with few, and with many of the bytes that one has second.
_FILLERS = [b"\x01\x02", b"\x7f", b"\xa7some\xc3\xbf\x7f", b"\x7f".ljust(700), b"\xc2\xff\xc3", b"\xff".rjust(900)]


class Item(msgspec.Struct):
    name: str
    price: float = 0.0


@dataclass
class Order:
    items: list[Item]
    state: Literal["open", "paid"]


def served(taken: Any, given_back: Any) -> ComponentSpec:
    def identity(value: Any) -> Any:
        return value

    identity.__annotations__ = {"value": whole(taken), "return": given_back}
    router = Router()
    try:
        router.component(identity)
    except DefinitionError as error:
        assume("tag" not in str(error))
        raise
    return router.specs[0]


def packed(value: Any) -> Packed | None:
    """A JSON value in MessagePack, or None where it has integers that this has not."""
    try:
        return Packed(msgspec.msgpack.encode(value))
    except (OverflowError, UnicodeEncodeError):
        return None


def outcome(spec: ComponentSpec, raw: Any) -> Any:
    """What comes of an input, and in which words it is refused."""
    try:
        output = spec.encode(spec.bind(raw, {}, {})())
    except (InvalidInput, ComponentError) as error:
        return type(error), error.message, error.data
    return output.decode() if isinstance(output, Packed) else json.loads(output)


@_SETTINGS
@given(st.data())
def test_an_input_has_the_same_outcome_in_both_encodings(data: st.DataObject) -> None:
    taken = data.draw(types())
    spec = served(taken, taken)
    for _ in range(4):
        value = data.draw(values(spec.input_schema))
        same = packed(value)
        if same is not None:
            expected = outcome(spec, json.dumps(value).encode())
            assert outcome(spec, same) == expected
            assert outcome(spec.packing(), same) == expected


@_SETTINGS
@given(st.data())
def test_an_output_is_the_same_in_both_encodings(data: st.DataObject) -> None:
    spec = served(Any, data.draw(types()))
    value = data.draw(values(spec.output_schema))
    raw = json.dumps(value).encode()
    assert outcome(spec.packing(), raw) == outcome(spec, raw)


@_SETTINGS
@given(types(), st.binary(max_size=40))
def test_any_bytes_in_messagepack_give_a_call_or_an_invalid_input(taken: Any, data: bytes) -> None:
    spec = served(taken, Any)
    refusal: InvalidInput | None = None
    try:
        spec.bind(Packed(data), {}, {})
    except InvalidInput as error:
        refusal = error
    assert refusal is None or refusal.data["problems"]


def test_structs_and_dataclasses_go_out_in_messagepack() -> None:
    def order(order: Order) -> Order:
        return order

    output = spec_of(order).packing().encode(Order([Item("pen", 1.5)], "open"))
    assert isinstance(output, Packed)
    assert output.decode() == {"items": [{"name": "pen", "price": 1.5}], "state": "open"}


@pytest.mark.parametrize("value", [b"bytes", datetime(2026, 1, 1, tzinfo=UTC), {1: 2}, {"k": {2: "two"}}])
def test_what_messagepack_would_say_in_another_way_than_json_goes_out_as_json(value: Any) -> None:
    def anything() -> Any: ...

    output = spec_of(anything).packing().encode(value)
    assert isinstance(output, bytes)
    assert output == msgspec.json.encode(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_has_not_are_refused_both_ways(value: float) -> None:
    def number(value: float) -> float:
        return value

    spec = spec_of(number)
    with pytest.raises(ComponentError):
        spec.packing().encode(value)
    with pytest.raises(InvalidInput):
        spec.bind(Packed(msgspec.msgpack.encode({"value": value})), {}, {})
    with pytest.raises(InvalidInput):
        spec.bind(Packed(b"\x81\xa5value\xca" + struct.pack(">f", value)), {}, {})


@pytest.mark.parametrize("value", [math.nan, [1.5, math.inf], {"a": {"b": -math.inf}}])
def test_numbers_that_json_has_not_do_not_become_null_where_anything_may_come(value: Any) -> None:
    def anything(input: Any) -> Any:
        return input

    with pytest.raises(InvalidInput):
        spec_of(anything).bind(Packed(msgspec.msgpack.encode(value)), {}, {})


@pytest.mark.parametrize("form", [">d", ">f"])
@pytest.mark.parametrize("value", [1.5, -1.5, 3e38, math.nan, math.copysign(math.nan, -1), math.inf, -math.inf])
def test_numbers_that_json_has_not_are_found_wherever_they_are(form: str, value: float) -> None:
    number = {">d": b"\xcb", ">f": b"\xca"}[form] + struct.pack(form, value)
    for filler, before, after in itertools.product(_FILLERS, (0, 1, 200, 2000), (0, 1, 200, 2000)):
        packed = filler * before + number + filler * after
        assert has_no_json(packed) == has_no_json(memoryview(packed)) == (not math.isfinite(value))


@pytest.mark.parametrize("returned", [Any, dict[str, Any]])
def test_extensions_of_messagepack_are_refused(returned: Any) -> None:
    def anything(input: Any) -> Any: ...

    anything.__annotations__["input"] = returned
    packed = msgspec.msgpack.encode({"a": msgspec.msgpack.Ext(7, b"x")})
    with pytest.raises(InvalidInput):
        spec_of(anything).bind(Packed(packed), {}, {})


def test_bytes_that_only_look_like_no_number_come_through() -> None:
    def anything(input: Any) -> Any:
        return input

    value = {"blob": b"\xcb\x7f\xf0" * 3, "none": None, "number": 1.5}
    bound = spec_of(anything).bind(Packed(msgspec.msgpack.encode(value)), {}, {})
    assert bound() == {"blob": "y3/wy3/wy3/w", "none": None, "number": 1.5}


def test_a_struct_that_was_changed_to_what_it_must_not_be_is_refused() -> None:
    def item() -> Item:
        return Item("")

    wrong = Item("pen")
    wrong.price = "much"  # type: ignore[assignment]  # that is the mistake
    with pytest.raises(ComponentError) as refused:
        spec_of(item).packing().encode(wrong)
    assert refused.value.data["problems"][0]["path"] == "$.price"
