"""Turn typed Python functions into Stepflow components."""

from stepflow_sdk._version import __version__

__all__ = ["__version__"]
