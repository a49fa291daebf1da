"""Components: from a typed function to a frozen `ComponentSpec`, and from raw JSON to a call and back."""

from .markers import Input, PathParam
from .router import Router
from .spec import ComponentSpec

__all__ = ["ComponentSpec", "Input", "PathParam", "Router"]
