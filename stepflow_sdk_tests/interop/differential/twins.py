"""Both runtimes, and what a case comes to on each of them, in one form."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio

from stepflow_sdk.errors import InvalidFlow, InvalidValue
from stepflow_sdk.flows import parse_flow
from stepflow_sdk.protocol import FlowResult, FlowResultFailed, FlowResultSuccess
from stepflow_sdk.runtime import (
    BlockingRuntime,
    LocalRuntime,
    MemoryRunStore,
    RunEvent,
    RunStarted,
    RunStore,
    load_config,
)
from stepflow_sdk_tests.interop.differential.cases import Case
from stepflow_sdk_tests.interop.differential.lateness import Trouble, trouble_of
from stepflow_sdk_tests.interop.network import Network
from stepflow_sdk_tests.interop.orchestrator import Orchestrator, running_orchestrator

HERE = Path(__file__).parent
STALL_SECONDS = 30
PARSE = 4001
"""The code of what is no flow at all: upstream answers 422 to it, without diagnostics."""
_UUID = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b")
_TEXTS_OF_ATTACHMENTS = ("Component: ", "Component execution failed for step ")


class Answer(NamedTuple):
    """What a runtime made of a case.

    Attributes:
        kind: ``outcomes``, ``refused`` when nothing was run, or ``stalled``.
        value: The id of the flow and the outcomes in the order of the inputs, or the codes of the diagnostics.
    """

    kind: str
    value: Any

    @property
    def text(self) -> str:
        """Equal for equal answers alone: integers and floats differ, and so does the order of keys."""
        return json.dumps([self.kind, self.value], ensure_ascii=False)


class Twins:
    """The bundled runtime and a published orchestrator with the same configuration."""

    def __init__(
        self, runtime: BlockingRuntime, store: RunStore, run_ids: list[str], orchestrator: Orchestrator
    ) -> None:
        self._runtime = runtime
        self._store = store
        self._run_ids = run_ids
        self.orchestrator = orchestrator

    def ours(self, case: Case) -> Answer:
        """Run a case on the bundled runtime."""
        self._run_ids.clear()
        try:
            results = self._runtime.run_batch(
                case.flow,
                case.inputs,
                variables=case.variables,
                overrides=case.overrides,
                max_concurrency=case.max_concurrency,
            )
        except InvalidFlow as error:
            if str(error).startswith("after the overrides"):
                return Answer("refused", ["overrides"])
            return Answer("refused", _codes(error.diagnostics))
        except InvalidValue:
            return Answer("refused", ["overrides"])
        return Answer("outcomes", [parse_flow(case.flow).id, *map(_shown, results)])

    def trouble(self) -> Trouble:
        """What the last case met on the bundled runtime."""
        return anyio.run(trouble_of, self._store, self._run_ids, self._runtime.get_blob)

    def upstream(self, case: Case, *, seconds: int = STALL_SECONDS) -> Answer:
        """Run a case on the orchestrator, and wait so long for its end."""
        stored = self.orchestrator.call("POST", "/flows", {"flow": case.flow})
        if stored.status == 422:
            return Answer("refused", [PARSE])
        assert stored.status == 200, f"{stored.status} {str(stored.body)[:500]}"
        diagnostics = stored.body["diagnostics"]["diagnostics"]
        # Of those that are not fatal only the CLI makes something.
        codes = _codes(diagnostics)
        if codes:
            return Answer("refused", codes)
        request: dict[str, Any] = {"flowId": stored.body["flowId"], "input": case.inputs, "variables": case.variables}
        if case.max_concurrency is not None:
            request["maxConcurrency"] = case.max_concurrency
        if case.overrides:
            request["overrides"] = {"steps": case.overrides}
        ended = self.orchestrator.call("POST", "/runs", {**request, "wait": True, "timeoutSecs": seconds})
        if ended.status == 400:
            return Answer("refused", ["overrides"])
        assert ended.status in (200, 202), f"{ended.status} {str(ended.body)[:500]}"
        items = ended.body.get("results", [])
        if not all("result" in item for item in items):
            return Answer("stalled", [ended.body["status"], *(item["status"] for item in items)])
        results = [normal(item["result"]) for item in items]
        return Answer("outcomes", [stored.body["flowId"], *results])


@contextmanager
def open_twins(version: str, network: Network, directory: Path, python: str) -> Iterator[Twins]:
    """Start both with the configuration of this folder, each with a component server of its own."""
    text = (HERE / "config.yml").read_text("utf-8")
    server = HERE.parent / "servers" / "differential.py"
    places = {"directory": directory, "python": python, "server": server, "root": HERE.parents[2]}
    for name, value in places.items():
        text = text.replace(f"{{{name}}}", str(value))
    file = directory / "shared-config.yml"
    file.write_text(text, "utf-8")
    store = MemoryRunStore(keep_steps=True)
    run_ids: list[str] = []

    def note(event: RunEvent) -> None:
        if isinstance(event, RunStarted):
            run_ids.append(event.run_id)

    runtime = LocalRuntime(config=load_config(file), runs=store, on_event=note)
    with running_orchestrator(version, text, network, directory) as orchestrator, runtime as running:
        yield Twins(running, store, run_ids, orchestrator)


def _codes(diagnostics: Sequence[Mapping[str, Any]]) -> list[Any]:
    codes = {one["code"] for one in diagnostics if one["level"] in ("error", "fatal")}
    return sorted(codes)


def _shown(result: FlowResult) -> Any:
    match result:
        case FlowResultSuccess(value):
            return normal({"outcome": "success", "result": value})
        case FlowResultFailed(error):
            told = {"code": error.code, "message": error.message}
            if error.data is not None:
                told["data"] = error.data
            return normal({"outcome": "failed", "error": told})
        case _:
            return {"outcome": "skipped"}


def normal(value: Any) -> Any:
    """The same for both: run ids are dropped, and of stacks what the format promises is kept."""
    if isinstance(value, str):
        return _UUID.sub("<run>", value)
    if isinstance(value, list):
        return [normal(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"code", "message", "data"} and isinstance(value["data"], dict) and "stack" in value["data"]:
        return {"code": value["code"], "message": value["message"], "data": _told(value["data"]["stack"])}
    return {key: normal(item) for key, item in value.items()}


def _told(stack: Sequence[Mapping[str, Any]]) -> list[str]:
    """The component and the step of the outermost entry, and which component no route led to."""
    attachments = stack[0].get("attachments", ())
    told = [text for text in attachments if text.startswith(_TEXTS_OF_ATTACHMENTS)]
    last = re.match(r"No matching rule found for component: \S+", stack[-1]["error"])
    return [stack[0]["error"], *told, *([] if last is None else [last[0]])]
