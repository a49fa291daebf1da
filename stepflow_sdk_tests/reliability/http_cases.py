"""What can come to an HTTP server, as bytes, and which statuses its answers may have."""

import json
from typing import NamedTuple

from stepflow_sdk_tests.e2e.web import HEADERS
from stepflow_sdk_tests.reliability.ends import execution

__all__ = ["BROKEN", "KNOWN", "REFUSED", "SERVED", "SMUGGLED", "SMUGGLING", "Raw", "head", "post"]

SMUGGLED = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
"""What is hidden behind another request; its answer says ``healthy``."""


class Raw(NamedTuple):
    """Bytes on a connection of their own.

    Attributes:
        statuses: Those that the first answer may have; 0 for a connection that is closed without one.
    """

    name: str
    data: bytes
    statuses: tuple[int, ...]


def head(
    *more: str, method: str = "POST", path: str = "/", host: str | None = "localhost", version: str = "1.1"
) -> bytes:
    lines = [f"{method} {path} HTTP/{version}"]
    lines += [] if host is None else [f"host: {host}"]
    lines += [f"{name}: {value}" for name, value in HEADERS.items()]
    return "\r\n".join([*lines, *more]).encode("latin-1") + b"\r\n\r\n"


def post(body: bytes, *more: str, path: str = "/", host: str | None = "localhost", version: str = "1.1") -> bytes:
    return head(*more, f"content-length: {len(body)}", path=path, host=host, version=version) + body


ECHO = json.dumps(execution(1, "/echo", 1)).encode()
TAIL = len(SMUGGLED)

SMUGGLING: list[Raw] = [
    Raw(
        "a length and a coding",
        head(f"content-length: {5 + TAIL}", "transfer-encoding: chunked") + b"0\r\n\r\n" + SMUGGLED,
        (400,),
    ),
    Raw(
        "a coding and a length",
        head("transfer-encoding: chunked", "content-length: 5") + b"0\r\n\r\n" + SMUGGLED,
        (400,),
    ),
    *(
        Raw(
            f"a length and a coding of {path}",
            head("content-length: 5", "transfer-encoding: chunked", method="GET", path=path) + b"0\r\n\r\n" + SMUGGLED,
            (400,),
        )
        for path in ("/health", "/ready", "/runtime/events")
    ),
    Raw("two lengths", head("content-length: 2", "content-length: 5") + b"{}" + SMUGGLED, (400,)),
    Raw("two lengths in one", head("content-length: 2, 5") + b"{}" + SMUGGLED, (400,)),
    Raw("a negative length", head("content-length: -1") + SMUGGLED, (400,)),
    Raw("a length with a plus", head("content-length: +2") + b"{}" + SMUGGLED, (400,)),
    Raw("a length in hexadecimal", head("content-length: 0x2") + b"{}" + SMUGGLED, (400,)),
    Raw("a length with an underscore", head("content-length: 1_0") + b"{}" + SMUGGLED, (400,)),
    Raw("a length with a blank inside", head("content-length: 2 0") + b"{}" + SMUGGLED, (400,)),
    Raw("an empty length", head("content-length:") + SMUGGLED, (400, 411)),
    Raw("a length beyond 64 bits", head("content-length: 99999999999999999999999") + b"{}" + SMUGGLED, (400, 413)),
    Raw("a length in words", head("content-length: two") + b"{}" + SMUGGLED, (400,)),
    Raw("an unknown coding", head("transfer-encoding: xchunked") + b"0\r\n\r\n" + SMUGGLED, (400, 501)),
    Raw("chunked not last", head("transfer-encoding: chunked, identity") + b"0\r\n\r\n" + SMUGGLED, (400, 501)),
    Raw("gzip and chunked", head("transfer-encoding: gzip, chunked") + b"0\r\n\r\n" + SMUGGLED, (400, 501)),
    Raw(
        "two codings",
        head("transfer-encoding: chunked", "transfer-encoding: identity") + b"0\r\n\r\n" + SMUGGLED,
        (400, 501),
    ),
    Raw(
        "a coding with a blank before the colon", head("transfer-encoding : chunked") + b"0\r\n\r\n" + SMUGGLED, (400,)
    ),
    Raw(
        "a coding with a tab",
        head("transfer-encoding:\tchunked", "content-length: 5") + b"0\r\n\r\n" + SMUGGLED,
        (400,),
    ),
    Raw("a coding with a vertical tab", head("transfer-encoding: \x0bchunked") + b"0\r\n\r\n" + SMUGGLED, (400, 501)),
    Raw(
        "a folded header",
        head("x: y\r\n transfer-encoding: chunked", "content-length: 5", "connection: close") + b"0\r\n\r\n" + SMUGGLED,
        (400,),
    ),
    Raw("a chunk size that is none", head("transfer-encoding: chunked") + b"zz\r\n" + SMUGGLED, (400,)),
    Raw("a negative chunk size", head("transfer-encoding: chunked") + b"-1\r\n" + SMUGGLED, (400,)),
    Raw("a chunk size in 0x", head("transfer-encoding: chunked") + b"0x2\r\n{}\r\n0\r\n\r\n" + SMUGGLED, (400,)),
    Raw("a huge chunk size", head("transfer-encoding: chunked") + b"f" * 30 + b"\r\n" + SMUGGLED, (400, 413)),
    Raw(
        "two unchecked bytes behind a chunk",
        head("transfer-encoding: chunked") + b"2\r\n{}XX0\r\n\r\n" + SMUGGLED,
        (400,),
    ),
    Raw("a chunk that ends with LF", head("transfer-encoding: chunked") + b"2\n{}\n0\n\n" + SMUGGLED, (400,)),
    Raw(
        "a chunk longer than its size", head("transfer-encoding: chunked") + b"1\r\n{}\r\n0\r\n\r\n" + SMUGGLED, (400,)
    ),
    Raw("two hosts", b"POST / HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n" + SMUGGLED, (400,)),
    Raw(
        "two hosts that differ", b"POST / HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n" + SMUGGLED, (400,)
    ),
    Raw("a null byte in a value", head("x: a\0b") + SMUGGLED, (400,)),
    Raw("a null byte in a name", head("x\0y: a") + SMUGGLED, (400,)),
    Raw("a blank in a name", head("x y: a") + SMUGGLED, (400,)),
    Raw("a name without a colon", head("xyz") + SMUGGLED, (400,)),
    Raw("an empty name", head(": a") + SMUGGLED, (400,)),
    Raw("a lone carriage return", head("x: a\rb") + SMUGGLED, (400,)),
]
"""Requests whose end two readers could see in different places: 400, and the connection is closed (RFC 9112)."""

BROKEN: list[Raw] = [
    Raw("nothing but line ends", b"\r\n\r\n\r\n\r\n\r\n", (0, 400)),
    Raw("a word", b"hello\r\n\r\n", (400, 0)),
    Raw("JSON", ECHO + b"\r\n\r\n", (400, 0)),
    Raw("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)) + b"\r\n\r\n", (400, 0)),
    Raw("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 404, 405, 421, 505, 0)),
    Raw("HTTP/0.9", b"GET /\r\n\r\n", (400, 0)),
    Raw("HTTP/3.7", head(version="3.7"), (400, 505, 0)),
    Raw("a version in words", b"GET / HTTP/one\r\n\r\n", (400, 0)),
    Raw("a path with a blank", b"GET /a b HTTP/1.1\r\nhost: localhost\r\n\r\n", (400, 0)),
    Raw("a long path", b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n", (400, 404, 414, 431, 0)),
    Raw("a long header", head("x: " + "y" * 100_000), (400, 431, 0)),
    Raw("ten thousand headers", head(*(f"x{n}: y" for n in range(10_000))), (400, 431, 0)),
    Raw("a hundred and fifty headers", head(*(f"x{n}: y" for n in range(150)), "content-length: 0"), (400, 431)),
    Raw("a head that does not end", b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 20_000, (400, 431, 0)),
    Raw("random bytes", bytes((n * 7919 + 13) % 256 for n in range(5000)) + b"\r\n\r\n", (400, 0)),
]

REFUSED: list[Raw] = [
    Raw("one long field", post(ECHO, f"x: {'y' * 70_000}"), (431,)),
    Raw("many long fields", post(ECHO, *(f"x-{number}: {'y' * 2000}" for number in range(50))), (431,)),
    Raw("a long name", post(ECHO, f"{'x' * 70_000}: y"), (431, 400)),
    Raw("two content types", post(ECHO, "content-type: text/plain"), (415,)),
    Raw("no host", post(ECHO, host=None), (400,)),
    Raw("an empty host", post(ECHO, host=""), (400, 421)),
    *(
        Raw(f"the host {host[:30]!r}", post(ECHO, host=host), (400, 421))
        for host in (
            "evil.example",
            "localhost.evil.example",
            "evil.example:80",
            "localhost@evil.example",
            "evil.example/localhost",
            "127.0.0.1.evil.example",
            "2130706433",
            "127.1",
            "0.0.0.0",
            "[::]",
            "[::1].evil.example",
            "[::1",
            "[::1]evil.example",
            "localhost,evil.example",
            "localhost evil.example",
            "localhost:80@evil.example",
            "localhost:evil.example",
            "127.0.0.1:80:80",
            "[::1]:evil.example",
            "localhost:²",
            "x" * 5000,
        )
    ),
    *(
        Raw(f"the origin {origin[:30]!r}", post(ECHO, f"origin: {origin}"), (403,))
        for origin in (
            "null",
            "http://evil.example",
            "https://localhost",
            "http://localhost:3000",
            "http://127.0.0.1",
            "file://",
            "chrome-extension://abc",
            "",
            "*",
        )
    ),
    *(
        Raw(f"the path {path[:30]!r}", post(ECHO, path=path), (400, 404, 421))
        for path in (
            "/x",
            "//",
            "/.",
            "/..",
            "/../",
            "/%2e%2e/",
            "/health/",
            "/healthy",
            "/Health",
            "/session/",
            "/session/x",
            "/session/../health",
            "/session/%00",
            "/runtime",
            "/%ff",
            "/%",
            "/x" * 1000,
            "http://evil.example/x",
            "http://evil.example/",
            "HTTP://EVIL.EXAMPLE:80/?x",
            "http://localhost@evil.example/",
            "ftp://evil.example/",
            "https://[::1].evil.example/",
            "*",
            "evil.example:80",
        )
    ),
    *(
        Raw(f"{method}", head("content-length: 0", method=method), (400, 405, 501))
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "BREW")
    ),
    Raw("CONNECT", b"CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example:443\r\n\r\n", (400, 404, 405, 421, 0)),
]

SERVED: list[Raw] = [
    Raw("plainly", post(ECHO), (200,)),
    Raw("in chunks", head("transfer-encoding: chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(ECHO), ECHO), (200,)),
    Raw(
        "in chunks of one",
        head("transfer-encoding: chunked") + b"".join(b"1\r\n%c\r\n" % c for c in ECHO) + b"0\r\n\r\n",
        (200,),
    ),
    Raw(
        "in chunks with extensions",
        head("transfer-encoding: chunked") + b"%x;a=b\r\n%b\r\n0\r\n\r\n" % (len(ECHO), ECHO),
        (200,),
    ),
    Raw(
        "with a trailer",
        head("transfer-encoding: chunked") + b"%x\r\n%b\r\n0\r\nx: y\r\n\r\n" % (len(ECHO), ECHO),
        (200,),
    ),
    Raw("with a charset", post(ECHO).replace(b"application/json\r", b"application/json; charset=utf-8\r", 1), (200,)),
    Raw("as HTTP/1.0", post(ECHO, version="1.0"), (200,)),
    Raw("as through a proxy", post(ECHO, path="http://localhost/", host="evil.example"), (200,)),
    Raw("with a query", post(ECHO, path="/?a=b"), (200,)),
    Raw("to a port", post(ECHO, host="127.0.0.1:80"), (200,)),
    Raw("with ninety headers", post(ECHO, *(f"x{n}: y" for n in range(90))), (200,)),
    Raw("with 8 KB of headers", post(ECHO, "x: " + "y" * 8000), (200,)),
    Raw("with an upgrade to ignore", post(ECHO, "upgrade: h2c", "connection: upgrade"), (200,)),
    Raw("with an upgrade in capitals", post(ECHO, "Connection: Upgrade, HTTP2-Settings", "UPGRADE: h2c"), (200,)),
    Raw("with cookies", post(ECHO, "cookie: a=b; c=d"), (200,)),
    Raw("expected to be asked for", post(ECHO, "expect: 100-continue"), (100, 200)),
    Raw("behind a line end", b"\r\n" + post(ECHO), (200,)),
]

KNOWN: dict[tuple[str, str], str] = {
    ("h11", "as through a proxy"): "uvicorn with h11 takes the whole target for the path",
    ("h11", "behind a line end"): "h11 refuses an empty line before a request, which RFC 9112 only asks to be ignored",
}
"""How the parsers are known to differ, by parser and case."""
