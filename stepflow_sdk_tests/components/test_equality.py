"""What the schema accepts the component accepts, and what it refuses the component refuses."""

import json
from typing import Any

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from stepflow_sdk.components import ComponentSpec, Input, Router
from stepflow_sdk.errors import ComponentError, DefinitionError, InvalidInput

from .types import types, values

_SETTINGS = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def _component(taken: Any, given_back: Any) -> ComponentSpec:
    router = Router()

    def served(value: Any) -> Any:
        return value

    served.__annotations__ = {"value": Input[taken], "return": given_back}
    router.component(served)
    return router.specs[0]


def _accepts(schema: dict[str, Any], value: Any) -> bool:
    Draft202012Validator.check_schema(schema)
    return bool(Draft202012Validator(schema, format_checker=FormatChecker()).is_valid(value))


def _binds(spec: ComponentSpec, raw: bytes) -> bool:
    try:
        spec.bind(raw, {}, {})
    except InvalidInput as error:
        note(str(error))
        assert error.data["problems"]
        return False
    return True


@_SETTINGS
@given(st.data())
def test_an_input_is_accepted_exactly_when_its_schema_accepts_it(data: st.DataObject) -> None:
    taken = data.draw(types())
    try:
        spec = _component(taken, Any)
    except DefinitionError as error:
        # Two structs of one name and tag, drawn into one union: refused, and rightly.
        assert "tag" in str(error)
        return
    for _ in range(4):
        value = data.draw(values(spec.input_schema))
        assert _binds(spec, json.dumps(value).encode()) == _accepts(spec.input_schema, value)


@_SETTINGS
@given(st.data())
def test_what_was_accepted_as_an_input_comes_out_again_and_fits_the_output_schema(data: st.DataObject) -> None:
    taken = data.draw(types())
    try:
        spec = _component(taken, taken)
    except DefinitionError:
        return
    raw = json.dumps(data.draw(values(spec.input_schema))).encode()
    try:
        call = spec.bind(raw, {}, {})
    except InvalidInput:
        return
    try:
        encoded = spec.encode(call())
    except ComponentError as error:
        assert "64 bits" in str(error)
        return
    assert _accepts(spec.output_schema, json.loads(encoded))


@_SETTINGS
@given(st.data())
def test_an_output_is_accepted_exactly_when_its_schema_accepts_it(data: st.DataObject) -> None:
    try:
        spec = _component(Any, data.draw(types()))
    except DefinitionError:
        return
    value = data.draw(values(spec.output_schema))
    try:
        encoded = spec.encode(value)
    except ComponentError as error:
        assert "64 bits" in str(error) or not _accepts(spec.output_schema, value)
    else:
        assert json.loads(encoded) == value
        assert _accepts(spec.output_schema, value)


@_SETTINGS
@given(types(), st.binary(max_size=40))
def test_any_bytes_give_a_call_or_an_invalid_input(taken: Any, raw: bytes) -> None:
    try:
        spec = _component(taken, Any)
    except DefinitionError:
        return
    _binds(spec, raw)
