"""What the schema accepts the component accepts, and what it refuses the component refuses."""

import json
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from stepflow_sdk.components import ComponentSpec, Router
from stepflow_sdk.errors import ComponentError, DefinitionError, InvalidInput

from .helpers import json_of, whole
from .types import types, values

_SETTINGS = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def _served(taken: Any, given_back: Any) -> ComponentSpec:
    def served(value: Any) -> Any:
        return value

    served.__annotations__ = {"value": whole(taken), "return": given_back}
    return _registered(served)


def _registered(served: Any) -> ComponentSpec:
    router = Router()
    try:
        router.component(served)
    except DefinitionError as error:
        # A union may be drawn of two structs with one tag: refused, and rightly.
        assume("tag" not in str(error))
        raise
    return router.specs[0]


def _encoded(spec: ComponentSpec, output: Any) -> bytes | str:
    try:
        return json_of(spec, output)
    except ComponentError as error:
        return str(error)


def _accepts(schema: dict[str, Any], value: Any) -> bool:
    Draft202012Validator.check_schema(schema)
    return bool(Draft202012Validator(schema, format_checker=FormatChecker()).is_valid(value))


def _binds(spec: ComponentSpec, raw: bytes) -> bool:
    refusal: InvalidInput | None = None
    try:
        spec.bind(raw, {}, {})
    except InvalidInput as error:
        refusal = error
    assert refusal is None or refusal.data["problems"]
    return refusal is None


@_SETTINGS
@given(st.data())
def test_an_input_is_accepted_exactly_when_its_schema_accepts_it(data: st.DataObject) -> None:
    spec = _served(data.draw(types()), Any)
    for _ in range(4):
        value = data.draw(values(spec.input_schema))
        assert _binds(spec, json.dumps(value).encode()) == _accepts(spec.input_schema, value)


@_SETTINGS
@given(st.data())
def test_the_same_holds_for_parameters_that_are_fields(data: st.DataObject) -> None:
    def served(one: Any, two: Any = None, *, three: Any = 3) -> Any: ...

    one, two, three = data.draw(types()), data.draw(types()), data.draw(types())
    served.__annotations__ = {"one": one, "two": two, "three": three}
    spec = _registered(served)
    value = data.draw(values(spec.input_schema))
    assert _binds(spec, json.dumps(value).encode()) == _accepts(spec.input_schema, value)


@_SETTINGS
@given(st.data())
def test_what_was_accepted_as_an_input_comes_out_again_and_fits_the_output_schema(data: st.DataObject) -> None:
    taken = data.draw(types())
    spec = _served(taken, taken)
    raw = json.dumps(data.draw(values(spec.input_schema))).encode()
    try:
        call = spec.bind(raw, {}, {})
    except InvalidInput:
        return
    encoded = _encoded(spec, call())
    if isinstance(encoded, str):
        # Inputs may hold any integer; the wire of an output has 64 bits.
        assert "64 bits" in encoded
    else:
        assert _accepts(spec.output_schema, json.loads(encoded))


@_SETTINGS
@given(st.data())
def test_an_output_is_accepted_exactly_when_its_schema_accepts_it(data: st.DataObject) -> None:
    spec = _served(Any, data.draw(types()))
    value = data.draw(values(spec.output_schema))
    encoded = _encoded(spec, value)
    if isinstance(encoded, str):
        assert "64 bits" in encoded or not _accepts(spec.output_schema, value)
    else:
        assert json.loads(encoded) == value
        assert _accepts(spec.output_schema, value)


@_SETTINGS
@given(types(), st.binary(max_size=40))
def test_any_bytes_give_a_call_or_an_invalid_input(taken: Any, raw: bytes) -> None:
    spec = _served(taken, Any)
    _binds(spec, raw)
