"""The outcome of a component as the result of a tool."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from mcp.types import CallToolResult, TextContent

from stepflow_sdk.errors import InternalError, InvalidInput, WireError
from stepflow_sdk.mcp_server.tools import ComponentTool
from stepflow_sdk.protocol.messages import ComponentExecuteResult
from stepflow_sdk.protocol.values import decode_value

__all__ = ["failure", "success"]

_ERROR_KEY: Final = "stepflow/error"
"""Where ``_meta`` has the error of a failed call: ``{"code", "message", "data"?}`` as in the Stepflow protocol."""

_encode = msgspec.json.Encoder().encode


class _Problem(msgspec.Struct):
    path: str
    message: str


class _Problems(msgspec.Struct, omit_defaults=True):
    problems: list[_Problem]
    more: int = 0


def success(tool: ComponentTool, answer: ComponentExecuteResult) -> CallToolResult:
    """Return the result for an output, or for a skip."""
    if answer.skipped is not None:
        reason = answer.skipped if isinstance(answer.skipped, str) else "the step was skipped"
        return CallToolResult(content=_texts(f"skipped: {reason}"), structured_content={"skipped": reason})
    try:
        output = decode_value(answer.output)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InternalError(f"the output of {tool.name} cannot be read: {error}") from None
    # Text is for people and language models, who want no quotes around it.
    text = output if isinstance(output, str) else _encode(output).decode()
    structured = {"result": output} if tool.wraps_output else output
    return CallToolResult(content=_texts(text), structured_content=structured)


def failure(error: WireError, place: Callable[[str], str] = str) -> CallToolResult:
    """Return the result for an error: as text that names every problem, and under ``_meta`` with its code and data.

    Args:
        error: What happened.
        place: Says where in the arguments a problem is, by its path in the component's input.
    """
    message, data = error.message, error.data
    texts = [message]
    found = _problems(error, place)
    if found is not None:
        data = msgspec.to_builtins(found)
        texts = [_tell(found)]
    elif data is not None and data != {"exception": message.partition(":")[0]}:
        texts.append(_encode(data).decode())
    told = {"code": error.code, "message": message, **({} if data is None else {"data": data})}
    return CallToolResult(content=_texts(*texts), is_error=True, _meta={_ERROR_KEY: told})


def _problems(error: WireError, place: Callable[[str], str]) -> _Problems | None:
    """The problems of an invalid input; None for any other error."""
    if not isinstance(error, InvalidInput):
        return None
    try:
        found = msgspec.convert(error.data, _Problems)
    except msgspec.ValidationError:  # a component may raise the class with data of its own
        return None
    for problem in found.problems:
        problem.path = place(problem.path)
    return found if found.problems else None


def _tell(found: _Problems) -> str:
    lines = [f"{problem.path}: {problem.message}" for problem in found.problems]
    if len(lines) == 1 and not found.more:
        return f"invalid input: {lines[0]}"
    more = [f"and {found.more} more"] if found.more else []
    return "\n".join(["invalid input:", *lines, *more])


def _texts(*texts: str) -> list[Any]:
    return [TextContent(type="text", text=text) for text in texts]
