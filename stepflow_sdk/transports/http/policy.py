"""Who may talk to an HTTP server, and how much: what is checked before a body is read."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from stepflow_sdk.errors import AccessDenied, InvalidRequest, WireError

__all__ = ["LOOPBACK_NAMES", "MOST_HEAD_BYTES", "Headers", "HttpPolicy", "Refusal"]

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

_JSON = b"application/json"
_LONG = 200
"""Headers up to so many bytes are remembered: a client sends the same ones again and again."""

_MOST_FIELDS = 100
MOST_HEAD_BYTES = 64 * 1024
"""What the head of a request may have."""
_MOST_DIGITS = 100

Headers = Sequence[tuple[bytes, bytes]]


class Refusal(Exception):
    """An HTTP request that is answered with a status and a JSON-RPC error instead of being served."""

    def __init__(self, status: int, error: WireError, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(error.message)
        self.status = status
        self.error = error
        self.headers = headers


@dataclass(frozen=True, slots=True)
class HttpPolicy:
    """Who may talk to a server.

    A browser on the same machine can reach a loopback server on behalf of any page, and a name that is made to
    resolve to loopback makes such a page look local; so the names in ``Host`` and ``Origin`` are checked.

    Attributes:
        allowed_hosts: Names, without a port, that ``Host`` may have beside those of loopback; ``*`` for any.
        allowed_origins: What ``Origin`` may be when there is one (``https://example.com``).
        token: What callers must send as ``Authorization: Bearer TOKEN``; None for no such demand.
        blob_hosts: Hosts, beside its own, on which a runtime may say that its blobs are.
        blob_api: Where the blobs of the runtime are, for replicas behind one address: a runtime of 0.10 or 0.11
            introduces itself to one of them alone, and tells no other.
        max_body_bytes: The longest body that is read.
        head_timeout: Seconds that the head of a request may take, where the server runs itself.
        body_timeout: Seconds that may pass without a further piece of a body.
        max_exchanges: How many requests may be unanswered at once.
        max_connections: How many connections there may be, where the server runs itself; fewer where the system does
            not let the process have so many files open.
    """

    allowed_hosts: frozenset[str] = frozenset()
    allowed_origins: frozenset[str] = frozenset()
    token: str | None = None
    blob_hosts: frozenset[str] = frozenset()
    blob_api: str | None = None
    max_body_bytes: int = 64 * 1024 * 1024
    head_timeout: float = 10.0
    body_timeout: float = 20.0
    max_exchanges: int = 10_000
    max_connections: int = 10_000

    def check_source(self, headers: Headers) -> None:
        """Check where a request comes from; for every route.

        Raises:
            Refusal: 431 for too many or too long fields, 400 without a usable ``Host``, 421 for a foreign one, 403
                for a foreign ``Origin``.
        """
        if len(headers) > _MOST_FIELDS:
            message = f"the head has more than {_MOST_FIELDS} fields"
            raise Refusal(431, InvalidRequest(message, data={"limit": _MOST_FIELDS}), [(b"connection", b"close")])
        hosts = origins = size = 0
        host = origin = b""
        for name, value in headers:
            size += len(name) + len(value)
            if name == b"host":
                host, hosts = value, hosts + 1
            elif name == b"origin":
                origin, origins = value, origins + 1
        if size > MOST_HEAD_BYTES:
            message = f"the head is longer than {MOST_HEAD_BYTES} bytes"
            raise Refusal(431, InvalidRequest(message, data={"limit": MOST_HEAD_BYTES}), [(b"connection", b"close")])
        if hosts != 1:
            # What follows it on the connection may be meant for another server.
            raise Refusal(400, InvalidRequest('one "Host" header is needed'), [(b"connection", b"close")])
        host_name = _host_name(host) if len(host) > _LONG else _known_host_name(host)
        if host_name not in LOOPBACK_NAMES and host_name not in self.allowed_hosts and "*" not in self.allowed_hosts:
            message = f"the server is not known as {host_name[:100]!r}; name it in allowed_hosts (--allow-host)"
            raise Refusal(421, AccessDenied(message))
        if origins and (origins > 1 or origin.decode("latin-1") not in self.allowed_origins):
            message = "this origin may not call; name it in allowed_origins (--allow-origin)"
            raise Refusal(403, AccessDenied(message))

    def check_caller(self, headers: Headers) -> None:
        """Check the token, where one is demanded.

        Raises:
            Refusal: 401.
        """
        if self.token is None:
            return
        given = next((value for name, value in headers if name == b"authorization"), b"")
        scheme, _, token = given.partition(b" ")
        expected = self.token.encode()
        from hmac import compare_digest  # only a server with a token needs it

        if scheme.lower() != b"bearer" or not compare_digest(token.strip(), expected):
            raise Refusal(401, AccessDenied("a valid bearer token is needed"), [(b"www-authenticate", b"Bearer")])

    def check_content(self, headers: Headers) -> None:
        """Check what a POST of the protocol carries and what it can take.

        Raises:
            Refusal: 400, 415, 406 or 413.
        """
        if self.check_body(headers) != b"application/json":
            raise Refusal(415, InvalidRequest('the content type must be "application/json"'))
        accept = encoding = b""
        for name, value in headers:
            if name == b"accept":
                accept = b",".join((accept, value)) if accept else value
            elif name == b"content-encoding":
                encoding = value.strip().lower()
        if encoding not in {b"", b"identity"}:
            raise Refusal(415, InvalidRequest("no content coding is read; send the body as it is"))
        if not (_accepts(accept) if len(accept) > _LONG else _known_accepts(accept)):
            message = 'the client must accept both "application/json" and "text/event-stream"'
            raise Refusal(406, InvalidRequest(message))

    def check_body(self, headers: Headers) -> bytes:
        """Check the length of a body before it is read; returns its content type, in lower case, without parameters.

        Raises:
            Refusal: 400 or 413.
        """
        content_type = length = coding = b""
        for name, value in headers:
            if name == b"content-type":
                # Of two types the one that was checked might not be the one that was meant.
                content_type = b"several" if content_type else value
            elif name == b"content-length":
                length = value
            elif name == b"transfer-encoding":
                coding = value
        if coding and coding.strip().lower() != b"chunked":
            error = InvalidRequest('the only transfer coding that is read is "chunked"')
            raise Refusal(400, error, [(b"connection", b"close")])
        if length and coding:
            # Two lengths are how a second request is smuggled past a proxy (RFC 9112, section 6.1).
            error = InvalidRequest("the body has both a length and a transfer coding")
            raise Refusal(400, error, [(b"connection", b"close")])
        # Python refuses to read a number of thousands of digits, and that one is too long anyway.
        if length.isdigit() and (len(length) > _MOST_DIGITS or int(length) > self.max_body_bytes):
            raise self.too_long()
        return content_type if content_type == _JSON else content_type.partition(b";")[0].strip().lower()

    def too_long(self) -> Refusal:
        """The refusal of a body above the limit."""
        limit = {"limit": self.max_body_bytes}
        error = InvalidRequest(f"the body is longer than {self.max_body_bytes} bytes", data=limit)
        return Refusal(413, error, [(b"connection", b"close")])


def _host_name(header: bytes) -> str:
    host = header.decode("latin-1").lower()
    if host.startswith("["):
        name, closed, port = host[1:].partition("]")
        named = bool(closed) and port[:1] in {"", ":"}
        port = port[1:]
    else:
        name, _, port = host.partition(":")
        named = True
    # What follows can only be a port; anything else is another name.
    return name if named and (not port or (port.isascii() and port.isdigit())) else host


def _accepts(accept: bytes) -> bool:
    kinds = {part.partition(b";")[0].strip().lower() for part in accept.split(b",")}
    json = kinds & {b"application/json", b"application/*", b"*/*"}
    return bool(json and kinds & {b"text/event-stream", b"text/*", b"*/*"})


_known_host_name = functools.lru_cache(256)(_host_name)
_known_accepts = functools.lru_cache(256)(_accepts)
