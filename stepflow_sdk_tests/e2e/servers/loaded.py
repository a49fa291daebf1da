"""A component that tells which modules the process has loaded."""

import sys

from stepflow_sdk import StepflowContext, StepflowServer

server = StepflowServer("loaded")


@server.component
async def loaded(_ctx: StepflowContext) -> list[str]:
    return sorted(sys.modules)


if __name__ == "__main__":
    server.run()
