"""From the JSON of a flow document to a `Flow` (section a of the flow format)."""

from collections.abc import Mapping, Sequence
from typing import Final

from stepflow_sdk.flows.cases import read_examples, read_test
from stepflow_sdk.flows.diagnostics import DUPLICATE_KEY, MIXED, Reporter, Source
from stepflow_sdk.flows.document import Flow, OnError, Step
from stepflow_sdk.flows.expression_parser import ExpressionParser
from stepflow_sdk.flows.old_flow_parser import read_old_flow
from stepflow_sdk.flows.outdated import (
    OUTDATED_FLOW_KEYS,
    OUTDATED_STEP_KEYS,
    Outdated,
    find_current,
    find_outdated,
    old_language,
)
from stepflow_sdk.flows.paths import show_path
from stepflow_sdk.flows.shapes import Shape
from stepflow_sdk.flows.source import Duplicate
from stepflow_sdk.flows.values import MISSING, Json, PathParts, describe, is_array, is_object
from stepflow_sdk.flows.variables import declared_variables

_FLOW_KEYS: Final = (
    "name", "description", "version", "schemas", "steps", "output", "test", "examples", "metadata",
)  # fmt: skip
_STEP_KEYS: Final = ("id", "component", "input", "onError", "mustExecute", "metadata")
_ON_ERROR_KEYS: Final = ("action", "defaultValue", "maxRetries")
_MAX_STEPS: Final = 100_000

_SCHEMA_KEYS: Final = ("input", "output", "variables", "steps")

_FLOW_HINTS: Final = {
    "input_schema": "put the schema under schemas.properties.input",
    "output_schema": "put the schema under schemas.properties.output",
    "input": "the input comes with the run; its schema goes under schemas.properties.input",
}
_NO_DEPENDS: Final = "a step waits for the steps that its input refers to, and for nothing else"
_NO_SKIP: Final = "put '$if' around the reference to the step: a step that nobody needs does not run"
_STEP_HINTS: Final = {
    "depends_on": _NO_DEPENDS,
    "dependsOn": _NO_DEPENDS,
    "skip": _NO_SKIP,
    "skip_if": _NO_SKIP,
    "input_schema": "the component reports the schema of its input",
    "output_schema": "put the schema under schemas.properties.steps.properties, by the id of the step",
}


def read_flow(document: Json, *, source: Source | None = None, duplicates: Sequence[Duplicate] = ()) -> Flow:
    """Build a flow from a document that is plain JSON.

    A document with anything of 0.7 or 0.8 in it is one of these languages, and becomes an `OldFlow`.

    Raises:
        InvalidFlow: The document has not the form of a flow, or mixes the languages of 0.7 or 0.8 and 0.9; every
            problem is in ``diagnostics``.
    """
    reporter = Reporter(source)
    if not is_object(document):
        reporter.invalid((), f"a flow is an object with 'steps' and 'output', not {describe(document)}")
        document = {}
    _report_duplicates(duplicates, reporter)
    if is_array(steps := document.get("steps")) and len(steps) > _MAX_STEPS:
        reporter.invalid(("steps",), f"a flow has at most {_MAX_STEPS:,} steps, not {len(steps):,}")
        reporter.refuse_fatal()
    shape = Shape(reporter, document, (), "the flow")
    outdated = find_outdated(document)
    current = find_current(document) if outdated else None
    if outdated and current is None:
        flow: Flow = read_old_flow(shape, outdated, old_language(document))
    else:
        if current is not None:
            _report_mixed(outdated, current, reporter)
        flow = _read(shape)
    reporter.refuse_fatal()
    return flow


def _read(shape: Shape) -> Flow:
    shape.warn_of_unknown(_FLOW_KEYS, _FLOW_HINTS, reported=OUTDATED_FLOW_KEYS)
    schemas = _schemas(shape)
    variables = declared_variables(schemas)
    defaults = {name: declared.default for name, declared in variables.items() if declared.default is not MISSING}
    expressions = ExpressionParser(shape.reporter, defaults)
    return Flow(
        name=shape.string("name"),
        description=shape.string("description"),
        version=shape.string("version"),
        schemas=schemas,
        steps=tuple(_step(step, expressions) for step in shape.inner_list("steps", "a step")),
        output=expressions.parse(shape.fields.get("output"), ("output",)),
        test=read_test(shape),
        examples=read_examples(shape),
        metadata=shape.object("metadata") or {},
        variables=variables,
        warnings=tuple(shape.reporter.findings),
        source=shape.reporter.source,
    )


def _step(shape: Shape, expressions: ExpressionParser) -> Step:
    shape.warn_of_unknown(_STEP_KEYS, _STEP_HINTS, reported=OUTDATED_STEP_KEYS)
    return Step(
        id=shape.required_string("id", "id: fetch"),
        component=shape.required_string("component", "component: /python/fetch"),
        input=expressions.parse(shape.fields.get("input"), (*shape.path, "input")),
        on_error=_on_error(shape.inner("onError", "onError")),
        must_execute=shape.boolean("mustExecute"),
        metadata=shape.object("metadata") or {},
    )


def _on_error(shape: Shape | None) -> OnError | None:
    if shape is None:
        return None
    shape.warn_of_unknown(_ON_ERROR_KEYS)
    match shape.fields.get("action"):
        case None:
            shape.missing("action", "action: useDefault")
        case "fail":
            return OnError.fail()
        case "useDefault":
            return OnError.use_default(shape.fields.get("defaultValue"))
        case "retry":
            return OnError.retry(shape.count("maxRetries"))
        case "skip":
            pass  # reported as mixed
        case _:
            shape.wrong("action", "'fail', 'useDefault' or 'retry'")
    return None


def _schemas(flow: Shape) -> Mapping[str, Json] | None:
    shape = flow.inner("schemas", "schemas")
    if shape is None:
        return None
    flat = [key for key in _SCHEMA_KEYS if key in shape.fields]
    for key in flat:
        fix = f"write it as schemas.properties.{key}, and schemas.type: object"
        shape.reporter.invalid((*shape.path, key), f"the flat form of schemas is not read; {fix}")
    if not flat and shape.fields.get("type") != "object":
        if shape.fields.get("type") is None:
            shape.missing("type", "type: object")
        else:
            shape.wrong("type", "'object'")
    shape.object("$defs")
    if properties := shape.inner("properties", "schemas.properties"):
        properties.warn_of_unknown(_SCHEMA_KEYS)
        for key in ("input", "output"):
            if not isinstance(properties.fields.get(key), (dict, bool, type(None))):
                properties.wrong(key, "a JSON Schema")
        for key in ("variables", "steps"):
            if inner := properties.inner(key, f"schemas.properties.{key}"):
                inner.object("properties")
    return shape.fields


def _report_mixed(outdated: Sequence[Outdated], current: tuple[str, PathParts], reporter: Reporter) -> None:
    name, path = current
    line = None if reporter.source is None else reporter.source.line(path)
    place = show_path(path) if line is None else f"{show_path(path)}, line {line}"
    for found in outdated:
        message = (
            f"{found.construct!r} is the language of Stepflow 0.7 and 0.8, and {name!r} (at {place}) that of 0.9; "
            f"a document is written in one of them; for 0.9 {found.replacement}"
        )
        data = {"construct": found.construct, "replacement": found.replacement, "beside": name}
        reporter.add(MIXED, found.path, message, data=data)


def _report_duplicates(duplicates: Sequence[Duplicate], reporter: Reporter) -> None:
    for path, first_line, line in duplicates:
        twice = f"the key {str(path[-1])[:60]!r} stands here twice (lines {first_line} and {line})"
        # A field of the format that stands there twice is a mistake for upstream too; in free-form values the
        # last one counts there.
        if _is_typed(path[:-1]):
            reporter.invalid(path, twice)
        else:
            reporter.add(DUPLICATE_KEY, path, f"{twice}; the last one counts", level="warning")


def _is_typed(path: PathParts) -> bool:
    match path:
        case () | ("schemas",) | ("schemas", "properties") | ("steps", int()) | ("steps", int(), "onError"):
            return True
        case _:
            return False
