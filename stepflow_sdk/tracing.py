"""Spans of OpenTelemetry, where the application has set it up; elsewhere nothing is imported and nothing costs."""

import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from opentelemetry.trace import Span

__all__ = ["Tracer", "current_trace_id", "find_tracer"]

_NAME: Final = "stepflow_sdk"
_LONGEST: Final = 500


class Tracer:
    """Makes spans, with parents from this process or from the wire.

    Args:
        api: The module ``opentelemetry.trace``.
        provider: What the application has set up.
    """

    def __init__(self, api: Any, provider: Any) -> None:
        self._api = api
        self._tracer = provider.get_tracer(_NAME)

    def start(
        self, name: str, attributes: Mapping[str, Any], *, trace_id: str | None = None, span_id: str | None = None
    ) -> "Span":
        """Start a span, which the caller ends.

        Args:
            name: Its name.
            attributes: Its attributes; those that are None are left out.
            trace_id: That of the parent, 32 hex digits, where it is in another process; else the parent is current.
            span_id: Likewise, 16 hex digits.
        """
        known = {key: value for key, value in attributes.items() if value is not None}
        span: Span = self._tracer.start_span(name, context=self._remote(trace_id, span_id), attributes=known)
        return span

    def ids(self, span: "Span") -> tuple[str, str]:
        """The trace id and the span id as the wire has them."""
        context = span.get_span_context()
        return f"{context.trace_id:032x}", f"{context.span_id:016x}"

    def activate(self, span: "Span") -> None:
        """Make a span the current one, for good: in a context of its own."""
        from opentelemetry.context import attach

        attach(self._api.set_span_in_context(span))

    @contextmanager
    def current(self, span: "Span") -> Generator[None, None, None]:
        """Make a span the current one inside the block, and end it there."""
        with self._api.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            yield

    @contextmanager
    def under(self, trace_id: str | None, span_id: str | None) -> Generator[None, None, None]:
        """Make a span of another process the current one inside the block, if there is one."""
        from opentelemetry.context import attach, detach

        context = self._remote(trace_id, span_id)
        if context is None:
            yield
            return
        token = attach(context)
        try:
            yield
        finally:
            detach(token)

    def fail(self, span: "Span", message: str) -> None:
        """Mark a span as failed."""
        span.set_status(self._api.Status(self._api.StatusCode.ERROR, message[:_LONGEST]))

    def _remote(self, trace_id: str | None, span_id: str | None) -> Any:
        if not trace_id or not span_id:
            return None
        try:
            numbers = int(trace_id, 16), int(span_id, 16)
        except ValueError:
            return None
        # The wire has no flags; who sends ids is taken to record its spans.
        flags = self._api.TraceFlags(self._api.TraceFlags.SAMPLED)
        context = self._api.SpanContext(*numbers, is_remote=True, trace_flags=flags)
        return self._api.set_span_in_context(self._api.NonRecordingSpan(context)) if context.is_valid else None


def find_tracer() -> Tracer | None:
    """A tracer, or None where no provider of spans has been set up."""
    # Who set one up has imported it, so it is not imported here.
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None:
        return None
    provider = api.get_tracer_provider()
    is_real = not isinstance(provider, (api.ProxyTracerProvider, api.NoOpTracerProvider))
    return Tracer(api, provider) if is_real else None


def current_trace_id() -> str | None:
    """The id of the trace that is current, 32 hex digits; None where there is none."""
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None:
        return None
    context = api.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None
