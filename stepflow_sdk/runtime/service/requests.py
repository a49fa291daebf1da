"""Reads requests: what has not its form is refused with the name of what is wrong, and what was expected."""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args, get_origin

import msgspec
from msgspec import Struct
from starlette.requests import Request

from stepflow_sdk.errors import InvalidRequest, ParseError
from stepflow_sdk.flows import did_you_mean
from stepflow_sdk.runtime.service.operations import BYTES, JSON, Asked, Operation
from stepflow_sdk.transports.http.body import body_pieces, read_body
from stepflow_sdk.transports.http.policy import HttpPolicy, Refusal

__all__ = ["read_request", "refuse"]

_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*?)`")
_CHOICE: Final = re.compile(r"Invalid enum value '(.*)'$", re.DOTALL)
_PLACE: Final = re.compile(r" - at `(\$.*)`$")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def refuse(status: int, message: str) -> Refusal:
    """A refusal of a request."""
    return Refusal(status, InvalidRequest(message))


async def read_request(operation: Operation, request: Request, policy: HttpPolicy) -> Asked:
    """Read what an operation takes.

    Raises:
        Refusal: 400 for a wrong parameter or no JSON, 415 for another type or coding of content, 422 for JSON of
            another form; and as `read_body`.
    """
    path = {name: str(request.path_params[name]) for name in operation.names}
    if "run_id" in path:
        path["run_id"] = _run_id(path["run_id"])
    query = None if operation.query is None else _read_query(request, operation.query)
    body = await _read_content(operation, request, policy) if operation.body else None
    return Asked(path, query, body, request)


def _run_id(text: str) -> str:
    if not _UUID.fullmatch(text):
        raise refuse(400, f"the id of a run is a UUID, not {text[:80]!r}")
    return text.lower()


def _read_query(request: Request, form: type[Struct]) -> Any:
    given: dict[str, str] = {}
    for name, text in request.query_params.multi_items():
        if name in given:
            raise refuse(400, f"the parameter {name[:80]!r} is given twice")
        given[name] = text
    try:
        return msgspec.convert(given, form, strict=False)
    except msgspec.ValidationError as error:
        raise refuse(400, _told(error, form, "parameter", given)) from None


async def _read_content(operation: Operation, request: Request, policy: HttpPolicy) -> Any:
    headers: list[tuple[bytes, bytes]] = request.scope["headers"]
    content_type = policy.check_body(headers).decode("latin-1")
    if content_type not in operation.body:
        wanted = " or ".join(f'"{name}"' for name in operation.body)
        given = f"not {content_type[:80]!r}" if content_type else "and the request says nothing of it"
        raise refuse(415, f"the content type must be {wanted}, {given}")
    coding = b", ".join(value for name, value in headers if name == b"content-encoding").decode("latin-1")
    if coding.strip().lower() not in ("", "identity"):
        raise refuse(415, f"no content coding is read, and this body has {coding[:80]!r}; send it as it is")
    if content_type == BYTES:
        return body_pieces(request.receive, policy)
    form = operation.body[JSON]
    text = await read_body(request.receive, policy)
    try:
        return msgspec.json.decode(text, type=Any if form is None else form)
    except msgspec.ValidationError as error:
        raise refuse(422, _told(error, form, "field", {})) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        problem = "the body is empty" if not text.strip() else f"the body is not JSON: {error}"
        raise Refusal(400, ParseError(problem)) from None
    except RecursionError:
        raise Refusal(400, ParseError("the body is nested too deeply")) from None


def _told(error: msgspec.ValidationError, form: type[Struct] | None, what: str, given: Mapping[str, str]) -> str:
    text = str(error)
    if found := _UNKNOWN.search(text):
        known = [] if form is None else [field.encode_name for field in msgspec.structs.fields(form)]
        hint = did_you_mean(found[1], known) or (f"known here: {', '.join(known)}" if known else "there are none")
        return f"unknown {what} {found[1][:80]!r}; {hint}"
    place = _PLACE.search(text)
    if place is None:
        return f"{text[:1].lower()}{text[1:]}".replace("object missing required field", f"the {what} is missing:")
    said = text[: place.start()]
    name = place[1].removeprefix("$.")
    value = ""
    if found := _CHOICE.match(said):
        choices = _choices(form, name)
        near = did_you_mean(found[1], choices)
        listed = f"expected one of {', '.join(choices)}, not {found[1][:60]!r}"
        return f"the {what} {name!r}: {listed}{f'; {near}' if near else ''}"
    if name in given:
        # What stands in an address is text, whatever it means.
        said = said.replace(", got `str`", "").replace(" | null", "")
        value = f" (given: {given[name][:60]!r})"
    return f"the {what} {name!r}: {said[:1].lower()}{said[1:]}{value}"


def _choices(form: type[Struct] | None, name: str) -> list[str]:
    """What a field may be that is one of some words."""
    fields = () if form is None else msgspec.structs.fields(form)
    kinds = (kind for field in fields if field.encode_name == name for kind in (field.type, *get_args(field.type)))
    return [str(choice) for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
