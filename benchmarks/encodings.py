"""JSON and MessagePack on stdio, in one run: CPU per call of the server, and of both ends together.

Usage: python benchmarks/encodings.py [--calls 200] [--rounds 5]
"""

import argparse
import asyncio
import contextlib
import hashlib
import os
import statistics
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from stepflow_sdk.protocol import BlobId, BlobType, Notification, ObservabilityContext, Request, decode_params, methods
from stepflow_sdk.protocol.messages import (
    ComponentExecuteParams,
    GetBlobResult,
    Initialized,
    InitializeParams,
    PutBlobResult,
)
from stepflow_sdk.protocol.values import decode_value
from stepflow_sdk.transports import Connection
from stepflow_sdk.transports.process import open_process

HERE = Path(__file__).parent
BLOB = os.urandom(1 << 20)
ITEMS = [{"id": i, "name": f"item {i}", "value": i * 1.37, "active": i % 2 == 0} for i in range(1000)]
WORKLOADS: dict[str, tuple[str, Any]] = {
    "1000 structs in": ("/count", ITEMS),
    "1000 structs in and out": ("/echo", ITEMS),
    "1 MB blob there and back": ("/copy", {"blob_id": "b" * 64}),
    "small": ("/small", {"a": 1, "b": "two"}),
}


class Blobs:
    def request(self, connection: Connection, request: Request) -> None:
        if request.method == methods.GET_BLOB.name:
            connection.reply(request, GetBlobResult(BLOB, BlobType.data))
        else:
            data = decode_value(decode_params(request, methods.PUT_BLOB).data)
            if isinstance(data, str):
                data = data.encode()
            connection.reply(request, PutBlobResult(BlobId(hashlib.sha256(data[:64]).hexdigest())))

    def notification(self, connection: Connection, notification: Notification) -> None: ...

    def closed(self, connection: Connection) -> None: ...


@contextlib.asynccontextmanager
async def serving(packed: bool) -> AsyncGenerator[tuple[Connection, int]]:
    command = [sys.executable, str(HERE / "encodings_server.py")]
    async with open_process(command, handler=Blobs(), env=dict(os.environ)) as process:
        connection = process.connection
        offer = {"encodings": list(connection.encodings)} if packed else None
        result = await connection.call(methods.INITIALIZE, InitializeParams(1, capabilities=offer))
        assert (result.encoding is not None) == packed
        if packed:
            connection.expect()
        connection.notify(methods.INITIALIZED, Initialized())
        if packed:
            connection.switch()
        yield connection, process.pid


def cpu_of(pid: int) -> float:
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9


async def measure(packed: bool, component: str, value: Any, calls: int) -> tuple[float, float]:
    async with serving(packed) as (connection, pid):
        os.sched_setaffinity(pid, {0})

        async def call() -> None:
            await connection.call(methods.EXECUTE, ComponentExecuteParams(component, value, 1, ObservabilityContext()))

        for _ in range(calls // 4):
            await call()
        server, own = cpu_of(pid), time.process_time()
        for _ in range(calls):
            await call()
        server, own = cpu_of(pid) - server, time.process_time() - own
        return server / calls * 1e6, (server + own) / calls * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.sched_setaffinity(0, {0})
    print(f"{'':26}  server: JSON   packed  ratio   both ends: JSON   packed  ratio")
    for name, (component, value) in WORKLOADS.items():
        pairs = [
            [asyncio.run(measure(packed, component, value, options.calls)) for packed in (False, True)]
            for _ in range(options.rounds)
        ]
        columns = []
        for end in (0, 1):
            json = statistics.median(pair[0][end] for pair in pairs)
            packed = statistics.median(pair[1][end] for pair in pairs)
            ratio = statistics.median(pair[0][end] / pair[1][end] for pair in pairs)
            columns.append(f"{json:10.1f} {packed:8.1f}  {ratio:5.2f}")
        print(f"{name:26}    {'           '.join(columns)}")


if __name__ == "__main__":
    main()
