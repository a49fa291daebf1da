"""Random flows, and what is run with them."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from hypothesis import strategies as st

STEP_IDS = ("a", "b", "c", "d", "e")
VARIABLES = ("given", "stated", "implied", "count", "maybe", "must", "thing")
SCHEMAS = {
    "type": "object",
    "properties": {
        "variables": {
            "type": "object",
            "properties": {
                "given": {"type": "string"},
                "stated": {"type": "object", "default": {"x": [1, {"y": "stated"}]}},
                "implied": {"type": "string"},
                "count": {"type": "integer"},
                "maybe": {"type": ["object", "null"]},
                "must": {"type": "string"},
                "thing": {"type": "object"},
            },
            "required": ["must"],
        }
    },
}
SAYINGS = (
    "one", "null", "false", "object", "list", "failed", "worker", "component", "transport", "internal", "unheard of",
)  # fmt: skip
FAILURES = ("error", "retryable", "exception", "value", "resource", "skip", "rubbish", "unheard of")


class Case(NamedTuple):
    """A flow, and how it is run."""

    flow: dict[str, Any]
    inputs: list[Any]
    variables: dict[str, Any]
    overrides: dict[str, Any]
    max_concurrency: int | None


NAMES = st.sampled_from(["x", "y", "a.b", "full name", "0", "é"])
SCALARS = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        1,
        -1,
        1.0,
        -0.0,
        1.5,
        1e-7,
        1e21,
        2**53 + 1,
        2**63,
        -(2**63),
        "",
        "x",
        "one",
        "$input",
        "é\n",
    ]
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
INPUTS = st.fixed_dictionaries({"x": VALUES}, optional={"y": VALUES, "a.b": VALUES, "0": VALUES}) | VALUES
_COMMON_PATHS = [
    None, "", "$", "$.x", "x", "y", "$.y", "$.x.y", "$.x[0]", "$.x[1].x", "$[0]", "$['x']", "$..x", " $.x",
    "$.0", "$.full name", '$["full name"].x', "$.é", "$.nowhere", "$.x[9]",
]  # fmt: skip
# Upstream has its own reading of the others.
PATHS = st.sampled_from([*_COMMON_PATHS * 8, "[0]", "a.b", '$["a.b"]'])


LITERALS = (VALUES | st.sampled_from([{"$step": "nobody"}, {"$input": "$x"}, {"$literal": 1}, {"$if": 1}])).map(
    lambda value: {"$literal": value}
)


class Scope(NamedTuple):
    """What expressions may refer to.

    Attributes:
        step_ids: The steps before.
        declared: Whether the flow has a schema for variables: one that is not in it is then refused.
    """

    step_ids: tuple[str, ...]
    declared: bool


_LEAVES = ("step", "step", "step", "input", "scalar", "literal", "variable")
_KINDS = (*_LEAVES, "list", "object", "object", "if", "if", "coalesce", "coalesce", "default")
_DEPTH = 3


@cache
def expressions(scope: Scope, depth: int = _DEPTH) -> st.SearchStrategy[Any]:
    """Expressions that refer to these steps."""
    kinds = [kind for kind in (_KINDS if depth else _LEAVES) if scope.step_ids or kind != "step"]
    return st.sampled_from(kinds).flatmap(lambda kind: _of_kind(kind, scope, depth))


@cache
def _of_kind(kind: str, scope: Scope, depth: int) -> st.SearchStrategy[Any]:
    inner = st.deferred(lambda: expressions(scope, depth - 1))
    variables = [*VARIABLES, "$.stated.x", "$.stated.x[1].y", "$.stated.nowhere", "$.given[0]"]
    variables += [] if scope.declared else ["undeclared"]
    variable = st.sampled_from(variables)
    # The references in the default of one without a name are not checked by upstream.
    nameless = st.sampled_from(variables if scope.declared else [*variables, "", "$[0]"])
    names = NAMES | st.sampled_from(["$foo", "path", "default"])
    strategies: dict[str, Callable[[], st.SearchStrategy[Any]]] = {
        "step": lambda: _step(scope),
        "input": lambda: st.fixed_dictionaries({"$input": PATHS}),
        "scalar": lambda: SCALARS,
        "literal": lambda: LITERALS,
        "variable": lambda: st.fixed_dictionaries({"$variable": nameless}, optional={"default": SCALARS}),
        "list": lambda: st.lists(inner, max_size=3),
        "object": lambda: st.dictionaries(names, inner, max_size=3),
        "if": lambda: st.fixed_dictionaries({"$if": inner, "then": inner}, optional={"else": inner}),
        "coalesce": lambda: st.fixed_dictionaries({"$coalesce": st.lists(inner, max_size=3)}),
        "default": lambda: st.fixed_dictionaries({"$variable": variable, "default": inner}),
    }
    return strategies[kind]()


def compounds(scope: Scope) -> st.SearchStrategy[Any]:
    """Expressions that choose, or that are made of others."""
    kinds = [_of_kind(kind, scope, _DEPTH) for kind in ("if", "coalesce", "object", "list", "default")]
    return st.one_of(*kinds, expressions(scope))


def _step(scope: Scope) -> st.SearchStrategy[Any]:
    ids = st.sampled_from(scope.step_ids)
    whole = st.fixed_dictionaries({"$step": ids})
    return whole | whole | st.fixed_dictionaries({"$step": ids, "path": PATHS})


ON_ERROR: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.just({"action": "fail"}),
    st.fixed_dictionaries({"action": st.just("useDefault")}, optional={"defaultValue": VALUES | LITERALS}),
    st.fixed_dictionaries({"action": st.just("retry")}, optional={"maxRetries": st.integers(0, 3)}),
)


def _call(component: str, input: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"component": st.just(component), "input": input})


@cache
def _flat_calls(scope: Scope) -> st.SearchStrategy[dict[str, Any]]:
    """Calls of components that start no flows."""
    some = expressions(scope)
    sayings = st.sampled_from(SAYINGS)
    return st.one_of(
        _call("/py/echo", compounds(scope)),
        _call("/py/echo", compounds(scope)),
        _call("/mock/say", sayings),
        _call("/mock/say", sayings | some),
        _call("/mock/of", st.sampled_from([None, True, False, 1, 1.0, [1, 2], [2, 1], {"y": 2, "x": 1}, "1"]) | some),
        _call("/py/fail", st.fixed_dictionaries({"kind": st.sampled_from(FAILURES)})),
        _call("/py/typed", st.fixed_dictionaries({"count": some}, optional={"name": some}) | some),
        _call("/py/patient", st.fixed_dictionaries({"attempts": st.integers(1, 4)})),
        _call("/py/keep", some),
        _call(
            "/builtin/create_messages",
            st.fixed_dictionaries({"user_prompt": some}, optional={"system_instructions": some}),
        ),
        _call(
            "/builtin/put_blob",
            st.fixed_dictionaries({"data": some}, optional={"blob_type": st.sampled_from(["data", "x", None])}),
        ),
        _call("/builtin/get_blob", st.fixed_dictionaries({"blob_id": some}) | some),
        _call("/any/one", sayings),
        _call("/limited/say", sayings),
        _call("/denied/say", sayings),
        _call("/by/echo/say", st.just({"x": 1}) | some),
        _call("/by/other/say", some),
        st.sampled_from(
            ["/never/say", "/nowhere", "/py/nothing", "/mock/nothing", "/builtin/nothing", "/any/one/", "/limited/of"]
        ).flatmap(lambda component: _call(component, some)),
    )


@cache
def _nesting_calls(scope: Scope, depth: int) -> st.SearchStrategy[dict[str, Any]]:
    some = expressions(scope)
    inner = flows(depth - 1).map(lambda flow: {"$literal": flow})
    # Without the literal the outer flow evaluates what is inside.
    no_flow = st.sampled_from([None, "x", 1, {}, {"output": 1}, {"$input": "$.x.y"}, {"$literal": {"steps": 1}}])
    either = st.one_of(inner, inner, inner, flows(depth - 1), no_flow)
    items = st.lists(some, max_size=3) | some
    return st.one_of(
        _call("/py/nested", st.fixed_dictionaries({"flow": inner, "input": some})),
        _call("/py/nested_or_why", st.fixed_dictionaries({"flow": inner, "input": some})),
        _call("/py/batch", st.fixed_dictionaries({"flow": inner, "inputs": st.lists(some, max_size=3)})),
        _call(
            "/builtin/map",
            st.fixed_dictionaries(
                {"workflow": either, "items": items}, optional={"max_concurrency": st.integers(1, 3)}
            ),
        ),
        _call(
            "/builtin/iterate",
            st.fixed_dictionaries(
                {"flow": _rounds() | either, "initial_input": some}, optional={"max_iterations": st.integers(0, 3)}
            ),
        ),
        _call(
            "/builtin/put_blob", st.fixed_dictionaries({"data": inner, "blob_type": st.sampled_from(["flow", "data"])})
        ),
        _call("/builtin/eval", st.fixed_dictionaries({"flow_id": some}, optional={"input": some})),
    )


def _rounds() -> st.SearchStrategy[Any]:
    """Flows for ``iterate`` that walk down ``x`` until there is none."""
    end = st.sampled_from([{"result": {"$input": "$"}}, {"done": 1}, None, {"result": 1, "next": 2}])
    walk = end.map(lambda end: {"output": {"$if": {"$input": "$.x"}, "then": {"next": {"$input": "$.x"}}, "else": end}})
    return walk.map(lambda flow: {"$literal": flow})


@st.composite
def flows(draw: st.DrawFn, depth: int = 1) -> dict[str, Any]:
    """Flows; with a depth of more than 0 also ones that start others."""
    steps: list[dict[str, Any]] = []
    declared = draw(st.booleans())
    for index in range(draw(st.integers(0, 4 if depth else 2))):
        before = Scope(STEP_IDS[:index], declared)
        calls = _flat_calls(before)
        if depth:
            calls = st.one_of(calls, calls, _nesting_calls(before, depth))
        step = {"id": STEP_IDS[index], **draw(calls)}
        stored = [earlier["id"] for earlier in steps if earlier["component"] in ("/builtin/put_blob", "/py/keep")]
        if stored and step["component"] in ("/builtin/eval", "/builtin/get_blob") and draw(st.booleans()):
            key = "flow_id" if step["component"] == "/builtin/eval" else "blob_id"
            reference = {key: {"$step": draw(st.sampled_from(stored)), "path": "$.blob_id"}}
            step["input"] = {**(step["input"] if isinstance(step["input"], dict) else {}), **reference}
        keys = {"onError": ON_ERROR, "mustExecute": st.booleans() | st.none()}
        steps.append({**step, **draw(st.fixed_dictionaries({}, optional=keys))})
    ids = tuple(step["id"] for step in steps)
    output = draw(compounds(Scope(ids, declared)))
    # An output that needs every step tells most, and one that does not tells which ones were run.
    every = [{"$step": step_id} for step_id in ids]
    match draw(st.integers(0, 5)):
        case 1 if ids:
            output = {"last": every[-1], "output": output}
        case 2:
            output = [*draw(st.permutations(every)), output]
        case 3:
            output = {"output": output, **dict(zip(ids, every, strict=True))}
        case _:
            pass
    flow: dict[str, Any] = {"steps": steps, "output": output}
    if declared:
        flow["schemas"] = SCHEMAS
    return flow


@st.composite
def _overrides(draw: st.DrawFn, flow: dict[str, Any]) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    for index, step in enumerate(flow["steps"]):
        if draw(st.integers(0, 9)) == 5:
            before = Scope(STEP_IDS[:index], "schemas" in flow)
            keys = {
                "component": st.sampled_from(["/py/echo", "/mock/say", "/nowhere"]),
                "input": expressions(before),
                "onError": ON_ERROR,
                "mustExecute": st.booleans() | st.none(),
            }
            overrides[step["id"]] = {"value": draw(st.fixed_dictionaries({}, optional=keys))}
    if draw(st.integers(0, 40)) == 20:
        overrides["nobody"] = {"value": {}}
    return overrides


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Flows with inputs, variables and overrides."""
    flow = draw(flows())
    _spoil(draw, flow)
    inputs = draw(st.one_of(*[st.lists(INPUTS, min_size=1, max_size=1)] * 3, st.lists(INPUTS, max_size=4)))
    variables = draw(
        st.one_of(st.just({}), st.dictionaries(st.sampled_from([*VARIABLES, "undeclared"]), VALUES, max_size=3))
    )
    overrides = draw(st.one_of(st.just({}), st.just({}), _overrides(flow)))
    return Case(flow, inputs, variables, overrides, draw(st.sampled_from([None, None, 1, 2])))


def _spoil(draw: st.DrawFn, flow: dict[str, Any]) -> None:
    """Now and then make a flow that both must refuse."""
    steps = flow["steps"]
    match draw(st.integers(0, 99)):
        case 31:
            flow["output"] = [flow["output"], {"$step": "nobody"}]
        case 32 if len(steps) > 1:
            steps[-1]["id"] = steps[0]["id"]
        case 33 if steps:
            steps[0]["input"] = {"$step": steps[-1]["id"]}
        case 34 if steps:
            steps[0]["id"] = ""
        case 35:
            flow["output"] = {"$input": "$x"}
        case 36:
            flow["output"] = {"$coalesce": 1}
        case _:
            pass
