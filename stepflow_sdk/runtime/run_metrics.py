"""What a runtime counts: runs, steps, calls back, plugins, its store, and requests to its service."""

import os
from collections.abc import Mapping
from typing import Final, Protocol

from stepflow_sdk import __version__
from stepflow_sdk.metrics import CONTENT_TYPE, Counts, Durations, Family, Readings, text_of
from stepflow_sdk.protocol import FlowResultFailed, FlowResultSkipped
from stepflow_sdk.runtime.engine import Engine
from stepflow_sdk.runtime.events import ItemEnded, RunEnded, RunEvent, RunStarted, StepEnded, StepRetried, StepStarted
from stepflow_sdk.runtime.failures import is_unserved
from stepflow_sdk.runtime.plugins.plugin import Plugin
from stepflow_sdk.runtime.plugins.remote import RemotePlugin

__all__ = ["RuntimeMetrics", "WatchedStore"]

_MOST_COMPONENTS: Final = 500
"""Names of components come with flows: behind so many, all others are one."""


class WatchedStore(Protocol):
    """A store whose writing can be watched."""

    @property
    def path(self) -> "os.PathLike[str]":
        """Its file."""
        ...

    @property
    def commits(self) -> int:
        """How many transactions were written."""
        ...

    @property
    def waiting(self) -> int:
        """How many records wait to be written."""
        ...

    @property
    def is_writable(self) -> bool:
        """Whether the last one could be written."""
        ...


class RuntimeMetrics:
    """Counts what happens in a runtime, see ``metrics`` of `LocalRuntime`; on its event loop."""

    def __init__(self) -> None:
        self._components: set[str] = set()
        self._running: dict[str, set[tuple[int, str]]] = {}
        self._started = Counts("stepflow_runs_started_total", "Runs that have begun, nested ones included.")
        self._runs = Counts("stepflow_runs_total", "Runs that have ended.", "status")
        self._run_durations = Durations("stepflow_run_duration_seconds", "How long runs took.", "status")
        self._items = Counts("stepflow_items_total", "Inputs of runs that have their outcome.", "outcome")
        self._steps = Counts("stepflow_steps_total", "Steps that have ended.", "component", "status")
        text = "How long steps took, with all attempts and the waits between them."
        self._step_durations = Durations("stepflow_step_duration_seconds", text, "component")
        self._retries = Counts("stepflow_step_retries_total", "Attempts at steps that another follows.", "component")
        text = "Calls of components to the runtime that have ended."
        self._calls = Counts("stepflow_calls_total", text, "method", "code")
        text = "Requests to the REST API."
        self._requests = Counts("stepflow_rest_requests_total", text, "route", "method", "code")
        text = "How long requests to the REST API took, to the end of the answer."
        self._request_durations = Durations("stepflow_rest_request_duration_seconds", text, "route")
        self._requests_in_flight = 0
        self._of_store: list[Family] = []
        self._families: list[Family] = [
            Readings("stepflow_info", "Which version serves.", lambda: {(__version__,): 1}, "version"),
            self._started,
            self._runs,
            self._run_durations,
            self._items,
            self._steps,
            self._step_durations,
            self._retries,
            Readings("stepflow_steps_in_flight", "Steps whose component is called.", self._in_flight),
            self._calls,
            self._requests,
            self._request_durations,
            Readings(
                "stepflow_rest_requests_in_flight",
                "Requests to the REST API that are not answered.",
                lambda: self._requests_in_flight,
            ),
        ]

    def watch(self, engine: Engine, plugins: Mapping[str, Plugin]) -> None:
        """Read from a runtime, too, what it is at; once."""
        remote = {name: plugin for name, plugin in plugins.items() if isinstance(plugin, RemotePlugin)}
        self._families += [
            Readings("stepflow_runs_in_flight", "Runs that have not ended.", lambda: engine.active_runs),
            Readings("stepflow_steps_waiting", "Steps that could be called and wait.", lambda: engine.waiting_steps),
            Readings(
                "stepflow_plugin_up",
                "Whether the server of a plugin is connected; it is started at its first call.",
                lambda: {(name,): int(plugin.is_connected) for name, plugin in remote.items()},
                "plugin",
            ),
            Readings(
                "stepflow_plugin_restarts_total",
                "How often the server of a plugin was started or reached again.",
                lambda: {(name,): max(plugin.starts - 1, 0) for name, plugin in remote.items()},
                "plugin",
                kind="counter",
            ),
        ]

    def watch_store(self, store: WatchedStore) -> None:
        """Read from a state file, too; from the last one that was opened."""
        self._of_store = [
            Readings(
                "stepflow_store_writable", "Whether the state file can be written.", lambda: int(store.is_writable)
            ),
            Readings("stepflow_store_commits_total", "Transactions written.", lambda: store.commits, kind="counter"),
            Readings("stepflow_store_queue", "Records that wait to be written.", lambda: store.waiting),
            Readings("stepflow_store_bytes", "Size of the state file and its log.", lambda: _size(store.path)),
        ]

    # ---- what is counted --------------------------------------------------------------------------------------

    def __call__(self, event: RunEvent) -> None:
        """Take an event of the runtime."""
        match event:
            case RunStarted():
                self._started.add()
            case StepStarted():
                self._running.setdefault(event.run_id, set()).add((event.item, event.step_id))
            case StepRetried():
                self._retries.add(self._named(event.component))
            case StepEnded():
                self._step_ended(event)
            case ItemEnded():
                failed, skipped = (
                    isinstance(event.result, FlowResultFailed),
                    isinstance(event.result, FlowResultSkipped),
                )
                self._items.add("failed" if failed else "skipped" if skipped else "success")
            case RunEnded():
                self._running.pop(event.run_id, None)
                self._runs.add(event.status)
                self._run_durations.add(event.seconds, event.status)

    def call(self, method: str, code: str) -> None:
        """Count a call back of a component that has ended: ``ok`` or the error code that was answered."""
        self._calls.add(method, code)

    def request_began(self) -> None:
        """Count a request that has come; `request_ended` follows."""
        self._requests_in_flight += 1

    def request_ended(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request that was answered.

        Args:
            route: The path with names in braces; empty where there is none.
            method: Of HTTP.
            status: Of the answer, 499 where the client did not wait for it.
            seconds: How long it took.
        """
        self._requests_in_flight -= 1
        self._requests.add(route, method, str(status))
        self._request_durations.add(seconds, route)

    @property
    def content_type(self) -> str:
        """Of the text form."""
        return CONTENT_TYPE

    def text(self) -> str:
        """Everything, in the text form."""
        return text_of([*self._families, *self._of_store])

    def _step_ended(self, event: StepEnded) -> None:
        self._running.get(event.run_id, set()).discard((event.item, event.step_id))
        # Those that nobody serves have names that somebody made up.
        component = "" if is_unserved(event.failure) else self._named(event.component)
        self._steps.add(component, event.status)
        if event.attempt:
            self._step_durations.add(event.seconds, component)

    def _named(self, component: str) -> str:
        if component in self._components:
            return component
        if len(self._components) >= _MOST_COMPONENTS:
            return "other"
        self._components.add(component)
        return component

    def _in_flight(self) -> int:
        return sum(map(len, self._running.values()))


def _size(path: "os.PathLike[str]") -> int:
    size = 0
    for name in (os.fspath(path), f"{os.fspath(path)}-wal"):
        try:
            size += os.stat(name).st_size  # noqa: PTH116  (a name with an ending of its own)
        except OSError:
            continue  # the log comes and goes
    return size
