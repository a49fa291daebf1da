"""One echo component written with stepflow-py, for the environment of that package; it announces its port."""

import asyncio
import inspect
from typing import Any

import msgspec
from stepflow_py.worker import StepflowServer  # type: ignore[import-not-found]  # lives in an environment of its own

server = StepflowServer()


class Anything(msgspec.Struct):
    value: Any


@server.component
def echo(input: Anything) -> Anything:
    return input


ran = server.run()
if inspect.isawaitable(ran):
    asyncio.run(ran)
