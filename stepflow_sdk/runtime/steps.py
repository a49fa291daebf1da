"""Calls the component of one step, and makes of the end what the flow says."""

import logging
from collections.abc import Coroutine, Mapping
from typing import Any, NamedTuple, Protocol, cast

import anyio

from stepflow_sdk.errors import ComponentNotFound, ExpressionError, SkipStep, StepflowError, WireError
from stepflow_sdk.flows import Failure, Step
from stepflow_sdk.protocol import ObservabilityContext
from stepflow_sdk.protocol.messages import ComponentExecuteParams
from stepflow_sdk.runtime.events import Observer, StepRetried, StepStarted
from stepflow_sdk.runtime.failures import Skipped, failure_of, internal_failure, routing_failure
from stepflow_sdk.runtime.log_ids import CURRENT_STEP
from stepflow_sdk.runtime.plugins.plugin import DirectCalls, DirectPlugin, OnEnd, OngoingCall, Plugin
from stepflow_sdk.runtime.redaction import SECRETS, redact
from stepflow_sdk.runtime.retries import RetryBudget, RetryPolicy, Trouble, trouble_of
from stepflow_sdk.runtime.routes import Router
from stepflow_sdk.tracing import Tracer

__all__ = ["Direct", "StepCaller", "StepEnd", "StepStart"]

_log = logging.getLogger("stepflow_sdk.runtime")


class StepEnd(NamedTuple):
    """What a step came to.

    Attributes:
        outcome: What its dependants see: a JSON value, a `Failure`, or `Skipped`.
        failure: That of its last attempt, also when ``onError`` made a success of it.
        attempt: How often its component was called.
    """

    outcome: Any
    failure: Failure | None
    attempt: int


class StepStart(Protocol):
    """Keeps that a step is about to be called."""

    first_attempt: int
    """What its first attempt here is called; more than 1 for a step that the end of another process interrupted."""

    async def begin(self, attempt: int) -> None:
        """Keep that this attempt begins; the component is called when this returns."""
        ...


class Direct(NamedTuple):
    """A component that can be called now, without a task: what makes the call, and the component's path there."""

    calls: DirectCalls
    component: str


class _Attempt(NamedTuple):
    value: Any
    failure: Failure | None = None
    trouble: Trouble = Trouble.FINAL


class StepCaller:
    """Calls components through the plugins that serve them.

    Args:
        router: Finds the plugin.
        plugins: By their names in the routes.
        retry: What is done about steps that failed.

    Attributes:
        tracer: Makes a span of each step, where that is wanted.
    """

    def __init__(self, router: Router, plugins: Mapping[str, Plugin], retry: RetryPolicy | None = None) -> None:
        self.router = router
        self.plugins = plugins
        self._direct = {
            name: cast("DirectPlugin", plugin)
            for name, plugin in plugins.items()
            if callable(getattr(plugin, "direct", None))
        }
        self._retry = RetryPolicy() if retry is None else retry
        self.tracer: Tracer | None = None

    async def call(self, component: str, input: Any, ids: ObservabilityContext, *, attempt: int = 1) -> Any:
        """Call a component by its path in flows.

        Raises:
            ComponentNotFound: No plugin serves it, or its server does not have it.
            ExpressionError: A condition of its route cannot be evaluated.
            WireError: It failed.
            SkipStep: It asks that its step be skipped.
            ServerLost: Its server could not be reached, or went away.
        """
        target = self.router.route(component, input)
        plugin = self.plugins[target.plugin]
        if self.tracer is None:
            return await plugin.execute(ComponentExecuteParams(target.component, input, attempt, ids))
        span = self.tracer.start(f"call {component}", {"stepflow.component": component, "stepflow.run_id": ids.run_id})
        with self.tracer.current(span):
            traced = _within(ids, self.tracer.ids(span))
            try:
                return await plugin.execute(ComponentExecuteParams(target.component, input, attempt, traced))
            except StepflowError as error:
                self.tracer.fail(span, str(error))
                raise

    def direct(self, step: Step, input: Any) -> Direct | None:
        """The component of a step, where it can be called at once by `begin`; `run` can call every one."""
        if self.tracer is not None or not self._direct:
            return None
        try:
            target = self.router.route(step.component, input)
        except (ComponentNotFound, ExpressionError):
            return None  # what that comes to says `run`
        plugin = self._direct.get(target.plugin)
        calls = None if plugin is None else plugin.direct()
        return None if calls is None else Direct(calls, target.component)

    def begin(self, direct: Direct, step: Step, input: Any, ids: ObservabilityContext, on_end: OnEnd) -> OngoingCall:
        """Make the first call of a step's component; see `DirectCalls.begin`.

        One that ends in anything but an output is for `run` to go on with.
        """
        token = CURRENT_STEP.set((ids, step.component, 1))
        try:
            return direct.calls.begin(ComponentExecuteParams(direct.component, input, 1, ids), on_end)
        finally:
            CURRENT_STEP.reset(token)

    def run(
        self,
        step: Step,
        input: Any,
        ids: ObservabilityContext,
        *,
        item: int = 0,
        observer: Observer | None = None,
        start: StepStart | None = None,
        begun: OngoingCall | None = None,
    ) -> Coroutine[Any, Any, StepEnd]:
        """Run a step, as often as its failures and its ``onError`` allow; cancelling this ends a wait between two.

        Args:
            step: The step.
            input: Its resolved input.
            ids: The ids of its run, flow and step.
            item: The index of the run's input.
            observer: Told of each attempt.
            start: Keeps each attempt before it begins.
            begun: The first attempt, where that was made by `begin`.
        """
        if self.tracer is None:
            return self._run(step, input, ids, item, observer, start, begun)
        return self._traced(self.tracer, step, input, ids, item, observer, start)

    async def _traced(
        self,
        tracer: Tracer,
        step: Step,
        input: Any,
        ids: ObservabilityContext,
        item: int,
        observer: Observer | None,
        start: StepStart | None,
    ) -> StepEnd:
        attributes = {
            "stepflow.run_id": ids.run_id,
            "stepflow.flow_id": ids.flow_id,
            "stepflow.step_id": step.id,
            "stepflow.component": step.component,
            "stepflow.item": item,
        }
        span = tracer.start(f"step {step.id}", attributes)
        with tracer.current(span):
            end = await self._run(step, input, _within(ids, tracer.ids(span)), item, observer, start)
            span.set_attribute("stepflow.attempt", end.attempt)
            if end.failure is not None:
                tracer.fail(span, end.failure.message)
        return end

    async def _run(
        self,
        step: Step,
        input: Any,
        ids: ObservabilityContext,
        item: int,
        observer: Observer | None,
        start: StepStart | None,
        begun: OngoingCall | None = None,
    ) -> StepEnd:
        budget: RetryBudget | None = None
        attempt = 1 if start is None else start.first_attempt
        while True:
            if start is not None and begun is None:
                await start.begin(attempt)
            if observer is not None and begun is None:
                observer(StepStarted(ids.run_id or "", item, step.id, step.component, attempt))
            token = CURRENT_STEP.set((ids, step.component, attempt))
            try:
                value, failure, trouble = await self._try(step, input, attempt, ids, begun)
            finally:
                CURRENT_STEP.reset(token)
            if failure is None:
                return StepEnd(value, None, attempt)
            if budget is None:
                budget = RetryBudget(self._retry, step.on_error)
            delay = budget.spend(trouble)
            if delay is None:
                return StepEnd(value, failure, attempt)
            if observer is not None:
                observer(StepRetried(ids.run_id or "", item, step.id, step.component, attempt, failure, delay))
            await anyio.sleep(delay)
            attempt += 1
            begun = None

    async def _try(
        self, step: Step, input: Any, attempt: int, ids: ObservabilityContext, begun: OngoingCall | None
    ) -> _Attempt:
        try:
            target = self.router.route(step.component, input)
        except (ComponentNotFound, ExpressionError) as error:
            # onError covers the execution of the component, not the search for it (section c.3).
            failure = redact(routing_failure(error.message), SECRETS.get())
            return _Attempt(failure, failure)
        plugin = self.plugins[target.plugin]
        trouble = Trouble.FINAL
        try:
            if begun is not None:
                return _Attempt(await begun.outcome())
            return _Attempt(await plugin.execute(ComponentExecuteParams(target.component, input, attempt, ids)))
        except SkipStep as skip:
            return _Attempt(Skipped(skip.reason))
        except WireError as error:
            failure = failure_of(error, step.id, target.component, wrap=plugin.wraps_errors)
            trouble = trouble_of(error, builtin=plugin.wraps_errors)
        except Exception as error:
            _log.exception("plugin %r failed on step %r", plugin.name, step.id)
            failure = internal_failure(step.id, target.component, f"{type(error).__name__}: {error}")
        failure = redact(failure, SECRETS.get())
        return _Attempt(_after_failure(step, failure), failure, trouble)


def _within(ids: ObservabilityContext, span: tuple[str, str]) -> ObservabilityContext:
    return ObservabilityContext(*span, ids.run_id, ids.flow_id, ids.step_id)


def _after_failure(step: Step, failure: Failure) -> Any:
    """What a failed execution comes to when it is not tried again."""
    if step.on_error is not None and step.on_error.action == "useDefault":
        return step.on_error.default_value
    return failure
