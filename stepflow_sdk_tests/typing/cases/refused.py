"""What a type checker must refuse: every line marked with an error code, and no other."""

from dataclasses import dataclass

from stepflow_sdk import StepflowContext, StepflowServer

server = StepflowServer("typed")


@dataclass
class Summary:
    text: str


@server.component
def greet(name: str) -> str:
    return name


greet(3)  # error: arg-type
greet("a").nothing  # error: attr-defined
server.component("path", timeout="soon")  # error: call-overload
server.component("path", color="red")  # error: call-overload


@server.component
async def summarize(ctx: StepflowContext[int]) -> str:
    wrong: str = ctx.state  # error: assignment
    summary = await ctx.get_blob("b", type=Summary)
    summary.words  # error: attr-defined
    ctx.put_blob(1)  # error: unused-coroutine
    return wrong
