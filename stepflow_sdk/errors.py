"""The exception tree, and the wire code of each exception that crosses the protocol.

::

    StepflowError
    ├── WireError                      code   JSON-RPC and Stepflow errors; the same class at both ends
    │   ├── ParseError                -32700  the bytes are not JSON
    │   ├── InvalidRequest            -32600  JSON, but not a JSON-RPC message
    │   ├── MethodNotFound            -32601
    │   ├── InvalidParams             -32602
    │   ├── InternalError             -32603  a bug of this library, or a broken answer of the other end
    │   ├── ServerError               -32000  anything without a code of its own
    │   ├── ComponentNotFound         -32001
    │   ├── NotInitialized            -32002
    │   ├── InvalidInput              -32003  the component's input does not match its schema
    │   ├── ComponentError            -32004  the component failed: raise it, or let any exception out
    │   ├── ResourceUnavailable       -32005  overload, a peer that went away
    │   │   ├── ServerLost             a component server could not be started, or went away
    │   │   ├── ServerStopping         the server is about to end and takes no more
    │   │   └── StateError             a state file cannot be used
    │   │       └── CorruptState       what it holds is not what was written
    │   ├── RequestTimeout            -32006
    │   ├── AccessDenied              -32007
    │   ├── BlobNotFound              -32008
    │   ├── ExpressionError           -32009  a value expression could not be evaluated
    │   ├── SessionExpired            -32010
    │   ├── InvalidValue              -32011
    │   ├── NotFound                  -32012  a flow, a run, a batch
    │   └── RemoteError               any code that is not in this table
    ├── SkipStep                       not a failure: the component asks that its step be skipped
    ├── FlowFailed                     a flow that was awaited ended in a failure
    ├── DefinitionError                the program is wrong; raised where it is written, never on the wire
    │   ├── InvalidSignature           a function cannot be served as a component
    │   └── DuplicateComponent         two components under one path
    ├── InvalidDocument                a text is not JSON or YAML, or the file cannot be read
    ├── InvalidFlow                    a flow document cannot be read or fails its checks
    └── InvalidConfig                  a configuration cannot be read or used

The codes are those of the protocol's error table ("Error Handling" in the protocol overview).
"""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "AccessDenied",
    "BlobNotFound",
    "ComponentError",
    "ComponentNotFound",
    "CorruptState",
    "DefinitionError",
    "DuplicateComponent",
    "ExpressionError",
    "FlowFailed",
    "InternalError",
    "InvalidConfig",
    "InvalidDocument",
    "InvalidFlow",
    "InvalidInput",
    "InvalidParams",
    "InvalidRequest",
    "InvalidSignature",
    "InvalidValue",
    "MethodNotFound",
    "NotFound",
    "NotInitialized",
    "ParseError",
    "RemoteError",
    "RequestTimeout",
    "ResourceUnavailable",
    "ServerError",
    "ServerLost",
    "ServerStopping",
    "SessionExpired",
    "SkipStep",
    "StateError",
    "StepflowError",
    "WireError",
]


class StepflowError(Exception):
    """Base of every exception that this library raises on purpose."""


class WireError(StepflowError):
    """An error with a JSON-RPC code.

    Args:
        message: One sentence for a person.
        data: What a program may want to know: any JSON value, by default none.

    Attributes:
        code: The JSON-RPC error code.
    """

    code: int = -32000

    def __init__(self, message: str, *, data: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data


class ParseError(WireError):
    """The bytes are not JSON (JSON-RPC 2.0, section 5.1)."""

    code = -32700


class InvalidRequest(WireError):
    """JSON that is not a JSON-RPC 2.0 message of the Stepflow protocol."""

    code = -32600


class MethodNotFound(WireError):
    """A method that this end does not serve; ``data``: ``{"method", "did_you_mean"?}``."""

    code = -32601


class InvalidParams(WireError):
    """The params of a method do not have their form; ``data``: ``{"method", "path"?}``."""

    code = -32602


class InternalError(WireError):
    """A bug of this library, or an answer of the other end that has not the promised form."""

    code = -32603


class ServerError(WireError):
    """Any failure that has no code of its own."""

    code = -32000


class ComponentNotFound(WireError):
    """No component has this path; ``data``: ``{"component", "did_you_mean"?}``."""

    code = -32001


class NotInitialized(WireError):
    """A request came before ``initialize``."""

    code = -32002


class InvalidInput(WireError):
    """The input of a component does not match its schema.

    ``data`` is ``{"problems": [{"path": "$.a[0]", "message": "..."}, ...]}``: every problem found, each at
    its JSON path.
    """

    code = -32003


class ComponentError(WireError):
    """The execution of a component failed.

    Raise it in a component to choose the message and the data that the flow sees. Any other exception that
    leaves a component becomes one whose data is ``{"exception": "<type>"}``.

    Args:
        message: One sentence for the author of the flow.
        data: Any JSON value.
        retryable: Whether the same call may succeed later. On the wire it is the key ``"retryable": true`` of
            ``data`` when that is an object or absent.
    """

    code = -32004

    def __init__(self, message: str, *, data: Any = None, retryable: bool = False) -> None:
        super().__init__(message, data=data)
        self.retryable = retryable


class ResourceUnavailable(WireError):
    """Something needed is not there now: the other end went away, or a limit is reached."""

    code = -32005


class ServerLost(ResourceUnavailable):
    """A component server could not be started, or went away while it was needed; seen by the runtime alone.

    Attributes:
        flow_code: The code of the step's error in the flow format (section c.5): -32300 for a server that went
            away, -32301 for one that could not be started, -32303 for one that does not speak the protocol.
    """

    def __init__(self, message: str, *, flow_code: int = -32300, data: Any = None) -> None:
        super().__init__(message, data=data)
        self.flow_code = flow_code


class ServerStopping(ResourceUnavailable):
    """The server is about to end and answers no more; ``data`` says so to runtimes: ``{"stopping": true}``."""

    def __init__(self) -> None:
        super().__init__("the server is shutting down", data={"stopping": True})


class StateError(ResourceUnavailable):
    """A state file cannot be used: another process has it, it is of a newer version, or it cannot be written."""


class CorruptState(StateError):
    """What a state file holds is not what was written to it; nothing more is written. ``recover`` copies the rest."""


class RequestTimeout(WireError):
    """A call or a component did not end in time; ``data``: ``{"timeout": seconds}``."""

    code = -32006


class AccessDenied(WireError):
    """The caller may not do this."""

    code = -32007


class BlobNotFound(WireError):
    """No blob has this id; ``data``: ``{"blob_id"}``."""

    code = -32008


class ExpressionError(WireError):
    """A value expression of a flow could not be evaluated; ``data``: ``{"path"?}``."""

    code = -32009


class SessionExpired(WireError):
    """The session is unknown or has ended."""

    code = -32010


class InvalidValue(WireError):
    """A value that has the right form but cannot be meant; ``data``: ``{"field"?}``."""

    code = -32011


class NotFound(WireError):
    """A flow, a run or a batch that is not known; ``data``: ``{"kind", "id"}``."""

    code = -32012


class RemoteError(WireError):
    """An error of the other end whose code has no class here."""

    def __init__(self, message: str, *, code: int, data: Any = None) -> None:
        super().__init__(message, data=data)
        self.code = code


class SkipStep(StepflowError):
    """Raise it in a component to have its step skipped instead of done; not a failure.

    A runtime that knows no skipping sees the output ``null``.
    """

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason or "the step was skipped")
        self.reason = reason


class FlowFailed(StepflowError):
    """A flow that was awaited ended in a failure.

    Attributes:
        code: The code of the flow's error (``FlowError.code`` of the protocol).
        message: Its message.
        data: Its data, any JSON value.
    """

    def __init__(self, message: str, *, code: int, data: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.data = data


class DefinitionError(StepflowError):
    """The program that defines components is wrong; the message names the place and the fix."""


class InvalidSignature(DefinitionError):
    """A function cannot be served as a component."""


class DuplicateComponent(DefinitionError):
    """Two components claim the same path."""


class InvalidDocument(StepflowError):
    """A text is not the JSON or YAML it should be, or its file cannot be read.

    Attributes:
        problem: The message without the place.
        file: The file, if it came from one.
        line: The line, counted from 1, where it is known.
        column: The column, counted from 1, where it is known.
    """

    def __init__(
        self,
        message: str,
        *,
        problem: str | None = None,
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
    ) -> None:
        super().__init__(message)
        self.problem = problem or message
        self.file = file
        self.line = line
        self.column = column


class InvalidFlow(StepflowError):
    """A flow document cannot be read, or its checks found an error.

    Attributes:
        diagnostics: One JSON object for each finding:
            ``{"kind", "code", "level", "formatted", "path"?, "file"?, "line"?}``.
    """

    def __init__(self, message: str, *, diagnostics: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(message)
        self.diagnostics = [dict(diagnostic) for diagnostic in diagnostics]


class InvalidConfig(StepflowError):
    """A configuration cannot be read or used; the message names the file and the key."""


WIRE_ERRORS: dict[int, type[WireError]] = {
    error.code: error
    for error in (
        ParseError,
        InvalidRequest,
        MethodNotFound,
        InvalidParams,
        InternalError,
        ServerError,
        ComponentNotFound,
        NotInitialized,
        InvalidInput,
        ComponentError,
        ResourceUnavailable,
        RequestTimeout,
        AccessDenied,
        BlobNotFound,
        ExpressionError,
        SessionExpired,
        InvalidValue,
        NotFound,
    )
}
"""The protocol's table: the class of each code."""
