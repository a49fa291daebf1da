"""The JSON Schema of the protocol, generated from the message types."""

from typing import Any

import msgspec

from stepflow_sdk.protocol.methods import METHODS, NOTIFICATIONS
from stepflow_sdk.protocol.values import AS_MARK, DEF_MARK, EXTENSION_MARK, Error, RequestId

__all__ = ["protocol_schema"]

_Schema = dict[str, Any]
_VERSION: _Schema = {"$ref": "#/$defs/JsonRpc", "default": "2.0"}
_ID: _Schema = {"$ref": "#/$defs/RequestId"}


def protocol_schema(*, runs: bool = False) -> _Schema:
    """Return the JSON Schema 2020-12 of every message of the protocol, in both directions.

    Args:
        runs: Include ``runs/submit`` and ``runs/get``, which the protocol overview has and the published schema
            has not.

    Returns:
        A schema whose ``$defs`` are named as in the published one.
    """
    methods = [method for method in METHODS.values() if runs or not method.name.startswith("runs/")]
    params = [method.params for method in methods]
    results = [method.result for method in methods]
    types: list[Any] = [*params, *results, *NOTIFICATIONS.values(), Error]
    (*_, request_id), components = msgspec.json.schema_components([*types, RequestId], ref_template="#/$defs/{name}")
    defs: _Schema = {}
    for name, schema in components.items():
        defs[name] = {key: value for key, value in _tidy(schema, defs).items() if key != "title"}
    _tidy(request_id, defs)
    defs["Method"] = {"type": "string", "enum": [*(method.name for method in methods), *NOTIFICATIONS]}
    defs |= _envelopes(_one_of("MethodParams", params), _one_of("MethodResult", results))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Message",
        "oneOf": _refs("MethodRequest", "MethodSuccess", "MethodError", "Notification"),
        "$defs": dict(sorted(defs.items())),
    }


def _envelopes(params: _Schema, result: _Schema) -> _Schema:
    method = {"$ref": "#/$defs/Method"}
    initialized = _one_of("NotificationParams", list(NOTIFICATIONS.values()))
    error = {"$ref": "#/$defs/Error"}
    return {
        "JsonRpc": {"type": "string", "const": "2.0", "default": "2.0"},
        "MethodRequest": _object(id=_ID, method=method, params=params),
        "MethodResponse": {"anyOf": _refs("MethodSuccess", "MethodError")},
        "MethodSuccess": _object(id=_ID, result=result),
        "MethodError": _object(id=_ID, error=error),
        "Notification": _object(method=method, params=initialized),
    }


def _object(**properties: _Schema) -> _Schema:
    return {"type": "object", "properties": {"jsonrpc": _VERSION, **properties}, "required": list(properties)}


def _one_of(title: str, types: list[type[msgspec.Struct]]) -> _Schema:
    return {"title": title, "oneOf": _refs(*dict.fromkeys(type_.__name__ for type_ in types))}


def _refs(*names: str) -> list[_Schema]:
    return [{"$ref": f"#/$defs/{name}"} for name in names]


def _tidy(schema: _Schema, defs: _Schema) -> _Schema:
    """Rewrite what msgspec says into the protocol's manner, and move marked types into ``defs``."""
    if AS_MARK in schema:
        return dict(schema[AS_MARK])
    if DEF_MARK in schema:
        name = schema[DEF_MARK]
        defs[name] = _tidy({key: value for key, value in schema.items() if key != DEF_MARK}, defs)
        return {"$ref": f"#/$defs/{name}"}
    tidy: _Schema = {}
    for key, value in schema.items():
        if key == "properties":
            properties = {n: _tidy(s, defs) for n, s in value.items() if EXTENSION_MARK not in s}
            tidy |= {"properties": properties} if properties else {}
        elif key == "anyOf":
            tidy["oneOf" if "discriminator" in schema else "anyOf"] = [_tidy(s, defs) for s in value]
        elif key == "items":
            tidy["items"] = _tidy(value, defs)
        elif key == "enum" and len(value) == 1:
            tidy |= {"title": "FlowOutcome", "const": value[0], "default": value[0]}
        elif (key, value) not in (("default", None), ("required", [])):
            tidy[key] = value
    if "enum" in tidy:
        tidy["type"] = "string"
    return _nullable(tidy)


def _nullable(schema: _Schema) -> _Schema:
    # {"anyOf": [{"type": T}, null]} is written {"type": [T, "null"]} there.
    members = schema.get("anyOf", [])
    if len(members) == 2 and members[1] == {"type": "null"} and "type" in members[0]:
        return {**members[0], "type": [members[0]["type"], "null"]}
    return schema
