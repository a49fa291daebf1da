"""``initialize`` as servers of either spelling understand it (section 4.3 of the dialects)."""

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from msgspec import Struct

from stepflow_sdk.errors import AccessDenied, InternalError, RequestTimeout, ServerLost, WireError
from stepflow_sdk.protocol import methods
from stepflow_sdk.protocol.dialects import PROTOCOL_VERSION
from stepflow_sdk.protocol.messages import InitializeParams, InitializeResult
from stepflow_sdk.transports.http.serving import is_loopback
from stepflow_sdk.transports.http_client import HttpClient

__all__ = ["initialize"]


class _Capabilities(Struct, rename="camel"):
    blob_api_url: str


class _BothSpellings(Struct, omit_defaults=True):
    runtime_protocol_version: int
    runtimeProtocolVersion: int  # noqa: N815  (the spelling of 0.10 and later)
    capabilities: _Capabilities | None = None


class _AnyResult(Struct):
    server_protocol_version: int | None = None
    serverProtocolVersion: int | None = None  # noqa: N815  (the spelling of 0.10 and later)


_INITIALIZE = methods.Method("initialize", "server", InitializeParams, _AnyResult)


async def initialize(
    client: HttpClient, *, timeout: float | None, blob_url: Callable[[], Awaitable[str | None]]
) -> InitializeResult:
    """Introduce the runtime to a server.

    A server that serves every dialect takes the newer spelling to mean a runtime without ``flows/*`` and
    ``blobs/*``, which this is not. So the older spelling goes first, and one that cannot read it gets both, with the
    address of the blobs where it can reach them: on this machine.

    Args:
        client: The server.
        timeout: Seconds for each try.
        blob_url: Tells where the blobs are over HTTP.

    Raises:
        WireError: See `HttpClient.call`.
    """
    try:
        return await _ask(client, InitializeParams(PROTOCOL_VERSION), timeout)
    except (ServerLost, RequestTimeout, AccessDenied):
        raise
    except WireError as first:
        url = await blob_url() if is_loopback(urlsplit(client.url).hostname or "") else None
        capabilities = None if url is None else _Capabilities(url)
        try:
            return await _ask(client, _BothSpellings(PROTOCOL_VERSION, PROTOCOL_VERSION, capabilities), timeout)
        except WireError:
            raise first from None


async def _ask(client: HttpClient, params: Struct, timeout: float | None) -> InitializeResult:
    said: _AnyResult = await client.call(_INITIALIZE, params, timeout=timeout)
    version = said.serverProtocolVersion if said.server_protocol_version is None else said.server_protocol_version
    if version is None:
        raise InternalError("the answer to initialize has no `server_protocol_version`")
    return InitializeResult(version)
