"""Reads what a configuration says of the builtin components, which is an addition of this library."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from stepflow_sdk.runtime.config import BuiltinConfig
from stepflow_sdk.runtime.config_fields import Fields
from stepflow_sdk.runtime.environment import substitute
from stepflow_sdk.runtime.plugins.builtin_openai import OpenAiSettings, check_base_url

__all__ = ["check_builtin", "read_builtin"]

_KEYS: Final = ("loadFileFrom", "openai")
_OPENAI_KEYS: Final = ("apiKey", "baseUrl", "model", "timeoutSecs")


def read_builtin(root: Fields, environ: Mapping[str, str]) -> BuiltinConfig:
    """Read ``builtin`` of a configuration.

    It stands beside the plugins, because orchestrators refuse a builtin plugin that has any key of its own, and
    overlook what they do not know at the top.

    Raises:
        InvalidConfig: Something in it is wrong.
    """
    fields = root.inner("builtin", "'builtin'")
    if fields is None:
        return BuiltinConfig()
    fields.only(_KEYS)
    return BuiltinConfig(tuple(Path(path) for path in fields.texts("loadFileFrom")), _read_openai(fields, environ))


def check_builtin(fields: Fields) -> None:
    """Check one plugin.

    Raises:
        InvalidConfig: It has keys.
    """
    why = "what is said of builtin components stands under 'builtin' at the top of the configuration"
    fields.only(("type",), dict.fromkeys(_KEYS, why))


def _read_openai(fields: Fields, environ: Mapping[str, str]) -> OpenAiSettings:
    default = OpenAiSettings()
    openai = fields.inner("openai", "'openai'")
    if openai is None:
        return default
    openai.only(_OPENAI_KEYS)
    timeout = openai.number("timeoutSecs")
    if timeout == 0:
        openai.refuse("'timeoutSecs' is more than 0: no model answers in no time", "timeoutSecs")
    base_url = _filled(openai, "baseUrl", environ)
    if base_url is not None:
        try:
            check_base_url(base_url)
        except ValueError as error:
            openai.refuse(f"'baseUrl' of 'openai': {error}", "baseUrl")
    return OpenAiSettings(
        base_url=base_url,
        api_key=_filled(openai, "apiKey", environ),
        model=openai.text("model") or default.model,
        timeout=default.timeout if timeout is None else timeout,
    )


def _filled(fields: Fields, key: str, environ: Mapping[str, str]) -> str | None:
    text = fields.text(key)
    try:
        return None if text is None else substitute(text, environ) or None
    except ValueError as error:
        return fields.refuse(str(error), key)
