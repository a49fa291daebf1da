"""A component as an MCP tool: its schemas, and how arguments become a component's path and input.

The input and the structured output of a tool are JSON objects (MCP, "Tools"). What is no object is wrapped: an input
as ``{"input": …}``, an output as ``{"result": …}``; the parameters of a path are ``{"path": {…}, "input": …}``. Beside
its output a tool may give ``{"skipped": reason}``, for a component that asks that its step be skipped.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec

from stepflow_sdk.components.paths import Segment, parse_path
from stepflow_sdk.components.spec import ComponentSpec
from stepflow_sdk.components.suggestions import nearest
from stepflow_sdk.errors import InvalidInput
from stepflow_sdk.mcp_server.names import tool_name

__all__ = ["ComponentTool", "make_tool"]

Schema = dict[str, Any]

_NO_ARGUMENTS: Final[Schema] = {"type": "object", "properties": {}}
_SKIPPED: Final[Schema] = {
    "type": "object",
    "description": "The component asks that its step be skipped",
    "properties": {"skipped": {"type": "string", "description": "Why"}},
    "required": ["skipped"],
    "additionalProperties": False,
}

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class ComponentTool:
    """One component as a tool; made by `make_tool`.

    Attributes:
        spec: The component.
        name: The name of the tool.
        input_schema: JSON Schema of its arguments.
        output_schema: JSON Schema of its structured output.
        parameters: The names of the path's parameters.
        wraps_input: Whether the component's input is the argument ``input``.
        wraps_output: Whether the component's output is the ``result`` of the structured output.
    """

    spec: ComponentSpec
    name: str
    input_schema: Schema
    output_schema: Schema
    parameters: tuple[str, ...]
    wraps_input: bool
    wraps_output: bool

    def read(self, arguments: Mapping[str, Any]) -> tuple[str, bytes]:
        """Return the path to call and the input as JSON.

        Raises:
            InvalidInput: The arguments lack what the tool needs around the component's input.
        """
        if not self.wraps_input:
            return self.spec.path, _encode(arguments)
        properties = self.input_schema["properties"]
        problems = [_problem(f"$.{name}", _unknown(name, properties)) for name in arguments if name not in properties]
        problems += [
            _problem(f"$.{name}", "a required argument is missing")
            for name in self.input_schema["required"]
            if name not in arguments
        ]
        path = self.spec.path
        if self.parameters and "path" in arguments:
            path = self._path(arguments["path"], problems)
        if problems:
            raise InvalidInput("invalid input", data={"problems": problems})
        return path, _encode(arguments.get("input", {}))

    def place(self, path: str) -> str:
        """Return where a problem is in the arguments, from where it is in the component's input."""
        if not path.startswith("$"):
            return f"$.path.{path}"
        return f"$.input{path[1:]}" if self.wraps_input else path

    def _path(self, values: Any, problems: list[dict[str, str]]) -> str:
        if not isinstance(values, dict):
            problems.append(_problem("$.path", "expected an object"))
            return ""
        given = cast("dict[str, Any]", values)
        problems += [
            _problem(f"$.path.{name}", _unknown(name, self.parameters)) for name in given if name not in self.parameters
        ]
        texts: list[str] = []
        for segment in parse_path(self.spec.path):
            if segment.form == "literal":
                texts.append(segment.text)
            elif wrong := _wrong_text(segment, given.get(segment.text)):
                problems.append(_problem(f"$.path.{segment.text}", wrong))
            else:
                texts.append(given[segment.text])
        return "/" + "/".join(texts)


def make_tool(spec: ComponentSpec) -> ComponentTool:
    """Return the tool for a component."""
    segments = parse_path(spec.path)
    parameters = tuple(segment.text for segment in segments if segment.form != "literal")
    wraps_input = bool(parameters) or (spec.takes_input and not _is_object(spec.input_schema))
    wraps_output = not _is_object(spec.output_schema)
    if wraps_input:
        input_schema = _wrapped_input(spec, segments)
    else:
        input_schema = spec.input_schema if spec.takes_input else _NO_ARGUMENTS
    output_schema = _skippable(_wrapped("result", spec.output_schema) if wraps_output else spec.output_schema)
    return ComponentTool(spec, tool_name(spec.path), input_schema, output_schema, parameters, wraps_input, wraps_output)


def _is_object(schema: Schema) -> bool:
    # Several kinds of objects are a union, which the programs around language models take nowhere but inside.
    return schema.get("type") == "object"


def _wrapped(name: str, schema: Schema) -> Schema:
    inner, definitions = _split(schema)
    return {
        "type": "object",
        "properties": {name: inner},
        "required": [name],
        "additionalProperties": False,
        **definitions,
    }


def _wrapped_input(spec: ComponentSpec, segments: Sequence[Segment]) -> Schema:
    schema = _wrapped("input", spec.input_schema)
    if not spec.takes_input:
        schema["properties"], schema["required"] = {}, []
    elif _is_object(spec.input_schema) and not spec.input_schema.get("required"):
        schema["required"] = []
    parameters = {segment.text: _parameter_schema(segment) for segment in segments if segment.form != "literal"}
    if parameters:
        path: Schema = {"type": "object", "properties": parameters, "required": list(parameters)}
        path["additionalProperties"] = False
        schema["properties"] = {"path": path, **schema["properties"]}
        schema["required"] = ["path", *schema["required"]]
    return schema


def _parameter_schema(segment: Segment) -> Schema:
    return {"type": "string", "minLength": 1, **({"pattern": "^[^/]*$"} if segment.form == "one" else {})}


def _skippable(schema: Schema) -> Schema:
    inner, definitions = _split(schema)
    return {"type": "object", "anyOf": [inner, _SKIPPED], **definitions}


def _split(schema: Schema) -> tuple[Schema, Schema]:
    """Take off the definitions, to which references lead from the root."""
    inner = {key: value for key, value in schema.items() if key != "$defs"}
    return inner, {"$defs": schema["$defs"]} if "$defs" in schema else {}


def _wrong_text(segment: Segment, value: Any) -> str | None:
    if value is None:
        return "a required argument is missing"
    if not isinstance(value, str) or not value:
        return "expected a string that is not empty"
    if segment.form == "one" and "/" in value:
        return "expected a string without a slash"
    return None


def _unknown(name: str, known: Iterable[str]) -> str:
    meant = nearest(name, known)
    hint = f"did you mean {meant!r}?" if meant else f"there are: {', '.join(known)}"
    return f"there is no such argument; {hint}"


def _problem(path: str, message: str) -> dict[str, str]:
    return {"path": path, "message": message}
