"""The HTTP API for blobs that orchestrators from 0.10 on have, as far as a load needs it."""

import json
import re
import selectors
import socket

from benchmarks.messages import BLOB, BLOB_ID

_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)


def _answer(value: object) -> bytes:
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


_STORED = _answer({"blobId": BLOB_ID})
_FOUND = _answer({"data": BLOB, "blobType": "data", "blobId": BLOB_ID})


class BlobApi:
    """Listens on a free port, and answers whoever stores and reads blobs; a selector drives it.

    Attributes:
        url: What ``blobApiUrl`` says.
    """

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/api/v1/blobs"
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        for each in [self._listener, *self._sockets]:
            self._selector.unregister(each)
            each.close()
        self._sockets.clear()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets.append(connection)
        pending = bytearray()
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._read(connection, pending))

    def _read(self, connection: socket.socket, pending: bytearray) -> None:
        try:
            data = connection.recv(1 << 18)
        except ConnectionError:
            data = b""
        if not data:
            self._selector.unregister(connection)
            self._sockets.remove(connection)
            connection.close()
            return
        pending += data
        while (end := pending.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(pending, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(pending) < whole:
                return
            connection.sendall(_STORED if pending.startswith(b"POST ") else _FOUND)
            del pending[:whole]
