"""The sockets of an HTTP server."""

import asyncio
import socket

from stepflow_sdk.transports.http.serving import bind


async def test_small_answers_are_sent_without_delay() -> None:
    accepted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def look(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        option = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        accepted.set_result(bool(option))
        writer.close()

    listener = bind("127.0.0.1", 0)
    async with await asyncio.start_server(look, sock=listener):
        _, writer = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
        assert await asyncio.wait_for(accepted, 60)
        writer.close()
        await writer.wait_closed()
