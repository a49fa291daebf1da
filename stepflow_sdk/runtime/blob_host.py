"""The blob API for component servers that reach blobs over HTTP (section 7.3 of the dialects)."""

import secrets
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup, TaskStatus

from stepflow_sdk.runtime.blobs import BlobStore
from stepflow_sdk.transports.http.messages import Receive, Scope, Send

__all__ = ["BlobHost"]


class BlobHost:
    """Serves the blobs of a runtime on this machine, from when a server first needs them.

    The servers send no token, so a part of the address that nobody can guess stands for one.

    Args:
        blobs: The blobs.
        tasks: Where it is served; `stop` ends it.
    """

    def __init__(self, blobs: BlobStore, tasks: TaskGroup) -> None:
        self._blobs = blobs
        self._tasks = tasks
        self._over = anyio.Event()
        self._starting = anyio.Lock()
        self._url: str | None = None

    async def url(self) -> str:
        """The address of the blobs, as ``blobApiUrl`` of ``initialize`` tells it."""
        async with self._starting:
            url = self._url
            if url is None:
                url = self._url = str(await self._tasks.start(self._serve))
            return url

    def stop(self) -> None:
        """End it."""
        self._over.set()

    async def _serve(self, *, task_status: TaskStatus[str]) -> None:
        # These take their time to be imported, and few runtimes need them.
        from stepflow_sdk.runtime.service.blobs import BlobOperations
        from stepflow_sdk.runtime.service.rest import RestApi
        from stepflow_sdk.runtime.service.serving import serve_api
        from stepflow_sdk.transports.http.policy import HttpPolicy
        from stepflow_sdk.transports.http.serving import bind

        policy = HttpPolicy()
        api = RestApi(BlobOperations(self._blobs).operations(), policy)
        prefix = f"/{secrets.token_urlsafe(24)}"
        listener = bind("127.0.0.1", 0)
        port: int = listener.getsockname()[1]
        async with serve_api(_below(prefix, api), listener, policy, stop_seconds=1):
            task_status.started(f"http://127.0.0.1:{port}{prefix}/api/v1/blobs")
            await self._over.wait()


def _below(prefix: str, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        inner = path.removeprefix(prefix) if path.startswith(f"{prefix}/") else "/"
        await app({**scope, "path": inner, "raw_path": inner.encode()}, receive, send)

    return serve
