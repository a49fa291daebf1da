"""A server over HTTP as `RemotePlugin` sees it: one conversation, of as many exchanges as there are calls."""

from collections.abc import Sequence
from typing import Any

import anyio
import msgspec

from stepflow_sdk.errors import NotInitialized, ServerLost, SessionExpired
from stepflow_sdk.protocol import Method, methods
from stepflow_sdk.protocol.messages import Initialized
from stepflow_sdk.runtime.plugins.handshake import initialize
from stepflow_sdk.runtime.plugins.plugin import ServerHandler
from stepflow_sdk.runtime.plugins.remote import HANDSHAKE_SECONDS
from stepflow_sdk.transports.announced import LAST_WORDS, AnnouncingServer
from stepflow_sdk.transports.http_client import HttpClient

__all__ = ["HttpLink"]


class HttpLink:
    """The link to a server at a URL.

    Args:
        name: What messages call the plugin.
        client: The client for the URL.
        handler: Told, through ``ended``, when the server is to be started again.
        process: The server, when the runtime has started it.
        session: Whether the client's address is that of a session, which cannot outlive the server.
    """

    def __init__(
        self,
        name: str,
        client: HttpClient,
        handler: ServerHandler,
        process: AnnouncingServer | None = None,
        *,
        session: bool = False,
    ) -> None:
        self._name = name
        self._client = client
        self._handler = handler
        self._process = process
        self._session = session
        self._untold: list[tuple[str, msgspec.Struct]] = []
        self._introduced_again = anyio.Lock()
        self._away = False

    @property
    def connection(self) -> "HttpLink":
        """The conversation: the link itself."""
        return self

    @property
    def direct(self) -> None:
        """See `Link.direct`: each call is an exchange, which a task waits for."""

    @property
    def child(self) -> AnnouncingServer | None:
        """The server's process, when the runtime has started it."""
        return self._process

    @property
    def closed(self) -> bool:
        """Whether the server must be started again."""
        return self._handler.ended.is_set()

    async def call(self, method: Method, params: msgspec.Struct, *, timeout: float | None = None) -> Any:
        """See `HttpClient.call`; a failure tells how the process of the server ended, if it did."""
        try:
            if method is methods.INITIALIZE:
                return await initialize(self._client, timeout=timeout, blob_url=self._handler.blob_url)
            if self._away:
                await self._introduce_again()
            try:
                return await self._client.call(method, params, timeout=timeout)
            except NotInitialized:
                # Nothing was done yet, so it does no harm to ask again.
                self._away = True
                await self._introduce_again()
                return await self._client.call(method, params, timeout=timeout)
        except SessionExpired as error:
            self._handler.ended.set()
            raise ServerLost(f"{self._client.url}: {error.message}") from None
        except ServerLost as error:
            raise await self._explained(error) from None

    @property
    def encodings(self) -> Sequence[str]:
        """See `Conversation.encodings`: there is JSON and nothing else."""
        return ()

    def expect(self) -> None:
        """See `Conversation.expect`."""

    def switch(self) -> None:
        """See `Conversation.switch`."""

    def notify(self, method: str, params: msgspec.Struct) -> None:
        """Tell the server something, with the next `drain`."""
        self._untold.append((method, params))

    async def drain(self) -> None:
        """Wait until the server has taken what it is told.

        Raises:
            ServerLost: It was not there, or refused.
        """
        while self._untold:
            try:
                await self._client.notify(*self._untold.pop(0))
            except ServerLost as error:
                raise ServerLost(f"plugin {self._name!r}: {error.message}", flow_code=-32303) from None

    def describe_end(self) -> str:
        """How the process ended, or that the runtime ended the conversation."""
        if self._process is not None:
            return self._process.describe_end()
        return f"the conversation with {self._client.url} is over"

    async def _introduce_again(self) -> None:
        # A server that was away may be another process now, which has never heard of this runtime.
        async with self._introduced_again:
            if self._away:
                await initialize(self._client, timeout=HANDSHAKE_SECONDS, blob_url=self._handler.blob_url)
                await self._client.notify(methods.INITIALIZED, Initialized())
                self._away = False

    async def _explained(self, error: ServerLost) -> ServerLost:
        process = self._process
        if process is None:
            self._away = self._away or not (self._client.reachable or self._session)
            return error
        with anyio.move_on_after(LAST_WORDS * 2):
            await process.ended.wait()
        if process.returncode is not None:
            return ServerLost(process.describe_end())
        if not self._client.reachable:
            # It runs and serves nobody any more: only a new start helps.
            self._handler.ended.set()
        return ServerLost(f"{error.message}; {process.describe_end()}", data=error.data)
