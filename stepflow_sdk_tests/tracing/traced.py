"""A program whose spans are noted: a component server, and with an argument a runtime that drives it."""

import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from stepflow_sdk import BlockingContext, SkipStep, StepflowContext, StepflowServer
from stepflow_sdk.runtime import LocalRuntime

server = StepflowServer("traced")
INNER = {"name": "inner", "steps": [{"id": "i", "component": "/leaf", "input": {}}], "output": {"$step": "i"}}


def noted(span: ReadableSpan) -> dict[str, Any]:
    context, parent = span.get_span_context(), span.parent
    assert context is not None
    return {
        "name": span.name,
        "trace": f"{context.trace_id:032x}",
        "id": f"{context.span_id:016x}",
        "parent": None if parent is None else f"{parent.span_id:016x}",
        "failed": span.status.status_code is trace.StatusCode.ERROR,
        "description": span.status.description,
        "attributes": dict(span.attributes or {}),
        "pid": os.getpid(),
    }


class FileExporter(SpanExporter):
    """Writes each span as a line."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with Path("spans.jsonl").open("a") as file:
            file.writelines(f"{json.dumps(noted(span))}\n" for span in spans)
        return SpanExportResult.SUCCESS


@server.component
def leaf() -> str:
    with trace.get_tracer("user").start_as_current_span("user's own"):
        logging.getLogger("user").warning("in the leaf")
    return "leaf"


@server.component
async def branch(ctx: StepflowContext) -> Any:
    return await ctx.evaluate_flow(INNER, {})


@server.component
def blocking(ctx: BlockingContext) -> Any:
    return ctx.evaluate_flow(INNER, {})


@server.component
def fail() -> None:
    raise ValueError("no luck")


@server.component
def skip() -> None:
    raise SkipStep("nothing to do")


@server.component
def strict(number: int) -> int:
    return number


def trace_flow(mode: str, flow: Any) -> list[dict[str, Any]]:
    """Run a flow in a span of the application's, and return all spans of this process."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    command = [sys.executable, __file__, *(["--http"] if mode == "http" else [])]
    if mode == "in process":
        runtime = LocalRuntime(server)
    elif mode == "stdio":
        runtime = LocalRuntime(command)
    else:
        plugin = {"type": "stepflow", "command": command[0], "args": command[1:]}
        config = {"plugins": {"s": plugin}, "routes": {"/{*component}": [{"plugin": "s"}]}}
        runtime = LocalRuntime.from_config(config)
    with runtime as running, trace.get_tracer("application").start_as_current_span("application"):
        running.run(flow, {})
    return [noted(span) for span in exporter.get_finished_spans()]


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] == "run":
        print(json.dumps(trace_flow(sys.argv[2], json.loads(sys.argv[3]))))
    else:
        own = TracerProvider()
        own.add_span_processor(SimpleSpanProcessor(FileExporter()))
        trace.set_tracer_provider(own)
        server.run()
