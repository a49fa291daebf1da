"""From a request of a runtime to the component that answers it, for one connection."""

import logging
from asyncio import CancelledError
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from stepflow_sdk.components.binding import Bound
from stepflow_sdk.components.execution import Execution
from stepflow_sdk.components.lanes import Lane
from stepflow_sdk.components.spec import ComponentSpec
from stepflow_sdk.context import BlockingContext, StepflowContext
from stepflow_sdk.context.base import Call, ContextBase
from stepflow_sdk.context.client import RuntimeClient, RuntimeProfile
from stepflow_sdk.context.current import CURRENT
from stepflow_sdk.errors import (
    InternalError,
    MethodNotFound,
    NotInitialized,
    ResourceUnavailable,
    ServerStopping,
    SkipStep,
    WireError,
)
from stepflow_sdk.packed import Packed
from stepflow_sdk.protocol import Notification, ObservabilityContext, Request, decode_params, methods
from stepflow_sdk.protocol.dialects import initialize_result, read_initialize
from stepflow_sdk.protocol.failures import is_a, name_of, skip_reason, sole_cause
from stepflow_sdk.protocol.messages import (
    ComponentExecuteParams,
    ComponentExecuteResult,
    ComponentInfoResult,
)
from stepflow_sdk.service import Service, component_info
from stepflow_sdk.transports import Connection

if TYPE_CHECKING:
    from stepflow_sdk.monitor import Monitor
    from stepflow_sdk.tracing import Tracer

__all__ = ["Dispatcher"]

_log = logging.getLogger("stepflow_sdk.server")
_NULL = Raw(b"null")
_NOTHING: Mapping[type, Any] = MappingProxyType({})
_NO_TEXTS: Mapping[str, str] = MappingProxyType({})


def _not_bound() -> Any:
    raise InternalError("the call was never bound")


class Dispatcher:
    """Answers the requests of one connection; a `Handler`.

    Args:
        service: What all connections share.
        profile: What is known of the runtime, where connections are too short for ``initialize`` to come on each.
            Without it nothing is served before that.
    """

    def __init__(self, service: Service, profile: RuntimeProfile | None = None) -> None:
        self._service = service
        self._profile = service.profile() if profile is None else profile
        self._initialized = profile is not None
        self._lane = Lane()
        self._encoding: str | None = None
        self._packs = False
        self._simple: Mapping[str, ComponentSpec] = {}

    def request(self, connection: Connection, request: Request) -> None:
        """Answer a request, now or when its component has ended."""
        params = request.decoded
        if params is None or (spec := self._simple.get(params.component)) is None:
            self._serve(connection, request)
            return
        # The way of most requests, and the same as that of `execute` with all that it can do without left out.
        executor = self._service.executor
        execution = _Execution(executor, spec, self._lane, self, connection, request, params)
        try:
            execution.bound = spec.bind(params.input, _NO_TEXTS, execution.inject() if spec.injected else _NOTHING)
        except BaseException as error:  # classes and validators of the input are code of the user
            execution.refused(error)
            return
        executor.start(execution)

    def _serve(self, connection: Connection, request: Request) -> None:
        if connection.on_congestion is None:
            connection.on_congestion = self._hold
            connection.peer.error_codes = self._error_code
        try:
            serve = _METHODS.get(request.method)
            if serve is None:
                raise _unknown(request.method, _METHODS)
            if not self._initialized and request.method != methods.INITIALIZE.name:
                raise NotInitialized(f"{request.method} came before initialize", data={"method": request.method})
            if self._service.draining:
                raise ServerStopping
            if self._initialized:
                self._simple = self._service.simple_packing if self._packs else self._service.simple
            serve(self, connection, request)
        except WireError as error:
            self._told(connection, request, error)
            connection.fail(request, error)

    def _error_code(self, code: int, exception: BaseException) -> int:
        # Asked for each time: over HTTP the runtime may introduce itself on another connection, or as another one.
        return self._profile.error_codes(code, exception)

    def _told(self, connection: Connection, request: Request, error: WireError | None) -> None:
        if self._service.monitor is not None:
            self._service.monitor.other(request.method, error, connection.peer.error_codes)

    @property
    def refused(self) -> Callable[[str, WireError], None] | None:
        """See `Peer.on_refusal`; None where nothing is counted."""
        return None if self._service.monitor is None else self._count_refusal

    def _count_refusal(self, method: str, error: WireError) -> None:
        if self._service.monitor is not None:
            self._service.monitor.other(method, error, self._profile.error_codes)

    def notification(self, connection: Connection, notification: Notification) -> None:
        """Take note of ``initialized``, after which the encoding is the one that was agreed on."""
        if notification.method in methods.NOTIFICATIONS:
            if self._encoding is not None:
                connection.switch()
                self._packs = True
                self._simple = {}
        else:
            _log.debug("ignored the notification %s", notification.method)

    def closed(self, connection: Connection) -> None:  # noqa: ARG002  (`Handler`)
        """Stop the components that nobody listens to any more."""
        if self._lane.unanswered:
            self._service.executor.cancel_lane(self._lane, ResourceUnavailable("the runtime closed the connection"))

    def initialize(self, connection: Connection, request: Request) -> None:
        """Answer ``initialize``."""
        said = read_initialize(request.params)
        self._profile.introduce(said, connection.remote, self._service.blob_hosts)
        self._initialized = True
        # What else is under way may be a batch, whose answers leave together and in one encoding.
        alone = connection.peer.in_flight == 1
        offered = said.capabilities.encodings if alone and said.capabilities is not None else ()
        self._encoding = next((encoding for encoding in connection.encodings if encoding in offered), None)
        connection.reply(request, initialize_result(self._encoding))
        if self._encoding is not None:
            connection.expect()
        self._told(connection, request, None)

    def _hold(self, congested: bool) -> None:
        # What cannot leave must not be made: components wait while the runtime does not read.
        if congested:
            self._lane.hold(True)
        else:
            self._service.executor.release(self._lane)

    def list(self, connection: Connection, request: Request) -> None:
        """Answer ``components/list``."""
        decode_params(request, methods.LIST)
        connection.reply(request, self._service.component_list)
        self._told(connection, request, None)

    def info(self, connection: Connection, request: Request) -> None:
        """Answer ``components/info``."""
        params = decode_params(request, methods.INFO)
        spec, _ = self._service.router.lookup(params.component)
        connection.reply(request, ComponentInfoResult(component_info(spec)))
        self._told(connection, request, None)

    def execute(self, connection: Connection, request: Request) -> None:
        """Answer ``components/execute``."""
        params: ComponentExecuteParams = decode_params(request, methods.EXECUTE)
        service = self._service
        found = service.found.get(params.component)
        spec, path_params = found or service.lookup(params.component)
        if self._packs:
            spec = service.packing(spec)
        if service.tracer is None and service.monitor is None:
            execution = _Execution(service.executor, spec, self._lane, self, connection, request, params)
        else:
            execution = self._watched(connection, request, params, spec)
        try:
            execution.bound = spec.bind(params.input, path_params, execution.inject() if spec.injected else _NOTHING)
        except BaseException as error:  # classes and validators of the input are code of the user
            execution.told(error)
            execution.refused(error)
            return
        service.executor.start(execution)

    def _watched(
        self, connection: Connection, request: Request, params: ComponentExecuteParams, spec: ComponentSpec
    ) -> "_WatchedExecution":
        service = self._service
        span = None
        if service.tracer is not None:
            span, params = self._span(service.tracer, params, spec)
        execution = _WatchedExecution(service.executor, spec, self._lane, self, connection, request, params)
        execution.tracer, execution.span, execution.monitor = service.tracer, span, service.monitor
        if service.monitor is not None:
            service.monitor.begin(execution)
        return execution

    def _span(
        self, tracer: "Tracer", params: ComponentExecuteParams, spec: ComponentSpec
    ) -> tuple[Any, ComponentExecuteParams]:
        ids = params.observability
        attributes = {
            "stepflow.component": params.component,
            "stepflow.attempt": params.attempt,
            "stepflow.run_id": ids.run_id,
            "stepflow.flow_id": ids.flow_id,
            "stepflow.step_id": ids.step_id,
        }
        name = f"component {spec.path}"
        span = tracer.start(name, attributes, trace_id=ids.trace_id, span_id=ids.span_id)
        # What the component asks of the runtime, a nested flow above all, belongs to its own span.
        within = ObservabilityContext(*tracer.ids(span), ids.run_id, ids.flow_id, ids.step_id)
        return span, msgspec.structs.replace(params, observability=within)

    def context(
        self, connection: Connection, spec: ComponentSpec, params: ComponentExecuteParams
    ) -> StepflowContext[Any] | BlockingContext[Any]:
        """The context of a call."""
        service = self._service
        client = RuntimeClient(connection, self._profile)
        facts = Call(params.component, params.attempt, params.observability, client, service.values, service.state)
        if spec.in_thread:
            return BlockingContext(facts, service.loop, service.executor.waiting)
        return StepflowContext(facts)


_METHODS: Mapping[str, Callable[[Dispatcher, Connection, Request], None]] = {
    methods.EXECUTE.name: Dispatcher.execute,
    methods.INITIALIZE.name: Dispatcher.initialize,
    methods.LIST.name: Dispatcher.list,
    methods.INFO.name: Dispatcher.info,
}


class _Execution(Execution, eq=False):
    """The execution of a component for a request."""

    dispatcher: Dispatcher
    connection: Connection
    request: Request
    params: ComponentExecuteParams
    bound: Bound = _not_bound
    known_context: StepflowContext[Any] | BlockingContext[Any] | None = None

    def context(self) -> StepflowContext[Any] | BlockingContext[Any]:
        """The context of the call, which most components never ask for."""
        if self.known_context is None:
            self.known_context = self.dispatcher.context(self.connection, self.spec, self.params)
            if self.answered:
                self.known_context.end()
        return self.known_context

    def inject(self) -> Mapping[type, Any]:
        """What the function wants beside its input."""
        context = self.context()
        return {type(context): context}

    def call(self) -> Any:
        if self.answered:
            raise CancelledError
        self.begun = True
        # In the component's own task or thread, so that current_context() finds it there and only there.
        CURRENT.set(self)
        return self.bound()

    def ended(self, output: bytes | Packed, error: BaseException | None) -> None:
        if self.known_context is not None:
            self.known_context.end()
        if error is None:
            self.connection.reply_output(self.request, output)
        else:
            _answer_failure(self.connection, self.request, error, self.context())

    def refused(self, error: BaseException) -> None:
        """Take the exception for which the function is not called at all."""
        self.answered = True
        _answer_failure(self.connection, self.request, error, self.context())

    def told(self, error: BaseException | None) -> None:
        """Take note of how the call ended."""


class _WatchedExecution(_Execution, eq=False):
    """An execution that is monitored, or has a span of its own, which is the current one inside the component."""

    tracer: "Tracer | None" = None
    span: Any = None
    monitor: "Monitor | None" = None
    began: float = 0.0

    def call(self) -> Any:
        if self.tracer is not None:
            self.tracer.activate(self.span)
        return _Execution.call(self)

    def ended(self, output: bytes | Packed, error: BaseException | None) -> None:
        _Execution.ended(self, output, error)
        self.told(error)

    def told(self, error: BaseException | None) -> None:
        if self.monitor is not None:
            self.monitor.end(self, self.spec.path, error, self.connection.peer.error_codes)
        if self.tracer is None:
            return
        cause = None if error is None else sole_cause(error)
        if cause is not None and not is_a(cause, SkipStep):
            # Not the message: it may quote secrets of the run, which the runtime knows and this end does not.
            self.tracer.fail(self.span, name_of(cause))
        self.span.end()


def _answer_failure(connection: Connection, request: Request, error: BaseException, context: ContextBase[Any]) -> None:
    cause = sole_cause(error)
    if is_a(cause, SkipStep):
        connection.reply(request, ComponentExecuteResult(_NULL, skip_reason(cause)))
        return
    if not is_a(cause, WireError):
        # The traceback is for the log only.
        try:
            _log.error("%s failed", context.component, exc_info=error, extra=context.log_fields())
        except BaseException:  # to print an exception calls code of the user, which must not cost its answer
            _log.error("%s failed, with an exception that cannot be printed", context.component)
    connection.fail(request, error)


def _unknown(method: str, known: Mapping[str, object]) -> MethodNotFound:
    import difflib

    data = {"method": method[:200]}
    if near := difflib.get_close_matches(method, known, 1):
        data["did_you_mean"] = near[0]
    return MethodNotFound(f"unknown method: {method[:200]}", data=data)
