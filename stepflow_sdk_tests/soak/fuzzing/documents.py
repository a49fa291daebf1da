"""Documents: flows, configurations, and what is written in them."""

import json
from collections.abc import Mapping
from typing import Any

from stepflow_sdk.errors import InvalidConfig, InvalidDocument, InvalidFlow, InvalidValue
from stepflow_sdk.flows import (
    MISSING,
    ComponentSchemas,
    Failure,
    Flow,
    Needs,
    OldFlow,
    as_dot,
    as_mermaid,
    as_svg,
    check_flow,
    check_types,
    dump_yaml,
    format_path,
    parse_flow,
    parse_json,
    parse_path,
    parse_yaml,
    resolve,
)
from stepflow_sdk.flows.rewriting import replace_outputs
from stepflow_sdk.flows.upgrade import upgrade_flow
from stepflow_sdk.runtime import load_config
from stepflow_sdk.runtime.environment import substitute
from stepflow_sdk.runtime.overrides import apply_overrides
from stepflow_sdk_tests.malformed.documents import CONFIG_TEXT, FLOW, OLD_FLOW, OVERRIDES, TEXTS
from stepflow_sdk_tests.soak.fuzzing.target import Target, hold

__all__ = ["DOCUMENTS"]

_FLOW: Flow = parse_flow(FLOW)
_TYPE_CODES = {1100, 1101, 2100, 2101, 2500}


def yaml(data: bytes) -> None:
    """YAML is read to JSON values, or refused with a place."""
    try:
        document = parse_yaml(data)
    except InvalidDocument:
        return
    json.dumps(document.value)
    document.line(("a", 0))


def json_text(data: bytes) -> None:
    """JSON is read as the standard library reads it, or refused."""
    try:
        document = parse_json(data)
    except InvalidDocument:
        return
    document.line(("a", 0))
    hold(_same(document.value, json.loads(data.decode("utf-8-sig"))), "another value than the standard library's")


def flows(data: bytes) -> None:
    """A flow is read, and written in a form that reads back to the same; or refused with its findings."""
    try:
        flow = parse_flow(parse_yaml(data).value)
    except InvalidDocument:
        return
    except InvalidFlow as error:
        hold(bool(error.diagnostics) and len(str(error)) < 100_000, "no findings")
        return
    for finding in check_flow(flow):
        hold(finding.path is None or finding.path.startswith("$"), "a finding has no place")
    hold(parse_flow(flow.to_json()).id == flow.id, "the written flow is another")
    hold(parse_flow(parse_yaml(dump_yaml(flow.to_json())).value).id == flow.id, "the flow in YAML is another")


def upgrades(data: bytes) -> None:
    """A document of 0.7 or 0.8 is rewritten to one of 0.9, which is not rewritten again; or refused."""
    try:
        document = parse_yaml(data)
        if not isinstance(document.value, dict):
            return
        upgrade = upgrade_flow(document)
    except (InvalidDocument, InvalidFlow):
        return
    if not upgrade.is_kept:
        return
    hold(not isinstance(parse_flow(upgrade.document), OldFlow), "the new document is old")
    hold(upgrade_flow(upgrade.document).document == upgrade.document, "the new document is rewritten")


def types(data: bytes) -> None:
    """What servers say of their components is looked at with any flow, and drawn; it is told, and nothing is raised."""
    try:
        value = parse_json(data).value
        if not isinstance(value, dict):
            return
        flow = parse_flow(value.get("flow"))
    except (InvalidDocument, InvalidFlow):
        return
    known = ComponentSchemas(value.get("input"), value.get("output"))
    for strict in (False, True):
        report = check_types(flow, lambda question: known, strict=strict)
        hold(all(finding.code in _TYPE_CODES for finding in report.diagnostics), "a finding has another code")
        json.dumps(report.annotated())
    for draw in (as_mermaid, as_dot, as_svg):
        draw(flow)


def overrides(data: bytes) -> None:
    """Overrides are applied, or refused with their place."""
    try:
        value = parse_json(data).value
    except InvalidDocument:
        return
    try:
        changed = apply_overrides(_FLOW, value)
    except InvalidFlow as error:
        hold("after the overrides" in str(error), "a flow is refused and not the overrides")
    except InvalidValue as error:
        hold(str(error).startswith("overrides: $"), "no place")
    else:
        hold(parse_flow(changed.to_json()).id == changed.id, "the changed flow is another when it is written")


def outputs(data: bytes) -> None:
    """The outputs of test cases are written into a text, which then says just that; or it is refused."""
    is_json, text = data[:1] == b"{", data.decode("utf-8", "replace")
    try:
        value = (parse_json if is_json else parse_yaml)(text).value
        read_any: Any = value
        cases = len(read_any["test"]["cases"])
        if not all(isinstance(case, dict) for case in read_any["test"]["cases"]):
            return
        changed = replace_outputs(text, {index: {"a": ["é", None]} for index in range(cases)}, is_json=is_json)
    except (InvalidDocument, KeyError, TypeError, IndexError):
        return
    again: Any = (parse_json if is_json else parse_yaml)(changed).value
    hold(all(case["output"] == {"a": ["é", None]} for case in again["test"]["cases"]), "an output is not there")


def expressions(data: bytes) -> None:
    """An expression evaluates to a value, a failure or what it needs; never to an exception."""
    try:
        flow: Flow = parse_flow({"steps": [{"id": "a", "component": "/c"}], "output": parse_json(data).value})
    except (InvalidDocument, InvalidFlow):
        return
    if isinstance(flow, OldFlow):
        return
    for scope in (_Scope(None), _Scope({"x": [1, {"y": None}]}), _Scope(Failure(1, "no"))):
        value = resolve(flow.output, scope)
        if not isinstance(value, (Failure, Needs)):
            json.dumps(value)


def paths(data: bytes) -> None:
    """A path is read, and written in a form that reads back to the same; or refused."""
    try:
        parts = parse_path(data.decode("utf-8", "surrogateescape"))
        text = format_path(parts)
    except ValueError:
        return
    hold(parse_path(text) == parts, "the written path is another")


def configs(data: bytes) -> None:
    """A configuration is read or refused."""
    try:
        value = parse_yaml(data).value
        if isinstance(value, dict):  # a text would name a file
            load_config(value, environ={"A": "a", "B": ""})
    except InvalidDocument:
        pass
    except InvalidConfig as error:
        hold(len(str(error)) < 100_000, "a long refusal")


def environment(data: bytes) -> None:
    """Variables are filled in once: what they hold is not looked at again."""
    text = data.decode("utf-8", "replace")
    try:
        substitute(text, {"A": "${GONE}$(id)`id`", "B": "b"})
    except ValueError as error:
        hold("GONE" in text or "GONE" not in str(error), "a value was substituted again")


class _Scope:
    def __init__(self, value: Any) -> None:
        self._value = value

    @property
    def input(self) -> Any:
        return {"x": 1, "y": [None, "t"]}

    def step(self, step_id: str, /) -> object:
        return self._value

    def variable(self, name: str, /) -> object:
        return MISSING if name == "m" else self._value if not isinstance(self._value, Failure) else 1


def _same(left: Any, right: Any) -> bool:
    # Integers beyond 64 bits have become floats.
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_same(value, right[key]) for key, value in left.items())
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, float) and isinstance(right, int):
        return left == float(right)
    return type(left) is type(right) and bool(left == right)


_TEXTS = [text.encode() for text in TEXTS]
_EXPRESSIONS = (
    b'{"$if":{"$step":"a","path":"$.x[0]"},"then":{"$input":"$"},"else":{"$literal":{"$step":1}}}',
    b'[{"$coalesce":[null,{"$step":"a"},{"$variable":"$.m","default":{"$input":"y[1]"}}]}]',
)
_OLD_EXPRESSIONS = {
    "schema": "https://stepflow.org/schemas/v1/flow.json",
    "steps": [],
    "output": [
        {"$literal": {"$from": 1}},
        {"$from": {"workflow": "input"}, "path": "a", "onSkip": {"action": "skip"}},
        {"$from": {"$literal": 1}},
    ],
}
_SCHEMAS: tuple[Any, ...] = (
    {
        "type": "object",
        "properties": {"x": {"$ref": "#/$defs/T"}},
        "required": ["x"],
        "$defs": {"T": {"type": "string"}},
    },
    {"anyOf": [{"type": ["integer", "null"], "minimum": 1}, {"type": "array", "items": {"$ref": "#"}, "maxItems": 3}]},
    {"allOf": [{"enum": [1, "a", None]}, {"not": {"const": 1}}], "additionalProperties": False, "pattern": "^a+$"},
)
_CASES = b"""output: 1
test:
  cases:
  - name: a  # first
    input: {x: 1}
    output: {outcome: success, result: [1]}
  - {name: b, input: 2}
  - name: c
    output: |
      text
    input: 3
"""


def _typed(schema: Any) -> dict[str, Any]:
    steps = [{"id": "a", "component": "/c", "input": {"x": "t", "l": [1]}}]
    steps.append({"id": "b", "component": "/c", "input": {"x": {"$step": "a", "path": "$.x"}}})
    flow = {
        "schemas": {"type": "object", "properties": {"input": schema}},
        "steps": steps,
        "output": [{"$step": "b"}, {"$input": "$.x"}],
    }
    return {"flow": flow, "input": schema, "output": schema}


DOCUMENTS: Mapping[str, Target] = {
    "yaml": Target(
        yaml, *_TEXTS, b"a: &x [1, *x]\nb: !!str 1\n<<: {c: ~}\n", b"&a [&b [*a], 'q', \"\\u00e9\", |\n  t\n]"
    ),
    "json": Target(
        json_text, json.dumps(FLOW).encode(), b'{"a": 1e400, "a": [12345678901234567890123, "\\ud83d\\ude00"]}'
    ),
    "flows": Target(flows, json.dumps(FLOW).encode(), json.dumps(OLD_FLOW).encode(), *_TEXTS),
    "upgrades": Target(
        upgrades, json.dumps(OLD_FLOW).encode(), TEXTS[1].encode(), json.dumps(_OLD_EXPRESSIONS).encode()
    ),
    "types": Target(types, *(json.dumps(_typed(schema)).encode() for schema in _SCHEMAS)),
    "overrides": Target(overrides, json.dumps(OVERRIDES).encode(), json.dumps({"steps": OVERRIDES}).encode()),
    "outputs": Target(outputs, json.dumps({"test": FLOW["test"]}).encode(), _CASES),
    "expressions": Target(expressions, *_EXPRESSIONS),
    "paths": Target(paths, b"$.a[0][\"x y\"]['z']", b"$", b"a.b", b'$["a\']"].c'),
    "configs": Target(configs, CONFIG_TEXT.encode()),
    "environment": Target(environment, b"a$A ${A:-b${C:d}} \\$ ${A}", b"${B:$A}"),
}
