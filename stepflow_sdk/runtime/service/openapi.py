"""The OpenAPI document, made of the same table as the routes."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from stepflow_sdk import __version__
from stepflow_sdk.runtime.service.messages import ErrorAnswer
from stepflow_sdk.runtime.service.operations import JSON, Content, Operation

__all__ = ["openapi_document"]

_TEMPLATE: Final = "#/components/schemas/{name}"
_REFUSALS: Final = {
    400: "The request has not its form",
    401: "The bearer token is missing or wrong",
    403: "The origin of the request is not allowed",
    404: "There is no such thing",
    408: "The body did not arrive in time",
    409: "Its state does not allow this",
    413: "The body is too long",
    415: "The body has another type of content",
    421: "The host of the request is not known",
    422: "The body has not the form of what is wanted",
    500: "The service failed; its log says why",
    502: "A component server failed",
    503: "Runs cannot be taken now",
}
_EVERYWHERE: Final = (400, 403, 421, 500)
_WITH_BODY: Final = (408, 413, 415, 422)


def openapi_document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of some operations; its schemas are JSON Schema 2020-12."""
    forms = [ErrorAnswer, *_forms(operations)]
    _, schemas = msgspec.json.schema_components(forms, ref_template=_TEMPLATE)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Stepflow API",
            "version": __version__,
            "description": "Flows, runs, blobs and components, in the spelling of the published orchestrator 0.11.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _forms(operations: Iterable[Operation]) -> list[type[Struct]]:
    found: dict[type[Struct], None] = {}
    for operation in operations:
        for content in (operation.body, *(answer.content for answer in operation.answers.values())):
            found |= dict.fromkeys(form for form in content.values() if form is not None)
    return list(found)


def _described(operation: Operation) -> dict[str, Any]:
    statuses = {*_EVERYWHERE, *operation.errors, *(_WITH_BODY if operation.body else ())}
    if not operation.is_open:
        statuses.add(401)
    answers: dict[str, Any] = {
        str(status): {
            "description": answer.description,
            **({"content": _content(answer.content)} if answer.content else {}),
        }
        for status, answer in operation.answers.items()
    }
    refused = {JSON: {"schema": {"$ref": _TEMPLATE.format(name=ErrorAnswer.__name__)}}}
    for status in sorted(statuses):
        answers.setdefault(str(status), {"description": _REFUSALS[status], "content": refused})
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [*map(_path_parameter, operation.names), *_query_parameters(operation.query)],
        "responses": answers,
    }
    if operation.body:
        described["requestBody"] = {"required": True, "content": _content(operation.body)}
    if operation.is_open:
        described["security"] = [{}]
    return described


def _content(content: Content) -> dict[str, Any]:
    return {
        kind: {"schema": {} if form is None else {"$ref": _TEMPLATE.format(name=form.__name__)}}
        for kind, form in content.items()
    }


def _path_parameter(name: str) -> dict[str, Any]:
    form = {"format": "uuid"} if name == "run_id" else {}
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", **form}}


def _query_parameters(form: type[Struct] | None) -> list[dict[str, Any]]:
    if form is None:
        return []
    schema = msgspec.json.schema(form)["$defs"][form.__name__]
    return [
        {"name": name, "in": "query", "required": False, "schema": described}
        for name, described in schema["properties"].items()
    ]
