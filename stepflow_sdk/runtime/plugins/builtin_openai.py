"""The builtin component for chat models behind an API in the form of OpenAI's."""

import contextlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Meta, Struct

from stepflow_sdk.errors import ComponentError, RequestTimeout, ServerLost, WireError
from stepflow_sdk.protocol import ObservabilityContext
from stepflow_sdk.runtime.plugins.http import check_url
from stepflow_sdk.runtime.plugins.plugin import Host

if TYPE_CHECKING:
    import aiohttp

__all__ = ["ChatClient", "OpenAi", "OpenAiSettings", "Reply", "check_base_url"]

_OFFICIAL: Final = "https://api.openai.com/v1"
_CONNECT_SECONDS: Final = 10.0
_MAX_REPLY: Final = 64 * 1024 * 1024
_SHOWN: Final = 300
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_NO_KEY: Final = (
    "there is no API key: give `api_key` in the input, `builtin: {openai: {apiKey: …}}` in the configuration, "
    "or the environment variable OPENAI_API_KEY"
)


@dataclass(frozen=True, slots=True)
class OpenAiSettings:
    """Which API is asked, and how.

    Attributes:
        base_url: What ``/chat/completions`` comes behind; a query is kept. By default the environment variable
            ``OPENAI_BASE_URL``, else that of OpenAI.
        api_key: For inputs without one; by default the environment variable ``OPENAI_API_KEY``.
        model: For inputs without one.
        timeout: Seconds that an answer may take.
    """

    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    model: str = "gpt-3.5-turbo"
    timeout: float = 600.0


class Message(Struct):
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


class OpenAi(Struct, omit_defaults=True):
    """Input of ``/openai``; ``model`` is an addition of this runtime."""

    messages: list[Message]
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    temperature: float | None = None
    api_key: str | None = None
    model: str | None = None


class Reply(Struct):
    """Output of ``/openai``."""

    response: str


class _Request(Struct, omit_defaults=True):
    model: str
    messages: list[Message]
    max_tokens: int | None = None
    temperature: float | None = None


class _Said(Struct):
    content: str


class _Choice(Struct):
    message: _Said


class _Completion(Struct):
    choices: Annotated[list[_Choice], Meta(min_length=1)]


class _Problem(Struct):
    message: str = ""
    code: Any = None


class _Refusal(Struct):
    error: _Problem


class _Answer(NamedTuple):
    status: int
    body: bytes


_decode_completion = msgspec.json.Decoder(_Completion).decode
_decode_refusal = msgspec.json.Decoder(_Refusal).decode
_encode = msgspec.json.Encoder().encode


class ChatClient:
    """Ask a chat model behind an API in the form of OpenAI's.

    Errors and the log never hold the key, not even when the server repeats it.
    """

    def __init__(self, settings: OpenAiSettings) -> None:
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, host: Host, input: OpenAi, ids: ObservabilityContext) -> Reply:  # noqa: ARG002  (the same call for each)
        """Ask a chat model behind an API in the form of OpenAI's."""
        settings = self._settings
        base = settings.base_url or os.environ.get("OPENAI_BASE_URL") or _OFFICIAL
        key = input.api_key or settings.api_key or os.environ.get("OPENAI_API_KEY") or ""
        if not key and base == _OFFICIAL:
            raise ComponentError(_NO_KEY)
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ComponentError("the API key holds characters that no key has")
        try:
            parts = check_base_url(base)
        except ValueError as error:
            raise ComponentError(f"the base URL of /openai: {error}") from None
        request = _Request(input.model or settings.model, input.messages, input.max_tokens, input.temperature)
        url = parts._replace(path=f"{parts.path.rstrip('/')}/chat/completions", fragment="")
        where = url._replace(query="").geturl()
        answer = await self._post(url, where, key, _encode(request))
        if not 200 <= answer.status < 300:
            raise _refusal(where, answer, key)
        try:
            return Reply(_decode_completion(answer.body).choices[0].message.content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            why = str(error) or type(error).__name__
            message = f"{where} answered with no chat completion: {why}; it said {_shown(answer.body, key)!r}"
            raise ComponentError(message) from None

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _post(self, url: SplitResult, where: str, key: str, body: bytes) -> _Answer:
        import aiohttp

        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
        try:
            async with self._open().post(
                url.geturl(), data=body, headers=headers, allow_redirects=False, proxy=_proxy(url)
            ) as response:
                return _Answer(response.status, await _read(response, where))
        except aiohttp.ServerTimeoutError as error:
            raise ServerLost(f"{where} cannot be reached: {type(error).__name__}") from None
        except TimeoutError:
            timeout = self._settings.timeout
            raise RequestTimeout(f"{where} did not answer within {timeout:g} s", data={"timeout": timeout}) from None
        except aiohttp.ClientConnectorError as error:
            raise ServerLost(f"{where} cannot be reached: {error.os_error.strerror or error.os_error}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise ServerLost(f"{where} broke off: {_redacted(f'{type(error).__name__}: {error}', key)}") from None

    def _open(self) -> "aiohttp.ClientSession":
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("User-Agent", "Accept-Encoding"),
                timeout=aiohttp.ClientTimeout(total=self._settings.timeout, sock_connect=_CONNECT_SECONDS),
            )
        return self._session


def check_base_url(url: str) -> SplitResult:
    """Return the parts of a base URL.

    Raises:
        ValueError: It is not one; the message says why.
    """
    # First of all: what other mistakes are told with would show the password.
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise ValueError("it holds a user name; a key is given as `apiKey`")
    return urlsplit(check_url(url))


def _proxy(url: SplitResult) -> str | None:
    """The proxy that the environment names: many reach the internet only through it, and nobody their own machine."""
    from urllib.request import getproxies, proxy_bypass

    host = url.hostname or ""
    return None if host in _LOOPBACK or proxy_bypass(host) else getproxies().get(url.scheme)


async def _read(response: "aiohttp.ClientResponse", where: str) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > _MAX_REPLY:
            response.close()
            raise ComponentError(f"{where} answered with more than {_MAX_REPLY // 1024**2} MiB")
        chunks.append(chunk)
    return b"".join(chunks)


def _refusal(where: str, answer: _Answer, key: str) -> WireError:
    problem = _Problem()
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        problem = _decode_refusal(answer.body).error
    said = _redacted(problem.message, key)[:_SHOWN] or _shown(answer.body, key) or "nothing"
    data = {"status": answer.status}
    if answer.status in {401, 403}:
        return ComponentError(f"{where} refused the API key ({answer.status}): {said}", data=data)
    if 300 <= answer.status < 400:
        return ComponentError(f"{where} answered {answer.status}, a redirect, which is not followed", data=data)
    overloaded = answer.status == 429 and problem.code != "insufficient_quota"
    if overloaded or answer.status == 408 or answer.status >= 500:
        # What is over in a moment is tried again with the budget for servers that were lost.
        return ServerLost(f"{where} could not answer now ({answer.status}): {said}", data=data)
    return ComponentError(f"{where} refused the request ({answer.status}): {said}", data=data)


def _shown(body: bytes, key: str) -> str:
    # Redacted before it is cut, or a part of the key might be left.
    return _redacted(body.decode("utf-8", "replace"), key)[:_SHOWN].strip()


def _redacted(text: str, key: str) -> str:
    return text.replace(key, "***") if key else text
