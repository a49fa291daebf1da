"""What is told on stderr while a flow runs."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from stepflow_sdk.flows import Failure
from stepflow_sdk.flows.values import is_array, is_object
from stepflow_sdk.protocol import FlowResultFailed
from stepflow_sdk.runtime import ItemEnded, RunEnded, RunEvent, RunStarted, StepEnded, StepRetried, StepStarted

__all__ = ["JsonProgress", "TextProgress", "causes"]

Write = Callable[[str], None]

_MOST_NESTED_LINES: Final = 100
_LONGEST_MESSAGE: Final = 160


class JsonProgress:
    """Each event as one line of JSON: its name under ``event`` and its fields."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def __call__(self, event: RunEvent) -> None:
        """Tell one event; the value of an item is left out, for it is the outcome on stdout."""
        if isinstance(event, ItemEnded):
            outcome = "failed" if isinstance(event.result, FlowResultFailed) else "ended"
            fields: dict[str, Any] = {"run_id": event.run_id, "item": event.item, "outcome": outcome}
        else:
            fields = msgspec.to_builtins(event)
        name = type(event).__name__
        self._write(msgspec.json.encode({"event": f"{name[0].lower()}{name[1:]}", **fields}).decode())


class TextProgress:
    """Steps as lines for people: when they start and when they end, with their time; nested runs are indented."""

    def __init__(self, write: Write, width: int = 8) -> None:
        self._write = write
        self._width = width
        self._depths: dict[str, int] = {}
        self._many: dict[str, bool] = {}
        self._nested = 0
        self._nested_failures = 0
        self.counts = {"completed": 0, "failed": 0, "skipped": 0, "default": 0}

    def __call__(self, event: RunEvent) -> None:
        """Tell one event."""
        match event:
            case RunStarted():
                self._run_started(event)
            case StepStarted():
                if not self._depths.get(event.run_id) and event.attempt == 1:
                    self._line(f"  {'start':<9}{event.step_id:<{self._width}}  {event.component}")
            case StepRetried():
                self._step_retried(event)
            case StepEnded():
                self._step_ended(event)
            case RunEnded():
                self._run_ended(event)
            case ItemEnded():
                pass

    def _run_started(self, event: RunStarted) -> None:
        depth = self._depths.get(event.parent_run_id or "", -1) + 1
        self._depths[event.run_id] = depth
        self._many[event.run_id] = event.items != 1
        name = event.flow_name or "a flow without a name"
        if depth:
            count = "" if event.items in (None, 1) else f" on {event.items} inputs"
            self._tell(depth - 1, f"{'flow':<9}{name}{count}", nested=True)
        else:
            self._line(f"flow     {name}")
            self._line(f"run      {event.run_id}")

    def _step_ended(self, event: StepEnded) -> None:
        status = "default" if event.status == "completed" and event.failure is not None else event.status
        self.counts[status] = self.counts.get(status, 0) + 1
        word = "done" if status == "completed" else status
        line = f"{word:<9}{self._name(event):<{self._width}}  {event.seconds:8.3f} s"
        if event.failure is not None:
            line += f"  {_short(event.failure)}"
        elif event.reason:
            line += f"  {event.reason[:_LONGEST_MESSAGE]}"
        depth = self._depths.get(event.run_id, 0)
        self._tell(depth, line, nested=depth > 0, failure=event.failure is not None)

    def _step_retried(self, event: StepRetried) -> None:
        depth = self._depths.get(event.run_id, 0)
        line = f"{'retry':<9}{self._name(event):<{self._width}}  in {event.delay:5.2f} s  {_short(event.failure)}"
        self._tell(depth, line, nested=depth > 0, failure=True)

    def _name(self, event: StepEnded | StepRetried) -> str:
        return f"{event.step_id}[{event.item}]" if self._many.get(event.run_id) else event.step_id

    def _run_ended(self, event: RunEnded) -> None:
        self._many.pop(event.run_id, None)
        if self._depths.pop(event.run_id, 0):
            return
        counts = self.counts
        total = sum(counts.values())
        parts = [f"{total} step{'' if total == 1 else 's'}"]
        parts += [f"{counts[status]} {status}" for status in ("failed", "skipped") if counts[status]]
        if counts["default"]:
            parts.append(f"{counts['default']} with its default after a failure")
        self._line(f"{event.status} in {event.seconds:.3f} s: {', '.join(parts)}")

    def _tell(self, depth: int, line: str, *, nested: bool, failure: bool = False) -> None:
        """Write an indented line; of nested runs only so many, and as many failures beyond them."""
        if nested:
            self._nested += 1
            if self._nested > _MOST_NESTED_LINES:
                self._nested_failures += failure
                if self._nested == _MOST_NESTED_LINES + 1:
                    self._line("    … further steps of nested runs are counted, and told only when they fail")
                if not failure or self._nested_failures > _MOST_NESTED_LINES:
                    return
        self._line(f"{'  ' * (depth + 1)}{line}")

    def _line(self, text: str) -> None:
        # Names and messages are somebody else's: none of them begins a line of its own.
        self._write(" ".join(text.splitlines()))


def _short(failure: Failure) -> str:
    told = causes(failure.data) or [failure.message]
    text = " ".join(told[-1].split())
    return f"[{failure.code}] {text if len(text) <= _LONGEST_MESSAGE else f'{text[: _LONGEST_MESSAGE - 1]}…'}"


def causes(data: Any) -> list[str]:
    """The story in the stack of an error's data (section c.5 of the flow format), outermost first."""
    stack: object = data.get("stack") if is_object(data) else None
    if not is_array(stack):
        return []
    return [str(entry["error"]) for entry in stack if is_object(entry) and entry.get("error")]
