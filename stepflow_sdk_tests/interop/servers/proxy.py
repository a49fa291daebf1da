"""A load balancer before replicas of a component server; run as a program with the ports of the replicas.

Requests go round. Answers to calls back carry the ``Stepflow-Instance-Id`` of the replica that asked, which the proxy
has seen in the head of its event stream, and go to that one. What a balancer that is for real is told to do likewise.
"""

import asyncio
import itertools
import json
import sys

import aiohttp
from aiohttp import web

INSTANCE = "Stepflow-Instance-Id"
KEPT = ("content-type", INSTANCE.lower())


async def main(ports: list[str]) -> None:
    turns = itertools.cycle(ports)
    known: dict[str, str] = {}

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:

        async def forward(request: web.Request) -> web.StreamResponse:
            port = known.get(request.headers.get(INSTANCE, "")) or next(turns)
            headers = {name: value for name, value in request.headers.items() if name.lower() in ("accept", *KEPT)}
            url = f"http://127.0.0.1:{port}{request.path_qs}"
            async with session.request(request.method, url, data=await request.read(), headers=headers) as answer:
                if INSTANCE in answer.headers:
                    known[answer.headers[INSTANCE]] = port
                kept = {name: value for name, value in answer.headers.items() if name.lower() in KEPT}
                response = web.StreamResponse(status=answer.status, headers=kept)
                await response.prepare(request)
                async for piece in answer.content.iter_any():
                    await response.write(piece)
                await response.write_eof()
                return response

        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", forward)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
