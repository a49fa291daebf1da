"""Builds flow documents in Python."""

from collections.abc import Mapping
from typing import Any

from stepflow_sdk.errors import InvalidFlow
from stepflow_sdk.flows.builder_values import Reference, StepHandle, Value, to_document
from stepflow_sdk.flows.checks import require_runnable
from stepflow_sdk.flows.document import Flow, OnError
from stepflow_sdk.flows.loader import parse_flow
from stepflow_sdk.flows.values import MISSING, Json

JsonSchema = Mapping[str, Any]


class FlowBuilder:
    """Collects steps and makes a `Flow` of them, the same that the document in YAML would give.

    ::

        flow = FlowBuilder("welcome")
        greeting = flow.step("greet", "/python/greet", {"name": Value.input("name")})
        flow.step("log", "/python/log", greeting, must_execute=True)
        flow.build(output={"text": greeting["text"]})

    Args:
        name: The name of the flow.
        description: What it does.
        version: Free text.
        input_schema: JSON Schema of the flow's input.
        output_schema: JSON Schema of its output.
        metadata: Uninterpreted JSON.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        description: str | None = None,
        version: str | None = None,
        input_schema: JsonSchema | None = None,
        output_schema: JsonSchema | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self._head = {"name": name, "description": description, "version": version}
        self._schemas = {"input": input_schema, "output": output_schema}
        self._variables: dict[str, Json] = {}
        self._required: list[str] = []
        self._step_schemas: dict[str, Json] = {}
        self._steps: dict[str, Json] = {}
        self._examples: list[Json] = []
        self._metadata = metadata
        self._output: Json = None

    def step(
        self,
        id: str,  # the names that the document has
        component: str,
        input: object = None,
        *,
        on_error: OnError | None = None,
        must_execute: bool | None = None,
        output_schema: JsonSchema | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> StepHandle:
        """Add a step.

        Args:
            id: Its id, unique in the flow.
            component: The path of its component, such as ``/python/greet``.
            input: What the component is called with: JSON with `Value` anywhere inside.
            on_error: `OnError.use_default`, `OnError.retry` or `OnError.fail`.
            must_execute: Run it even if nothing needs it.
            output_schema: JSON Schema of its result.
            metadata: Uninterpreted JSON.

        Returns:
            A handle: a `Value` that stands for the result of the step; ``handle["field"]`` for a part of it.

        Raises:
            InvalidFlow: The id is taken, or the input is not JSON.
        """
        if id in self._steps:
            raise InvalidFlow(f"the flow has a step {id[:60]!r} already")
        self._steps[id] = {
            "id": id,
            "component": component,
            "onError": None if on_error is None else on_error.to_json(),
            "input": to_document(input, f"the input of step {id[:60]!r}"),
            "mustExecute": must_execute,
            "metadata": metadata,
        }
        if output_schema is not None:
            self._step_schemas[id] = output_schema
        return StepHandle(id)

    def variable(
        self,
        name: str,
        schema: JsonSchema | None = None,
        *,
        default: object = MISSING,
        required: bool = False,
        secret: bool = False,
        env_var: str | None = None,
    ) -> Reference:
        """Declare a variable.

        Args:
            name: Its name.
            schema: Its JSON Schema.
            default: Its value where the run gives none.
            required: The run has to give it: its type implies no default.
            secret: Logs must not show its value.
            env_var: The environment variable that may hold it.

        Returns:
            A reference to it.
        """
        declared: dict[str, Json] = dict(schema or {})
        if default is not MISSING:
            declared["default"] = default
        if secret:
            declared["is_secret"] = True
        if env_var is not None:
            declared["env_var"] = env_var
        self._variables[name] = declared
        if required:
            self._required.append(name)
        return Value.variable(name)

    def example(self, name: str, input: object, *, description: str | None = None) -> None:
        """Add an example input."""
        self._examples.append({"name": name, "description": description, "input": input})

    def set_output(self, output: object) -> "FlowBuilder":
        """Set the result of the flow, as the argument of `build` does."""
        self._output = to_document(output, "the output")
        return self

    def add_step(
        self,
        *,
        id: str,
        component: str,
        input_data: object = None,
        on_error: OnError | None = None,
        must_execute: bool | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> StepHandle:
        """Add a step; the same as `step`, under the name and with the arguments of ``stepflow-py``."""
        return self.step(id, component, input_data, on_error=on_error, must_execute=must_execute, metadata=metadata)

    def build(self, output: object = MISSING) -> Flow:
        """Make the flow.

        Args:
            output: Its result: JSON with `Value` anywhere inside; where it is not given, that of `set_output`.

        Raises:
            InvalidFlow: The flow has not the form of one, or cannot be run: a reference leads to no earlier step.
        """
        if output is not MISSING:
            self.set_output(output)
        flow = parse_flow(
            {
                **self._head,
                "schemas": self._schema_document(),
                "steps": list(self._steps.values()),
                "output": self._output,
                "examples": self._examples,
                "metadata": self._metadata,
            }
        )
        require_runnable(flow)
        return flow

    def _schema_document(self) -> dict[str, Json] | None:
        properties: dict[str, Json] = {key: schema for key, schema in self._schemas.items() if schema is not None}
        if self._variables:
            variables: dict[str, Json] = {"type": "object", "properties": self._variables}
            if self._required:
                variables["required"] = self._required
            properties["variables"] = variables
        if self._step_schemas:
            properties["steps"] = {"type": "object", "properties": self._step_schemas}
        return {"type": "object", "properties": properties} if properties else None
