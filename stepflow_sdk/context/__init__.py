"""What a running component can ask of its runtime."""

from stepflow_sdk.context.asynchronous import StepflowContext
from stepflow_sdk.context.blocking import BlockingContext
from stepflow_sdk.context.current import current_context

__all__ = ["BlockingContext", "StepflowContext", "current_context"]
