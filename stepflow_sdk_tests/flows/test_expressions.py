from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepflow_sdk.flows import MISSING, PENDING, UNKNOWN, Failure, Needs, parse_flow, resolve
from stepflow_sdk_tests.flows.strategies import JSON, STEP_IDS, expressions

VARIABLES = {
    "given": {"type": "string", "default": "schema"},
    "stated": {"type": "string", "default": "schema"},
    "text": {"type": "string"},
    "number": {"type": "number"},
    "count": {"type": "integer"},
    "flag": {"type": "boolean"},
    "maybe": {"type": ["object", "null"]},
    "thing": {"type": "object"},
    "must": {"type": "string"},
    "shared": {"$ref": "#/$defs/Shared"},
}
SCHEMAS = {
    "type": "object",
    "$defs": {"Shared": {"type": "string", "default": "from $defs"}},
    "properties": {"variables": {"type": "object", "properties": VARIABLES, "required": ["must"]}},
}


class Run:
    """A scope whose steps end when the test says so."""

    def __init__(
        self,
        *,
        input: object = None,
        steps: dict[str, object] | None = None,
        variables: dict[str, object] | None = None,
    ) -> None:
        self.input = input
        self.steps = steps or {}
        self.variables = variables or {}
        self.asked: set[str] = set()

    def step(self, step_id: str) -> object:
        self.asked.add(step_id)
        return self.steps.get(step_id, UNKNOWN)

    def variable(self, name: str) -> object:
        return self.variables.get(name, MISSING)


def evaluate(expression: object, run: Run | None = None) -> object:
    flow = parse_flow({"schemas": SCHEMAS, "output": expression})
    return resolve(flow.output, run or Run())


LOST = Failure(7, "lost", {"by": "its component"})
STEPS: dict[str, object] = {"ok": {"a": [1, {"b": None}]}, "null": None, "bad": LOST, "later": PENDING, "soon": PENDING}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("$input", "$input"),
        (1.0, 1.0),
        ({"a": [1, {"$foo": {"$input": "x"}}], "$template": "t"}, {"a": [1, {"$foo": 5}], "$template": "t"}),
        ({"$literal": {"$input": "x"}, "$input": "x"}, {"$input": "x"}),
        ([{"$literal": {"$step": "bad"}}, {"$literal": None}], [{"$step": "bad"}, None]),
        ({"$input": "$"}, {"x": 5, "deep": {"y": [6]}, "a.b": 1}),
        ({"$input": None}, {"x": 5, "deep": {"y": [6]}, "a.b": 1}),
        ({"$input": "x", "path": "deep"}, 5),
        ({"$input": "$.deep.y[0]"}, 6),
        ({"$input": '$["a.b"]'}, 1),
        ({"$step": "ok"}, {"a": [1, {"b": None}]}),
        ({"$step": "ok", "path": "$.a[1].b"}, None),
        ({"$step": "null", "path": "$.any[7]"}, None),
        ({"$step": "ok", "$input": "x"}, {"a": [1, {"b": None}]}),
        ({"$if": True, "then": 1}, 1),
        ({"$if": False, "then": 1}, None),
        ({"$if": None, "then": 1, "else": 2}, 2),
        ({"$if": 0, "then": 1, "else": 2}, 1),
        ({"$if": "", "then": 1, "else": 2}, 1),
        ({"$if": [], "then": 1, "else": 2}, 1),
        ({"$if": {}, "then": 1, "else": 2}, 1),
        ({"$if": {"$step": "bad"}, "then": 1, "else": 2}, 2),
        ({"$if": {"$input": "nowhere"}, "then": 1, "else": 2}, 2),
        ({"$if": True, "then": 1, "else": {"$step": "bad"}}, 1),
        ({"$coalesce": []}, None),
        ({"$coalesce": [None, {"$step": "null"}]}, None),
        ({"$coalesce": [None, False, {"$step": "bad"}]}, False),
        ({"$coalesce": [{"$step": "null", "path": "x"}, {"$input": "x"}]}, 5),
    ],
)
def test_an_expression_has_the_value_that_the_format_gives_it(expression: object, value: object) -> None:
    run = Run(input={"x": 5, "deep": {"y": [6]}, "a.b": 1}, steps=STEPS)
    result = evaluate(expression, run)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("expression", "failure"),
    [
        ({"$input": "$.deep.nowhere[0]"}, Failure(-32200, "Input path $.deep.nowhere[0] not found")),
        ({"$input": "$.x[0]"}, Failure(-32200, "Input path $.x[0] not found")),
        ({"$step": "ok", "path": "b"}, Failure(-32200, "Path $.b not found")),
        ({"$step": "ok", "path": "$.a.0"}, Failure(-32200, "Path $.a.0 not found")),
        ({"$step": "bad", "path": "$.a"}, LOST),
        ({"$step": "never"}, Failure(-32201, "Unknown step: never")),
        ({"$variable": "nobody"}, Failure(-32200, "Undefined variable: nobody")),
        ({"$variable": ""}, Failure(-32202, "Variable path is empty")),
        ({"$variable": "$[0]"}, Failure(-32202, "Variable name must be a string")),
        ({"$if": {"$step": "bad"}, "then": 1, "else": {"$step": "bad"}}, LOST),
        ({"$coalesce": [None, {"$step": "bad"}, 1]}, LOST),
        ({"$coalesce": [{"$input": "nowhere"}, 1]}, Failure(-32200, "Input path $.nowhere not found")),
        ([1, {"$input": "b"}, {"$step": "bad"}], Failure(-32200, "Input path $.b not found")),
        ({"z": {"$step": "bad"}, "a": {"$input": "b"}}, LOST),
    ],
)
def test_a_failure_has_the_code_and_the_message_of_the_format(expression: object, failure: Failure) -> None:
    assert evaluate(expression, Run(input={"x": 5, "deep": {}}, steps=STEPS)) == failure


def test_a_path_into_no_input_fails_and_its_root_is_null() -> None:
    assert evaluate({"$input": "$"}) is None
    assert evaluate({"$input": "x"}) == Failure(-32200, "Input path $.x not found")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ({"$variable": "given", "default": "inline"}, "run"),
        ({"$variable": "nothing", "default": "inline"}, None),
        ({"$variable": "undeclared"}, {"a": [7]}),
        ({"$variable": "$.undeclared.a[0]"}, 7),
        ({"$variable": "$.undeclared.b", "default": "inline"}, "inline"),
        ({"$variable": "$.nothing.b", "default": "inline"}, "inline"),
        ({"$variable": "$.undeclared.b"}, Failure(-32200, "Undefined variable: undeclared")),
        ({"$variable": "stated", "default": "inline"}, "schema"),
        ({"$variable": "text", "default": "inline"}, ""),
        ({"$variable": "number"}, 0),
        ({"$variable": "count"}, 0),
        ({"$variable": "flag"}, False),
        ({"$variable": "maybe", "default": 1}, None),
        ({"$variable": "thing", "default": {"$input": "x"}}, 5),
        ({"$variable": "thing"}, Failure(-32200, "Undefined variable: thing")),
        ({"$variable": "must", "default": "inline"}, "inline"),
        ({"$variable": "must"}, Failure(-32200, "Undefined variable: must")),
        ({"$variable": "must", "default": None}, None),
        ({"$variable": "shared"}, "from $defs"),
        ({"$variable": "must", "default": {"$step": "bad"}}, LOST),
    ],
)
def test_a_variable_is_what_was_given_then_what_is_declared_then_the_default(expression: object, value: object) -> None:
    variables: dict[str, object] = {"given": "run", "nothing": None, "undeclared": {"a": [7]}}
    run = Run(input={"x": 5}, steps=STEPS, variables=variables)
    assert evaluate(expression, run) == value


def test_a_default_is_evaluated_only_when_it_is_used() -> None:
    run = Run(steps=STEPS, variables={"v": 1})
    assert evaluate({"$variable": "v", "default": {"$step": "later"}}, run) == 1
    assert evaluate({"$variable": "w", "default": {"$step": "later"}}, run) == Needs(frozenset({"later"}))


@pytest.mark.parametrize(
    ("expression", "steps"),
    [
        ([{"$step": "later"}, {"x": {"$step": "soon", "path": "a"}}, {"$step": "ok"}], {"later", "soon"}),
        ({"$if": {"$step": "later"}, "then": {"$step": "soon"}}, {"later"}),
        ({"$if": {"$step": "ok"}, "then": {"$step": "soon"}, "else": {"$step": "later"}}, {"soon"}),
        ({"$if": {"$step": "null"}, "then": {"$step": "soon"}, "else": {"$step": "later"}}, {"later"}),
        ({"$coalesce": [{"$step": "later"}, {"$step": "soon"}]}, {"later"}),
        ({"$coalesce": [{"$step": "null"}, {"$step": "soon"}]}, {"soon"}),
        # What comes before a failure may still be the failure; what comes behind it no longer matters.
        ([{"$step": "later"}, {"$step": "bad"}, {"$step": "soon"}], {"later"}),
        ({"a": {"$step": "later"}, "b": {"$step": "bad"}, "c": {"$step": "soon"}}, {"later"}),
    ],
)
def test_only_what_evaluation_waits_for_now_is_needed(expression: object, steps: set[str]) -> None:
    assert evaluate(expression, Run(steps=STEPS)) == Needs(frozenset(steps))


def test_a_constant_is_handed_out_as_it_is_and_not_copied() -> None:
    flow = parse_flow({"output": [{"big": list(range(100))}, {"$input": "x"}]})
    first, second = (resolve(flow.output, Run(input={"x": 1})) for _ in range(2))
    assert isinstance(first, list)
    assert isinstance(second, list)
    assert first[0] is second[0]


class Referee:
    """A second evaluator, of the document itself, with every step ended: written from the format alone."""

    def __init__(self, run: Run, *, thorough: bool) -> None:
        self.run = run
        self.thorough = thorough  # look at the elements behind a failure too
        self.used: set[str] = set()

    def value(self, expression: Any) -> Any:
        if isinstance(expression, list):
            return self.elements(enumerate(expression), lambda pairs: [value for _, value in pairs])
        if not isinstance(expression, dict):
            return expression
        if "$literal" in expression:
            return expression["$literal"]
        if "$if" in expression:
            condition = self.value(expression["$if"])
            false = condition is None or condition is False or isinstance(condition, Failure)
            return self.value(expression.get("else")) if false else self.value(expression["then"])
        if "$coalesce" in expression:
            values = (self.value(operand) for operand in expression["$coalesce"])
            return next((value for value in values if value is not None), None)
        if "$step" in expression:
            self.used.add(expression["$step"])
            value = self.run.steps[expression["$step"]]
            return (
                value if value is None or isinstance(value, Failure) else self.part(value, expression.get("path", "$"))
            )
        if "$input" in expression:
            return self.part(self.run.input, expression["$input"], "Input path")
        if "$variable" in expression:
            name = expression["$variable"][3:-2]
            if name in self.run.variables:
                return self.run.variables[name]
            missing = Failure(-32200, f"Undefined variable: {name}")
            return self.value(expression["default"]) if "default" in expression else missing
        return self.elements(expression.items(), dict)

    def elements(self, items: Any, make: Any) -> Any:
        pairs, failure = [], None
        for key, item in items:
            if failure is None or self.thorough:
                value = self.value(item)
                failure = failure or (value if isinstance(value, Failure) else None)
                pairs.append((key, value))
        return failure or make(pairs)

    def part(self, value: Any, path: str, what: str = "Path") -> Any:
        flow = parse_flow({"output": {"$input": path}})
        shown = flow.to_json()["output"]["$input"]
        for part in path.removeprefix("$").strip("[]").split("][") if path != "$" else []:
            if isinstance(value, list) and part.isdigit() and int(part) < len(value):
                value = value[int(part)]
            elif isinstance(value, dict) and part.startswith('"') and part.strip('"') in value:
                value = value[part.strip('"')]
            else:
                return Failure(-32200, f"{what} {shown} not found")
        return value


RESULTS = st.sampled_from([None, False, 0, {"x": [1, {"y": None}], "a.b": {"0": 2}}, [[3], "s"], LOST]) | JSON


@given(
    expressions(),
    st.fixed_dictionaries(dict.fromkeys(STEP_IDS, RESULTS)),
    st.sampled_from([None, {"x": {"y": 1, "full name": [2]}, "a.b": [{"x": None}]}, [1, [2, 3]]]),
    st.dictionaries(st.sampled_from(["x", "y", "a.b"]), JSON),
    st.randoms(use_true_random=False),
)
@settings(max_examples=400, deadline=None)
def test_lazy_evaluation_gives_what_evaluation_at_the_end_would_give(
    expression: Any, results: dict[str, object], input: object, variables: dict[str, object], random: Any
) -> None:
    flow = parse_flow({"output": expression})
    run = Run(input=input, steps=dict.fromkeys(STEP_IDS, PENDING), variables=variables)
    ended = Run(input=input, steps=results, variables=variables)
    exact, thorough = Referee(ended, thorough=False), Referee(ended, thorough=True)
    expected = exact.value(expression)
    thorough.value(expression)
    ran: set[str] = set()
    # One step ends at a time, in any order: the engine may run all that is needed at once.
    while isinstance(result := resolve(flow.output, run), Needs):
        step_id = random.choice(sorted(result.steps))
        assert step_id not in ran
        ran.add(step_id)
        run.steps[step_id] = results[step_id]
    assert repr(result) == repr(expected)
    assert exact.used <= ran <= thorough.used
