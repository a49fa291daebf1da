"""Help with testing components and flows: a pytest plugin."""

from stepflow_sdk.testing.plugin import RunServer, stepflow_runtime

__all__ = ["RunServer", "stepflow_runtime"]
