"""The variables of a flow: from the command line and the environment (section c.7 of the flow format)."""

from collections.abc import Mapping

from stepflow_sdk.cli.arguments import Options
from stepflow_sdk.cli.inputs import read_object
from stepflow_sdk.cli.output import say
from stepflow_sdk.errors import InvalidDocument
from stepflow_sdk.flows import Flow, did_you_mean, parse_json
from stepflow_sdk.flows.values import Json

__all__ = ["read_variables"]

_PREFIX = "STEPFLOW_VAR_"


def read_variables(options: Options, flow: Flow, environ: Mapping[str, str]) -> dict[str, Json]:
    """Return the variables of a run: those of the environment where that is asked for, and over them those given.

    Raises:
        UsageError: What is given is not an object, or is given twice.
    """
    found = read_object(options, "variables")
    flag, named = ("", {}) if found is None else found
    for name in named:
        # Upstream allows any name, so this one is passed on; but most likely it is a mistake.
        if flow.variables and name not in flow.variables:
            hint = did_you_mean(name, flow.variables) or f"declared are: {', '.join(sorted(flow.variables)[:20])}"
            say(f"warning: {flag}: the flow declares no variable {name[:60]!r}; {hint}")
    return {**(_from_environment(flow, environ) if options.env_variables else {}), **named}


def _from_environment(flow: Flow, environ: Mapping[str, str]) -> dict[str, Json]:
    values: dict[str, Json] = {}
    for name, declaration in flow.variables.items():
        for key in (declaration.env_var, f"{_PREFIX}{name.upper()}"):
            if key is not None and key in environ:
                values[name] = _value(environ[key])
                break
    return values


def _value(text: str) -> Json:
    """JSON where it is JSON, else the text itself."""
    try:
        return parse_json(text).value
    except InvalidDocument:
        return text
