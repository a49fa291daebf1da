"""Step overrides: changes to the steps of a flow that come with a run (section c.6 of the flow format)."""

from collections.abc import Mapping
from typing import Any

from stepflow_sdk.errors import InvalidFlow, InvalidValue
from stepflow_sdk.flows import Flow, did_you_mean, parse_flow
from stepflow_sdk.flows.values import describe, is_object, plain

__all__ = ["apply_overrides", "merge_patch"]


def apply_overrides(flow: Flow, overrides: Mapping[str, Any] | None) -> Flow:
    """Return the flow with its steps changed.

    Args:
        flow: The flow.
        overrides: ``{"<step id>": {"$type"?: "merge_patch", "value": patch}}``, or the same under ``"steps"``. A
            patch is an RFC 7396 merge patch on the step's JSON: null removes a key, expressions work.

    Raises:
        InvalidValue: The overrides have not that form, name a step that the flow does not have, or give one another id.
        InvalidFlow: A step is none any more after its patch.
    """
    patches = _patches(flow, overrides)
    if not patches:
        return flow
    document = flow.to_json()
    steps = [_patched(step, patches.get(step["id"])) for step in document.get("steps", ())]
    try:
        return parse_flow({**document, "steps": steps})
    except InvalidFlow as error:
        raise InvalidFlow(f"after the overrides: {error}", diagnostics=error.diagnostics) from None


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7396) and return the result; neither argument is changed."""
    if not is_object(patch):
        return patch
    merged = dict(target) if is_object(target) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def _patches(flow: Flow, overrides: Mapping[str, Any] | None) -> dict[str, Any]:
    if overrides is None:
        return {}
    given = plain(overrides)
    if not is_object(given):
        raise _refused("$", f"overrides are an object, not {describe(given)}")
    ids = {step.id for step in flow.steps}
    # A flow may have a step called "steps"; then a bare map is told from the wrapped one by its content.
    wrapped = set(given) == {"steps"} and not ("steps" in ids and _is_override(given["steps"]))
    place = "$.steps" if wrapped else "$"
    by_step = given["steps"] if wrapped else given
    if not is_object(by_step):
        raise _refused(place, f"a map from step ids to overrides is expected, not {describe(by_step)}")
    for step_id, override in by_step.items():
        _check(f"{place}.{step_id}", step_id, override, ids)
    return {step_id: override["value"] for step_id, override in by_step.items()}


def _check(place: str, step_id: str, override: Any, ids: set[str]) -> None:
    if step_id not in ids:
        hint = did_you_mean(step_id, ids) or f"steps are: {', '.join(sorted(ids)[:20]) or 'none'}"
        raise _refused(place, f"the flow has no step {step_id[:60]!r}; {hint}")
    if not is_object(override) or "value" not in override:
        raise _refused(place, f'an override is {{"value": patch}}, not {describe(override)}')
    kind = override.get("$type", "merge_patch")
    if kind != "merge_patch":
        raise _refused(f"{place}.$type", f"the only kind of patch is 'merge_patch', not {describe(kind)}")
    if not is_object(override["value"]):
        raise _refused(f"{place}.value", f"the patch of a step is an object, not {describe(override['value'])}")
    if override["value"].get("id", step_id) != step_id:
        raise _refused(f"{place}.value.id", "a step keeps its id, by which others refer to it")


def _is_override(value: Any) -> bool:
    return is_object(value) and "value" in value and set(value) <= {"$type", "value"}


def _patched(step: dict[str, Any], patch: Any) -> dict[str, Any]:
    return step if patch is None else merge_patch(step, patch)


def _refused(place: str, message: str) -> InvalidValue:
    return InvalidValue(f"overrides: {place}: {message}", data={"field": "overrides", "path": place})
