"""Reads plugins of ``type: stepflow``: component servers on stdio or HTTP (section 3 of the dialects)."""

from collections.abc import Mapping
from typing import Any, Final

from stepflow_sdk.flows import did_you_mean
from stepflow_sdk.runtime.config import HttpCommandConfig, HttpConfig, StdioConfig
from stepflow_sdk.runtime.config_fields import Fields
from stepflow_sdk.runtime.environment import substitute
from stepflow_sdk.runtime.plugins.http import HealthCheck, check_url

__all__ = ["read_command", "read_stepflow", "read_texts"]

_TRANSPORTS: Final = ("stdio", "http")
_KEYS: Final = ("type", "transport", "command", "args", "env", "url", "headers", "healthCheck", "retry")
_ONLY_WITH_COMMAND: Final = ("args", "env", "healthCheck")
_ONLY_OVER_HTTP: Final = ("url", "healthCheck", "headers")


def read_stepflow(
    fields: Fields, name: str, environ: Mapping[str, str]
) -> StdioConfig | HttpConfig | HttpCommandConfig:
    """Read one plugin: ``url`` for a server that runs, ``command`` for one to start.

    A command speaks HTTP and announces its port, unless it has ``transport: stdio``.

    Raises:
        InvalidConfig: Something in it is wrong.
    """
    fields.only(_KEYS)
    transport = fields.value("transport")
    if transport is not None and transport not in _TRANSPORTS:
        hint = did_you_mean(str(transport), _TRANSPORTS)
        said = f"; {hint}" if hint else ""
        fields.refuse(f"'transport' of plugin {name!r} is 'stdio' or 'http', not {transport!r}{said}", "transport")
    if transport == "stdio":
        _refuse_any(fields, name, _ONLY_OVER_HTTP, "has no meaning with transport: stdio")
        fields.need("command", "command: python")
        return StdioConfig(read_command(fields, environ), read_texts(fields, "env", environ))
    headers = read_texts(fields, "headers", environ)
    if "url" not in fields:
        fields.need("command", "command: python, or url: http://127.0.0.1:8080 for a server that runs already")
        env = read_texts(fields, "env", environ)
        return HttpCommandConfig(read_command(fields, environ), env, _health_check(fields, name), headers)
    if "command" in fields:
        fields.refuse(f"plugin {name!r} has both 'url', for a server that runs, and 'command', for one to start")
    _refuse_any(fields, name, _ONLY_WITH_COMMAND, "has no meaning for a server that runs already, at a 'url'")
    try:
        return HttpConfig(check_url(fields.text("url") or ""), headers)
    except ValueError as error:
        return fields.refuse(f"'url' of plugin {name!r}: {error}", "url")


def _refuse_any(fields: Fields, name: str, keys: tuple[str, ...], why: str) -> None:
    for key in keys:
        if key in fields:
            fields.refuse(f"{key!r} of plugin {name!r} {why}", key)


def read_command(fields: Fields, environ: Mapping[str, str]) -> tuple[str, ...]:
    """``command`` and ``args``, with the variables of the environment filled in."""
    args = _filled(fields, "args", enumerate(fields.texts("args")), environ)
    return (fields.text("command") or "", *args.values())


def read_texts(fields: Fields, key: str, environ: Mapping[str, str]) -> dict[str, str]:
    """An object of strings, with the variables of the environment filled in."""
    filled = _filled(fields, key, fields.text_map(key).items(), environ)
    return {str(part): text for part, text in filled.items()}


def _health_check(fields: Fields, name: str) -> HealthCheck:
    check = fields.inner("healthCheck", f"'healthCheck' of plugin {name!r}")
    if check is None:
        return HealthCheck()
    check.only(("path", "timeoutMs", "retryDelayMs"))
    default = HealthCheck()
    path = check.text("path") or default.path
    if not path.startswith("/"):
        check.refuse(f"'path' of the health check starts with a slash, unlike {path[:100]!r}", "path")
    timeout, delay = check.integer("timeoutMs"), check.integer("retryDelayMs")
    return HealthCheck(
        path,
        default.timeout if timeout is None else timeout / 1000,
        default.retry_delay if delay is None else delay / 1000,
    )


def _filled(fields: Fields, key: str, texts: Any, environ: Mapping[str, str]) -> dict[str | int, str]:
    filled: dict[str | int, str] = {}
    for part, text in texts:
        try:
            filled[part] = substitute(text, environ)
        except ValueError as error:
            fields.refuse(str(error), key, part)
    return filled
