"""Lists the components that flows can use."""

from collections.abc import Mapping

import anyio
import msgspec

from stepflow_sdk.protocol.messages import ComponentInfo
from stepflow_sdk.runtime.plugins.plugin import Plugin
from stepflow_sdk.runtime.routes import Router

__all__ = ["components_by_plugin", "list_components"]


async def components_by_plugin(plugins: Mapping[str, Plugin]) -> dict[str, list[ComponentInfo]]:
    """The components of each plugin under their own paths, plugins in their order.

    Raises:
        WireError: A plugin cannot list them.
        ServerLost: A server cannot be reached.
    """
    lists: dict[str, list[ComponentInfo]] = {}
    problems: list[Exception] = []

    async def ask(name: str, plugin: Plugin) -> None:
        try:
            lists[name] = await plugin.list_components()
        except Exception as error:
            problems.append(error)

    async with anyio.create_task_group() as tasks:
        for name, plugin in plugins.items():
            tasks.start_soon(ask, name, plugin)
    if problems:
        raise problems[0]
    return {name: lists[name] for name in plugins}


async def list_components(router: Router, plugins: Mapping[str, Plugin]) -> list[ComponentInfo]:
    """The components of all plugins under the paths that flows reach them by; see `components_by_plugin`."""
    return [
        msgspec.structs.replace(info, component=path)
        for name, listed in (await components_by_plugin(plugins)).items()
        for info in listed
        for path in router.paths_of(name, info.component)
    ]
