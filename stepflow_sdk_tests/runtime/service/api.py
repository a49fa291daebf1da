"""A service as it runs, with a client."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import anyio

from stepflow_sdk import SkipStep, StepflowServer
from stepflow_sdk.runtime import LocalRuntime, MemoryRunStore
from stepflow_sdk.runtime.service import EventHub, RuntimeService, serve_api
from stepflow_sdk.transports.http.policy import HttpPolicy
from stepflow_sdk.transports.http.serving import bind

INPUT = {"$input": "$"}
NO_ID = "0" * 64
NO_RUN = "00000000-0000-4000-8000-000000000000"


class Answer(NamedTuple):
    """What the service said."""

    status: int
    headers: Mapping[str, str]
    text: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def message(self) -> str:
        """The message of an error, which every error has, with its status as the code."""
        assert self.json["code"] == self.status
        return str(self.json["message"])


class Told(NamedTuple):
    """One event of a stream."""

    id: str
    name: str
    data: Any


class Api:
    """The service, its runtime, and a client."""

    def __init__(
        self, url: str, service: RuntimeService, runtime: LocalRuntime, session: aiohttp.ClientSession
    ) -> None:
        self.url = url
        self.service = service
        self.runtime = runtime
        self.session = session
        self.reached = anyio.Event()
        self.gate = anyio.Event()

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        """One request, below ``/api/v1``, or anywhere with ``//``."""
        target = path.removeprefix("/") if path.startswith("//") else f"/api/v1{path}"
        if body is not None:
            options["json"] = body
        async with self.session.request(method, target, **options) as answer:
            return Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, await answer.read())

    async def ask(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The body of a good answer."""
        answer = await self.call(method, path, body, **options)
        assert answer.status in (200, 202), answer
        return answer.json

    async def store(self, flow: Mapping[str, Any]) -> str:
        """Store a flow and return its id."""
        stored = await self.ask("POST", "/flows", {"flow": flow})
        assert stored["stored"], stored
        return str(stored["flowId"])

    async def start(self, flow: Mapping[str, Any], *inputs: Any, **options: Any) -> Any:
        """Start a run and return the answer."""
        return await self.ask("POST", "/runs", {"flowId": await self.store(flow), "input": list(inputs), **options})

    async def held(self, *inputs: Any) -> str:
        """The id of a run that goes on until the gate opens."""
        run_id: str = (await self.start(flow_of("/hold"), *(inputs or (None,))))["runId"]
        await self.reached.wait()
        return run_id

    @asynccontextmanager
    async def events(self, run_id: str, last: str | None = None) -> AsyncGenerator[AsyncGenerator[Told, None], None]:
        """The events of a run."""
        headers = {} if last is None else {"Last-Event-ID": last}
        async with self.session.get(f"/api/v1/runs/{run_id}/events", headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield _read(answer)


async def _read(answer: aiohttp.ClientResponse) -> AsyncGenerator[Told, None]:
    fields: dict[str, str] = {}
    async for line in answer.content:
        text = line.decode("ascii").rstrip("\n")
        if text.startswith(":"):
            continue
        if text:
            name, _, value = text.partition(": ")
            fields[name] = value
        elif fields:
            yield Told(fields.get("id", ""), fields["event"], json.loads(fields["data"]))
            fields = {}


def flow_of(component: str, input: Any = INPUT, **keys: Any) -> dict[str, Any]:
    """A flow that is one call of a component."""
    return {"steps": [{"id": "s", "component": component, "input": input}], "output": {"$step": "s"}, **keys}


def _server(api: list[Api]) -> StepflowServer[None]:
    server: StepflowServer[None] = StepflowServer("served")

    @server.component
    def echo(input: Any) -> Any:
        return input

    @server.component
    def fail(message: str) -> None:
        raise ValueError(message)

    @server.component
    def skip() -> None:
        raise SkipStep("there is nothing to do")

    @server.component
    async def hold(input: Any) -> Any:
        api[0].reached.set()
        await api[0].gate.wait()
        return input

    return server


@asynccontextmanager
async def serving(
    policy: HttpPolicy | None = None, *, max_runs: int = 10_000, **options: Any
) -> AsyncGenerator[Api, None]:
    """A service on a free port, with components ``echo``, ``fail``, ``skip`` and ``hold``."""
    policy = HttpPolicy() if policy is None else policy
    hub = EventHub()
    reached: list[Api] = []
    if "state" not in options:
        options["runs"] = MemoryRunStore(keep_steps=True)
    async with LocalRuntime(_server(reached), on_event=hub, **options) as runtime:
        service = RuntimeService(runtime, hub, policy, options.get("metrics"), max_runs=max_runs)
        listener = bind("127.0.0.1", 0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with (
            serve_api(service, listener, policy, before_end=service.stop),
            aiohttp.ClientSession(url) as session,
        ):
            api = Api(url, service, runtime, session)
            reached.append(api)
            try:
                yield api
            finally:
                api.gate.set()
