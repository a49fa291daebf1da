"""What the tests of flows draw from: JSON values, and documents that are flows."""

from typing import Any

from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
)

STEP_IDS = ("a", "b", "c", "d")
NAMES = st.sampled_from(["x", "y", "a.b", "full name", "0"])
PATHS = st.lists(NAMES | st.integers(0, 2), max_size=2).map(
    lambda parts: "$" + "".join(f"[{part}]" if isinstance(part, int) else f'["{part}"]' for part in parts)
)


def _compound(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(NAMES, inner, max_size=3),
        st.fixed_dictionaries({"$if": inner, "then": inner}, optional={"else": inner}),
        st.fixed_dictionaries({"$coalesce": st.lists(inner, max_size=3)}),
        st.fixed_dictionaries({"$variable": NAMES.map(lambda name: f'$["{name}"]')}, optional={"default": inner}),
    )


def expressions(step_ids: tuple[str, ...] = STEP_IDS) -> st.SearchStrategy[Any]:
    """Expressions of the flow format that refer to these steps."""
    leaves: list[st.SearchStrategy[Any]] = [
        SCALARS,
        st.fixed_dictionaries({"$input": PATHS}),
        st.fixed_dictionaries({"$literal": JSON}),
    ]
    if step_ids:
        leaves.append(st.fixed_dictionaries({"$step": st.sampled_from(step_ids)}, optional={"path": PATHS}))
    return st.recursive(st.one_of(leaves), _compound, max_leaves=10)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Flow documents without a fatal finding."""
    document: dict[str, Any] = draw(
        st.fixed_dictionaries({}, optional={"name": TEXT, "description": TEXT | st.none(), "version": TEXT})
    )
    steps: list[dict[str, Any]] = []
    for index, step_id in enumerate(STEP_IDS[: draw(st.integers(0, 4))]):
        step = {"id": step_id, "component": draw(st.sampled_from(["/x", "/y/z"]))}
        step["input"] = draw(expressions(STEP_IDS[:index]))
        optional: dict[str, st.SearchStrategy[Any]] = {
            "onError": st.sampled_from([None, {"action": "fail"}, {"action": "retry", "maxRetries": 2}])
            | JSON.map(lambda value: {"action": "useDefault", "defaultValue": value}),
            "mustExecute": st.booleans() | st.none(),
            "metadata": st.dictionaries(TEXT, JSON, max_size=2),
        }
        steps.append({**step, **draw(st.fixed_dictionaries({}, optional=optional))})
    document["steps"] = steps
    document["output"] = draw(expressions(STEP_IDS[: len(steps)]))
    return document
