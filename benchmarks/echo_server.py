"""Our server with one echo component of each kind, as a user would write it."""

from typing import Any

from stepflow_sdk import StepflowServer

server = StepflowServer("bench")


@server.component("echo")
async def echo(data: dict[str, Any]) -> dict[str, Any]:
    return data


@server.component("echo/inline", run_in_thread=False)
def echo_inline(data: dict[str, Any]) -> dict[str, Any]:
    return data


@server.component("echo/thread")
def echo_thread(data: dict[str, Any]) -> dict[str, Any]:
    return data


if __name__ == "__main__":
    server.run()
