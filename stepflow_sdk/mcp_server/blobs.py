"""What answers the calls back of components that no runtime stands behind."""

import hashlib
from collections.abc import Callable

import msgspec

from stepflow_sdk.errors import BlobNotFound, MethodNotFound, ResourceUnavailable, WireError
from stepflow_sdk.flows import canonical_json
from stepflow_sdk.protocol import METHODS, BlobId, BlobType, Notification, Request, decode_params, methods
from stepflow_sdk.protocol.messages import GetBlobParams, GetBlobResult, PutBlobParams, PutBlobResult
from stepflow_sdk.protocol.values import decode_value
from stepflow_sdk.transports import Connection

__all__ = ["BlobKeeper"]

MAX_BYTES = 256 * 1024 * 1024


class BlobKeeper:
    """The runtime's end of a connection where there is no runtime: keeps blobs in memory, and runs no flows.

    A `Handler`. Blobs have the ids that they have everywhere (the SHA-256 of their canonical text).

    Args:
        max_bytes: How much is kept; beyond it the blobs go that were not used for the longest time.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._blobs: dict[str, tuple[bytes, BlobType]] = {}
        self._methods: dict[str, Callable[[Request], msgspec.Struct]] = {
            methods.PUT_BLOB.name: self._put,
            methods.GET_BLOB.name: self._get,
        }

    def request(self, connection: Connection, request: Request) -> None:
        """Answer a call back."""
        serve = self._methods.get(request.method, _refuse)
        try:
            connection.reply(request, serve(request))
        except WireError as error:
            connection.fail(request, error)

    def notification(self, connection: Connection, notification: Notification) -> None:
        """See `Handler`: servers tell nothing unasked."""

    def closed(self, connection: Connection) -> None:
        """See `Handler`: blobs outlive the connections that made them."""

    def _put(self, request: Request) -> PutBlobResult:
        params: PutBlobParams = decode_params(request, methods.PUT_BLOB)
        text = canonical_json(decode_value(params.data))
        if len(text) > self._max_bytes:
            raise ResourceUnavailable(f"the blob is larger than the {self._max_bytes} bytes that are kept in memory")
        blob_id = hashlib.sha256(text).hexdigest()
        self._forget(blob_id)
        while self._bytes + len(text) > self._max_bytes:
            self._forget(next(iter(self._blobs)))
        self._blobs[blob_id] = text, params.blob_type
        self._bytes += len(text)
        return PutBlobResult(BlobId(blob_id))

    def _get(self, request: Request) -> GetBlobResult:
        params: GetBlobParams = decode_params(request, methods.GET_BLOB)
        blob = self._blobs.pop(params.blob_id, None)
        if blob is None:
            raise BlobNotFound(f"there is no blob {params.blob_id[:80]!r}", data={"blob_id": params.blob_id})
        self._blobs[params.blob_id] = blob
        return GetBlobResult(msgspec.Raw(blob[0]), blob[1])

    def _forget(self, blob_id: str) -> None:
        text, _ = self._blobs.pop(blob_id, (b"", None))
        self._bytes -= len(text)


def _refuse(request: Request) -> msgspec.Struct:
    if request.method not in METHODS:
        raise MethodNotFound(f"unknown method: {request.method[:200]}", data={"method": request.method[:200]})
    message = f"{request.method} needs a Stepflow runtime, and an MCP client is none"
    hint = "run the component in a flow, with LocalRuntime, stepflow-sdk run or an orchestrator"
    raise ResourceUnavailable(f"{message}: {hint}", data={"method": request.method})
