"""Reads plugins of ``type: builtin`` (section e.1 of the flow format); their keys are additions of this library."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from stepflow_sdk.runtime.config import BuiltinConfig
from stepflow_sdk.runtime.config_fields import Fields
from stepflow_sdk.runtime.environment import substitute
from stepflow_sdk.runtime.plugins.builtin_openai import OpenAiSettings, check_base_url

__all__ = ["read_builtin"]

_OPENAI_KEYS: Final = ("apiKey", "baseUrl", "model", "timeoutSecs")


def read_builtin(fields: Fields, name: str, environ: Mapping[str, str]) -> BuiltinConfig:
    """Read one plugin.

    Raises:
        InvalidConfig: Something in it is wrong.
    """
    fields.only(("type", "loadFileFrom", "openai"))
    return BuiltinConfig(
        tuple(Path(path) for path in fields.texts("loadFileFrom")), _read_openai(fields, name, environ)
    )


def _read_openai(fields: Fields, name: str, environ: Mapping[str, str]) -> OpenAiSettings:
    default = OpenAiSettings()
    openai = fields.inner("openai", f"'openai' of plugin {name!r}")
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
            openai.refuse(f"'baseUrl' of plugin {name!r}: {error}", "baseUrl")
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
