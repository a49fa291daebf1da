"""Components that tell what they run on."""

import asyncio
import gc
import sys
from typing import Any

from stepflow_sdk import StepflowContext, StepflowServer

server = StepflowServer("looped")


@server.component
async def about(wait: bool) -> dict[str, Any]:
    if wait:
        async with asyncio.timeout(30):
            await asyncio.sleep(0.001)
    loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    return {
        "loop": loop,
        "gc": gc.get_threshold()[0],
        "switch": sys.getswitchinterval(),
        "frozen": gc.get_freeze_count(),
    }


@server.component
def blocking(text: str) -> str:
    print(text)
    return text * 2


@server.component
async def stored(data: Any, ctx: StepflowContext) -> str:
    return await ctx.put_blob(data)


if __name__ == "__main__":
    server.run()
