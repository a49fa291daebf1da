"""From the JSON of a flow document of 0.7 or 0.8 to an `OldFlow` (section a.6 of the flow format)."""

from collections.abc import Sequence
from typing import Final, Protocol

from stepflow_sdk.flows.cases import read_examples, read_test
from stepflow_sdk.flows.diagnostics import DEPRECATED
from stepflow_sdk.flows.document import OnError, put
from stepflow_sdk.flows.old_document import OldFlow, OldLanguage, OldOnError, OldStep
from stepflow_sdk.flows.old_expression_parser import OldExpressionParser
from stepflow_sdk.flows.old_schemas import combined_schemas
from stepflow_sdk.flows.shapes import Shape
from stepflow_sdk.flows.values import MISSING, Json, PathParts
from stepflow_sdk.flows.variables import declared_variables

_FLOW_KEYS: Final = (
    "schema", "name", "description", "version", "inputSchema", "outputSchema", "variables", "steps", "output", "test",
    "examples", "metadata",
)  # fmt: skip
_STEP_KEYS: Final = (
    "id", "component", "inputSchema", "outputSchema", "onError", "skipIf", "input", "mustExecute", "metadata",
)  # fmt: skip
_ON_ERROR_KEYS: Final = ("action", "defaultValue", "maxRetries")
_NO_DEPENDS: Final = "a step waits for the steps that its input and its skipIf refer to, and for nothing else"
_STEP_HINTS: Final = {"depends_on": _NO_DEPENDS, "dependsOn": _NO_DEPENDS, "skip": "did you mean 'skipIf'?"}


class Construct(Protocol):
    """Something that only the old languages have."""

    @property
    def construct(self) -> str:
        """What it is."""
        ...

    @property
    def path(self) -> PathParts:
        """Where it stands."""
        ...


def read_old_flow(shape: Shape, constructs: Sequence[Construct], language: OldLanguage) -> OldFlow:
    """Build the flow, and warn that its language is an old one; problems go to the shape's reporter.

    Args:
        shape: The document.
        constructs: By what it was recognised, in document order.
        language: Which of the old languages it is.
    """
    shape.warn_of_unknown(_FLOW_KEYS)
    _warn_of_language(shape, constructs, language)
    shape.string("schema")
    input_schema, output_schema = _schema(shape, "inputSchema"), _schema(shape, "outputSchema")
    variables = shape.inner("variables", "variables")
    if variables is not None:
        variables.object("properties")
    variables_schema = None if variables is None else dict(variables.fields)
    declared = declared_variables(combined_schemas(None, None, variables_schema, {})[0])
    defaults = {name: variable.default for name, variable in declared.items() if variable.default is not MISSING}
    expressions = OldExpressionParser(shape.reporter, defaults)
    steps = tuple(_step(step, expressions) for step in shape.inner_list("steps", "a step"))
    outputs = {step.id: step.output_schema for step in steps if step.output_schema is not None}
    schemas, _ = combined_schemas(input_schema, output_schema, variables_schema, outputs)
    return OldFlow(
        name=shape.string("name"),
        description=shape.string("description"),
        version=shape.string("version"),
        schemas=schemas,
        steps=steps,
        output=expressions.parse(shape.fields.get("output"), ("output",)),
        test=read_test(shape, is_old=True),
        examples=read_examples(shape),
        metadata=shape.object("metadata") or {},
        variables=declared,
        warnings=tuple(shape.reporter.findings),
        source=shape.reporter.source,
        language=language,
        input_schema=input_schema,
        output_schema=output_schema,
        variables_schema=variables_schema,
    )


def _warn_of_language(shape: Shape, constructs: Sequence[Construct], language: OldLanguage) -> None:
    names = list(dict.fromkeys(found.construct for found in constructs))
    shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
    message = (
        f"this is the flow language of Stepflow {language} ({shown}), which newer engines misread; "
        "'stepflow-sdk upgrade' rewrites it"
    )
    data = {"language": language, "constructs": names}
    shape.reporter.add(DEPRECATED, constructs[0].path, message, level="warning", data=data)


def _step(shape: Shape, expressions: OldExpressionParser) -> OldStep:
    shape.warn_of_unknown(_STEP_KEYS, _STEP_HINTS)
    on_error = _on_error(shape.inner("onError", "onError"), expressions)
    skip_if = shape.fields.get("skipIf")
    return OldStep(
        id=shape.required_string("id", "id: fetch"),
        component=shape.required_string("component", "component: /python/fetch"),
        input=expressions.parse(shape.fields.get("input"), (*shape.path, "input")),
        # As in 0.9 a default takes effect at the first failure; what it is, the item finds out.
        on_error=OnError.use_default() if on_error and on_error.action in ("skip", "useDefault") else None,
        must_execute=shape.boolean("mustExecute"),
        metadata=shape.object("metadata") or {},
        skip_if=None if skip_if is None else expressions.parse(skip_if, (*shape.path, "skipIf")),
        old_on_error=on_error,
        input_schema=_schema(shape, "inputSchema"),
        output_schema=_schema(shape, "outputSchema"),
    )


def _on_error(shape: Shape | None, expressions: OldExpressionParser) -> OldOnError | None:
    if shape is None:
        return None
    shape.warn_of_unknown(_ON_ERROR_KEYS)
    match shape.fields.get("action"):
        case None:
            shape.missing("action", "action: useDefault")
        case "useDefault":
            default = expressions.parse(shape.fields.get("defaultValue"), (*shape.path, "defaultValue"))
            source: dict[str, Json] = {"action": "useDefault"}
            put(source, "defaultValue", default.to_json())
            return OldOnError("useDefault", default, source)
        case "fail" | "skip" as action:
            return OldOnError(action, source={"action": action})
        case "retry":
            retried: dict[str, Json] = {"action": "retry"}
            put(retried, "maxRetries", shape.count("maxRetries"))
            return OldOnError("retry", source=retried)
        case _:
            shape.wrong("action", "'fail', 'skip', 'useDefault' or 'retry'")
    return None


def _schema(shape: Shape, key: str) -> Json:
    value = shape.fields.get(key)
    if not isinstance(value, (dict, bool, type(None))):
        shape.wrong(key, "a JSON Schema")
        return None
    return value  # pyright: ignore[reportUnknownVariableType]
