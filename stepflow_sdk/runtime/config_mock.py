"""Reads plugins of ``type: mock`` (section e.1 of the flow format)."""

from typing import Any, Final

from stepflow_sdk.flows import ValueKey, did_you_mean
from stepflow_sdk.flows.values import describe, is_integer, is_object
from stepflow_sdk.protocol import FlowError, FlowResultFailed, FlowResultSkipped, FlowResultSuccess
from stepflow_sdk.runtime.config import MockConfig
from stepflow_sdk.runtime.config_fields import Fields
from stepflow_sdk.runtime.plugins.mock import Behavior, Behaviors, MockComponent

__all__ = ["read_mock"]

_OUTCOMES: Final = ("success", "failed", "skipped")


def read_mock(fields: Fields, name: str) -> MockConfig:
    """Read one plugin.

    Raises:
        InvalidConfig: Something in it is wrong.
    """
    fields.only(("type", "components"))
    fields.need("components", "components: {/add: {input_schema: {}, output_schema: {}, behaviors: {}}}")
    components = fields.inner("components", f"'components' of plugin {name!r}")
    read: dict[str, MockComponent] = {}
    for path in components or ():
        if components is not None:
            component = components.inner_at(components.value(path), f"the component {path!r}", path)
            read[path if path.startswith("/") else f"/{path}"] = _read_component(component, path)
    return MockConfig(read)


def _read_component(fields: Fields, path: str) -> MockComponent:
    fields.only(("input_schema", "output_schema", "behaviors"))
    for key in ("input_schema", "output_schema"):
        fields.need(key, f"{key}: {{}}")
        if not (is_object(schema := fields.value(key)) or isinstance(schema, bool)):
            fields.refuse(f"{key!r} of the component {path!r} is an object, not {describe(schema)}", key)
    fields.need("behaviors", "behaviors: {hello: {outcome: success, result: world}}")
    behaviors = Behaviors()
    written = fields.inner("behaviors", f"'behaviors' of the component {path!r}")
    for key in written or ():
        if written is not None:
            behavior = written.inner_at(written.value(key), f"the behavior on {str(key)[:60]}", key)
            behaviors.add(key.value if isinstance(key, ValueKey) else key, _read_behavior(behavior))
    return MockComponent(fields.value("input_schema"), fields.value("output_schema"), behaviors)


def _read_behavior(fields: Fields) -> Behavior:
    if "outcome" not in fields:
        if "error" not in fields:
            fields.refuse("a behavior is {outcome: success, result: …}, {outcome: failed, error: …} or {error: text}")
        fields.only(("error",))
        return fields.text("error") or ""
    match outcome := fields.value("outcome"):
        case "success":
            fields.only(("outcome", "result"))
            if "result" not in iter(fields):
                fields.need("result", "result: null")
            return FlowResultSuccess(fields.value("result"))
        case "failed":
            fields.only(("outcome", "error"))
            fields.need("error", "error: {code: 42, message: it broke}")
            return FlowResultFailed(_read_error(fields.inner_at(fields.value("error"), "'error'", "error")))
        case "skipped":
            fields.only(("outcome", "reason"))
            return FlowResultSkipped(fields.text("reason"))
        case _:
            hint = did_you_mean(str(outcome), _OUTCOMES)
            said = f"; {hint}" if hint else ""
            return fields.refuse(f"'outcome' is 'success', 'failed' or 'skipped', not {describe(outcome)}{said}")


def _read_error(fields: Fields) -> FlowError:
    fields.only(("code", "message", "data"))
    code: Any = fields.value("code")
    if not (is_integer(code) and -(2**63) <= code < 2**63):
        fields.refuse(f"'code' of an error is an integer of 64 bits, not {describe(code)}", "code")
    fields.need("message", "message: it broke")
    return FlowError(code, fields.text("message") or "", fields.value("data"))
