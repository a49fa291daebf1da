"""Configurations: the plugins of a runtime and the routes to them (section e of the flow format)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from stepflow_sdk.runtime.routes import Route

__all__ = ["BuiltinConfig", "Config", "InProcessConfig", "PluginConfig", "StdioConfig"]


@dataclass(frozen=True, slots=True)
class BuiltinConfig:
    """``type: builtin``."""


@dataclass(frozen=True, slots=True)
class StdioConfig:
    """``type: stepflow`` with ``transport: stdio``: a component server that is started as a subprocess.

    Attributes:
        command: The program and its arguments.
        env: Its variables, beside those that every server gets; see `child_environment`.
    """

    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class InProcessConfig:
    """``type: inprocess``, of this library alone: a server object of a module, ``module:name``."""

    server: str


PluginConfig: TypeAlias = BuiltinConfig | StdioConfig | InProcessConfig
"""How a plugin is reached."""


@dataclass(frozen=True, slots=True)
class Config:
    """What a runtime is made of; read one with `load_config`.

    Attributes:
        plugins: By name.
        routes: Which components each of them serves.
        working_directory: Where servers run and relative paths start.
        file: Where it was read from.
        warnings: What was read and has no effect here.
        values: The configuration as it was written.
    """

    plugins: Mapping[str, PluginConfig]
    routes: tuple[Route, ...]
    working_directory: Path
    file: Path | None = None
    warnings: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
