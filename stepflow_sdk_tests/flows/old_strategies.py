"""What the tests of flows of 0.7 and 0.8 draw from."""

from typing import Any

from hypothesis import strategies as st

from stepflow_sdk_tests.flows.strategies import JSON, NAMES, PATHS, SCALARS, STEP_IDS


def references(step_ids: tuple[str, ...], *, variables: bool) -> st.SearchStrategy[Any]:
    """``$from`` objects that refer to the input, to these steps and to variables."""
    sources: list[st.SearchStrategy[Any]] = [st.just({"workflow": "input"})]
    if step_ids:
        sources.append(st.sampled_from(step_ids).map(lambda step: {"step": step}))
    if variables:
        sources.append(st.fixed_dictionaries({"variable": NAMES}, optional={"default": JSON}))
    on_skip = st.sampled_from([None, {"action": "skip"}, {"action": "useDefault"}]) | JSON.map(
        lambda value: {"action": "useDefault", "defaultValue": value}
    )
    return st.fixed_dictionaries({"$from": st.one_of(sources)}, optional={"path": PATHS, "onSkip": on_skip})


def expressions(step_ids: tuple[str, ...], *, variables: bool = False) -> st.SearchStrategy[Any]:
    """Expressions of 0.7, or of 0.8 with variables."""
    leaves = (
        SCALARS
        | references(step_ids, variables=variables)
        | st.fixed_dictionaries({"$literal": JSON | st.just({"$step": 1})})
    )
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=6,
    )


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Documents of 0.7 and 0.8 without a fatal finding."""
    is_new = draw(st.booleans())
    document: dict[str, Any] = {"schema": "https://stepflow.org/schemas/v1/flow.json"}
    if is_new and draw(st.booleans()):
        schemas = st.sampled_from([{}, {"type": "string"}, {"type": "integer", "default": 3}])
        document["variables"] = {"type": "object", "properties": draw(st.dictionaries(NAMES, schemas, max_size=2))}
    steps: list[dict[str, Any]] = []
    for index, step_id in enumerate(STEP_IDS[: draw(st.integers(0, 4))]):
        values = expressions(STEP_IDS[:index], variables=is_new)
        optional: dict[str, st.SearchStrategy[Any]] = {
            "skipIf": values,
            "onError": st.sampled_from([None, {"action": "fail"}, {"action": "skip"}, {"action": "retry"}])
            | values.map(lambda value: {"action": "useDefault", "defaultValue": value}),
            "inputSchema": st.just({"type": "object"}),
            "outputSchema": st.just({"type": "object"}),
            "metadata": st.dictionaries(NAMES, JSON, max_size=2),
        }
        if is_new:
            optional["mustExecute"] = st.booleans() | st.none()
        step = {"id": step_id, "component": draw(st.sampled_from(["/x", "/y/z"])), "input": draw(values)}
        steps.append({**step, **draw(st.fixed_dictionaries({}, optional=optional))})
    document["steps"] = steps
    document["output"] = draw(expressions(STEP_IDS[: len(steps)], variables=is_new))
    return document
