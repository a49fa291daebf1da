"""Blobs over HTTP: the blob API of runtimes from 0.10 on, whose address comes with ``initialize``."""

import io
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Raw

from stepflow_sdk.errors import (
    AccessDenied,
    BlobNotFound,
    InternalError,
    InvalidValue,
    RequestTimeout,
    ResourceUnavailable,
)
from stepflow_sdk.protocol import BlobId, BlobType

if TYPE_CHECKING:
    import aiohttp

__all__ = ["BlobApi", "check_blob_url"]

_JSON = "application/json"
_BYTES = "application/octet-stream"

_KNOWN_LIMIT = 2 * 1024 * 1024
"""The longest body, in bytes, that the blob API of the runtimes 0.10 and 0.11 takes."""


class _Stored(msgspec.Struct, rename="camel"):
    blob_id: BlobId


class _Found(msgspec.Struct, rename="camel"):
    data: Raw


_decode_stored = msgspec.json.Decoder(_Stored).decode
_decode_found = msgspec.json.Decoder(_Found).decode


def check_blob_url(url: str, caller: str | None, allowed: frozenset[str]) -> None:
    """Check an address that a caller gave for its blob API, since the server will send requests to it.

    Args:
        url: The address.
        caller: The IP address that it came from, None where the caller started this process.
        allowed: Names of other hosts that may be named.

    Raises:
        AccessDenied: It is not HTTP, or names a host that is neither the caller nor allowed.
    """
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise AccessDenied(f"the blob API must be an HTTP address, not {url[:100]!r}")
    if caller is None or parts.hostname in allowed or parts.hostname == caller:
        return
    if _is_loopback(caller) and (parts.hostname == "localhost" or _is_loopback(parts.hostname)):
        return
    message = f"the blob API of a runtime at {caller} is on another host, {parts.hostname[:100]!r}"
    raise AccessDenied(f"{message}; name it in HttpPolicy(blob_hosts=...) if that is right")


def _is_loopback(host: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class BlobApi:
    """A client of one blob API; `close` it on the event loop that it was used on.

    Args:
        url: The address of the collection, ``http://127.0.0.1:7840/api/v1/blobs``.
        timeout: Seconds for one call; None for no limit.
    """

    def __init__(self, url: str, timeout: float | None) -> None:
        self.move(url)
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    def move(self, url: str) -> None:
        """Use another address from here on."""
        self.url = url.rstrip("/")

    async def put(self, data: Raw, blob_type: BlobType) -> BlobId:
        """Store JSON data and return its id.

        Raises:
            InvalidValue: It is larger than the runtime takes.
            ResourceUnavailable: The runtime cannot be reached.
            RequestTimeout: It did not answer in time.
            InternalError: Its answer has not the promised form.
        """
        body = b'{"data":' + bytes(data) + b',"blobType":"' + blob_type.value.encode() + b'"}'
        return await self._put(body, _JSON)

    async def put_bytes(self, data: bytes) -> BlobId:
        """Store bytes as a blob of type ``binary`` and return its id; raises as `put` does."""
        return await self._put(data, _BYTES)

    async def _put(self, body: bytes, content_type: str) -> BlobId:
        answer = await self._send("POST", self.url, body, content_type, _JSON)
        if answer.status == 413:
            raise _too_large(len(body))
        if answer.status != 200:
            raise answer.unexpected()
        try:
            return _decode_stored(answer.body).blob_id
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _malformed(error) from None

    async def get(self, blob_id: BlobId) -> Raw:
        """Return the data of a blob, still encoded; raises as `put` does.

        Raises:
            BlobNotFound: There is no such blob.
        """
        answer = await self._get(blob_id, _JSON)
        try:
            return _decode_found(answer.body).data.copy()
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _malformed(error) from None

    async def get_bytes(self, blob_id: BlobId) -> bytes | Raw:
        """Return the bytes of a ``binary`` blob, or the data, still encoded, of another; raises as `get` does."""
        answer = await self._get(blob_id, _BYTES)
        return answer.body if answer.blob_type == "binary" else await self.get(blob_id)

    async def _get(self, blob_id: BlobId, accept: str) -> "_Answer":
        missing = BlobNotFound(f"there is no blob {blob_id[:80]!r}", data={"blob_id": blob_id[:200]})
        if len(blob_id) != 64 or not set(blob_id) <= set("0123456789abcdef"):
            raise missing  # nothing else may become part of an address
        answer = await self._send("GET", f"{self.url}/{blob_id}", None, None, accept)
        if answer.status == 404:
            raise missing
        if answer.status != 200:
            raise answer.unexpected()
        return answer

    async def close(self) -> None:
        """Close what is open."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _send(
        self, method: str, url: str, body: bytes | None, content_type: str | None, accept: str
    ) -> "_Answer":
        import aiohttp

        if self._session is None:
            # No cookies, no proxies, no redirects: it is one address of the runtime's own.
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
        headers = {"accept": accept, **({} if content_type is None else {"content-type": content_type})}
        timeout = aiohttp.ClientTimeout(total=self._timeout)
        data = None if body is None else io.BytesIO(body)
        try:
            async with self._session.request(
                method, url, data=data, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                return _Answer(response.status, response.headers.get("x-blob-type"), await response.read())
        except TimeoutError:
            message = f"the runtime's blob API did not answer within {self._timeout} s"
            raise RequestTimeout(message, data={"timeout": self._timeout}) from None
        except (aiohttp.ClientError, OSError) as error:
            if body is not None and len(body) > _KNOWN_LIMIT:
                # The refusal comes before the body is read, and may be lost with the connection.
                raise _too_large(len(body)) from error
            raise ResourceUnavailable(f"the runtime's blob API cannot be reached: {error}") from error


class _Answer(NamedTuple):
    status: int
    blob_type: str | None
    body: bytes

    def unexpected(self) -> InternalError:
        shown = self.body[:200].decode("utf-8", "replace")
        return InternalError(f"the runtime's blob API answered {self.status}: {shown}")


def _malformed(error: Exception) -> InternalError:
    return InternalError(f"the answer of the runtime's blob API has not the promised form: {error}")


def _too_large(size: int) -> InvalidValue:
    message = f"the runtime refuses a blob of {size} bytes; the limit of runtimes 0.10 and 0.11 is 2 MiB"
    return InvalidValue(message, data={"field": "data", "limit": _KNOWN_LIMIT, "size": size})
