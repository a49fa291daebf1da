"""A client of a REST API of JSON: one request, one answer, and what went wrong in one sentence.

It imports the HTTP client library, which takes its time, so whoever needs it imports it late.
"""

import asyncio
import io
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, TypeGuard

import aiohttp
import msgspec
import yarl

from stepflow_sdk.errors import InternalError, RequestTimeout, ServerLost

__all__ = ["RestAnswer", "RestClient", "open_rest"]

_CONNECT_SECONDS: Final = 10.0
_TRIES: Final = 4
_PAUSE: Final = 0.25
"""Seconds before a request that can be repeated is sent again, more each time."""

_SHOWN: Final = 400


class RestAnswer(NamedTuple):
    """What a service said: a status of HTTP, and the JSON of the body, or its text where it is none."""

    status: int
    body: Any

    @property
    def message(self) -> str:
        """What it says of an error."""
        return str(self.body["message"] if _is_error(self.body) else self.body)[:_SHOWN]


def _is_error(body: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(body, dict) and "message" in body


@asynccontextmanager
async def open_rest(url: str, *, headers: Mapping[str, str] | None = None) -> AsyncGenerator["RestClient", None]:
    """A client for the API at a URL; its connections are kept for reuse and closed at the end.

    Redirects are not followed, cookies are not kept, and proxies that the environment names are not used.
    """
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept": "application/json", **(headers or {})},
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
    ) as session:
        yield RestClient(url.rstrip("/"), session)


class RestClient:
    """Sends requests to one API; made by `open_rest`."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> RestAnswer:
        """Send one request and return the answer, whatever its status.

        A GET that meets a broken connection is sent again a few times, for it does nothing.

        Args:
            method: Of HTTP.
            path: Below the URL.
            body: A JSON value; none for no body.
            query: Parameters.
            timeout: Seconds for the answer.

        Raises:
            ServerLost: The service cannot be reached, or broke off.
            RequestTimeout: It did not answer in time.
            InternalError: Its answer is too strange to be read.
        """
        data = None if body is None else msgspec.json.encode(body)
        tries = _TRIES if method == "GET" else 1
        for attempt in range(1, tries + 1):
            try:
                async with asyncio.timeout(timeout):
                    return await self._send(method, path, data, query)
            except TimeoutError:
                said = "in time" if timeout is None else f"within {timeout:g} s"
                raise RequestTimeout(f"{self.url} did not answer {method} {path} {said}") from None
            except aiohttp.ClientConnectorError as error:
                raise ServerLost(f"{self.url} cannot be reached: {error.strerror or error}") from None
            except aiohttp.ClientConnectionError as error:
                if attempt == tries:
                    raise ServerLost(f"{self.url} cannot be reached: {error or type(error).__name__}") from None
                await asyncio.sleep(_PAUSE * attempt)
            except (aiohttp.ClientError, OSError) as error:
                raise ServerLost(f"{self.url} broke off: {error or type(error).__name__}") from None
        raise InternalError(f"{self.url} was not asked")

    async def _send(self, method: str, path: str, data: bytes | None, query: Mapping[str, str] | None) -> RestAnswer:
        url = yarl.URL(f"{self.url}{path}", encoded=True).update_query(query or {})
        headers = {} if data is None else {"Content-Type": "application/json"}
        payload = None if data is None else io.BytesIO(data)
        async with self._session.request(method, url, data=payload, headers=headers, allow_redirects=False) as answer:
            text = await answer.read()
            status = answer.status
        if not text:
            return RestAnswer(status, None)
        try:
            return RestAnswer(status, msgspec.json.decode(text))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return RestAnswer(status, text[:_SHOWN].decode("utf-8", "replace"))
