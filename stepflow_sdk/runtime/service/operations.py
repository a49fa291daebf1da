"""What an operation of the REST API is: its address, what it takes, what it answers, and who does it."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["API", "BYTES", "JSON", "Answer", "Asked", "Content", "Handler", "Operation", "json_answer"]

API: Final = "/api/v1"
"""Where the API is, as upstream has it."""

JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"

_NAME: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, read and checked.

    Attributes:
        path: What stands in the place of the names of the path.
        query: The parameters, as the operation's ``query``.
        body: The body: as the operation's ``body``, or where bytes are taken their pieces, as they arrive.
        request: The rest of it.
    """

    path: Mapping[str, str]
    query: Any
    body: Any
    request: "Request"


Handler: TypeAlias = Callable[[Asked], Awaitable["Response"]]
"""Does what an operation is for; what it raises becomes an error answer."""

Content: TypeAlias = Mapping[str, type[Struct] | None]
"""Types of content, each with the JSON that it is, or None for bytes and texts."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One way in which an operation is answered."""

    description: str
    content: Content = field(default_factory=dict[str, type[Struct] | None])


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    Attributes:
        method: Of HTTP.
        path: With names in braces.
        id: Its name in the description of the API.
        summary: What it does, in one line.
        handler: Who does it.
        answers: By status; those of requests that are wrong come on top.
        query: Its parameters.
        body: What it takes.
        errors: The statuses of its errors.
        tag: What it belongs to.
        is_open: Whether it is answered without the token, too.
    """

    method: str
    path: str
    id: str
    summary: str
    handler: Handler
    answers: Mapping[int, Answer]
    query: type[Struct] | None = None
    body: Content = field(default_factory=dict[str, type[Struct] | None])
    errors: Sequence[int] = ()
    tag: str = ""
    is_open: bool = False

    @property
    def names(self) -> list[str]:
        """The names in the path."""
        return _NAME.findall(self.path)


def json_answer(value: Any, status: int = 200) -> "Response":
    """An answer with a JSON value."""
    from starlette.responses import Response

    return Response(msgspec.json.encode(value), status, media_type=JSON)
