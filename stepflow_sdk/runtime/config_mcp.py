"""Reads plugins of ``type: mcp`` (section e.1 of the flow format)."""

from collections.abc import Mapping
from typing import Final

from stepflow_sdk.flows import did_you_mean
from stepflow_sdk.runtime.config import McpConfig, McpUrlConfig
from stepflow_sdk.runtime.config_fields import Fields
from stepflow_sdk.runtime.config_stepflow import read_command, read_texts
from stepflow_sdk.runtime.plugins.http import check_url
from stepflow_sdk.runtime.plugins.mcp import ToolErrors

__all__ = ["read_mcp"]

_TOOL_ERRORS: Final = ("fail", "content")


def read_mcp(fields: Fields, name: str, environ: Mapping[str, str]) -> McpConfig | McpUrlConfig:
    """Read one plugin: ``command`` for a server to start, ``url`` for one that runs.

    Raises:
        InvalidConfig: Something in it is wrong.
    """
    fields.only(("type", "command", "args", "env", "url", "headers", "toolErrors"))
    tool_errors = _tool_errors(fields, name)
    if "url" not in fields:
        fields.need("command", "command: my-mcp-server, or url: http://127.0.0.1:8000/mcp for one that runs already")
        if "headers" in fields:
            fields.refuse(f"'headers' of plugin {name!r} has no meaning without a 'url'", "headers")
        return McpConfig(read_command(fields, environ), read_texts(fields, "env", environ), tool_errors)
    for key in ("command", "args", "env"):
        if key in fields:
            fields.refuse(f"plugin {name!r} has both 'url', for a server that runs, and {key!r}, for one to start", key)
    try:
        return McpUrlConfig(check_url(fields.text("url") or ""), read_texts(fields, "headers", environ), tool_errors)
    except ValueError as error:
        return fields.refuse(f"'url' of plugin {name!r}: {error}", "url")


def _tool_errors(fields: Fields, name: str) -> ToolErrors:
    match fields.text("toolErrors"):
        case None | "fail":
            return "fail"
        case "content":
            return "content"
        case other:
            hint = did_you_mean(other, _TOOL_ERRORS)
            said = f"; {hint}" if hint else ""
            return fields.refuse(
                f"'toolErrors' of plugin {name!r} is 'fail' or 'content', not {other!r}{said}", "toolErrors"
            )
