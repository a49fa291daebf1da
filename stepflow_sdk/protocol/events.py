"""What the messages of the other end mean, and our own calls."""

from typing import Any

from msgspec import Raw, Struct

from stepflow_sdk.errors import WireError
from stepflow_sdk.packed import Encoded
from stepflow_sdk.protocol.messages import ComponentExecuteParams
from stepflow_sdk.protocol.methods import EXECUTE, Method

__all__ = ["Answer", "Batch", "Call", "Complaint", "Event", "Notification", "Request"]

_DECODED = Raw(b"")


class Batch:
    """The replies to one JSON-RPC batch, which leave together (JSON-RPC 2.0, section 6)."""

    __slots__ = ("missing", "replies")

    def __init__(self) -> None:
        self.missing = 0
        self.replies: list[bytes] = []


class Request(Struct, eq=False, gc=False):
    """A request of the other end: answer it with `Peer.reply` or `Peer.fail`, once.

    Attributes:
        id: As it came, integer or string.
        decoded: The params of ``components/execute``, where reading the message gave them; ``params`` is empty then.
        method: The method's name, known or not.
        params: Still encoded; ``{}`` when there were none.
        batch: The JSON-RPC batch that its reply belongs to; the peer's own.
        answered: Whether it has been.
    """

    id: int | str
    decoded: ComponentExecuteParams | None = None
    method: str = EXECUTE.name
    params: Encoded = _DECODED
    batch: Batch | None = None
    answered: bool = False


class Notification:
    """A message of the other end that wants no answer."""

    __slots__ = ("method", "params")

    def __init__(self, method: str, params: Encoded) -> None:
        self.method = method
        self.params = params


class Call(Struct, eq=False):
    """A request of ours; ``waiter``, ``owner``, ``subject`` and ``timeout`` belong to whoever made it."""

    id: str
    method: Method
    waiter: Any = None
    owner: Any = None
    subject: str = ""
    timeout: float = 0.0


class Answer(Struct, eq=False):
    """The answer to a call of ours: ``result``, decoded, or ``error``."""

    call: Call
    result: Any
    error: WireError | None


class Complaint:
    """An error of the other end that names no request: it could not read something of ours."""

    __slots__ = ("error",)

    def __init__(self, error: WireError) -> None:
        self.error = error


Event = Request | Notification | Answer | Complaint
