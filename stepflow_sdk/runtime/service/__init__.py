"""The REST API of the bundled runtime, in the spelling of the published orchestrator 0.11."""

from stepflow_sdk.runtime.service.app import RuntimeService
from stepflow_sdk.runtime.service.events import EventHub
from stepflow_sdk.runtime.service.rest import RestApi
from stepflow_sdk.runtime.service.serving import serve_api

__all__ = ["EventHub", "RestApi", "RuntimeService", "serve_api"]
