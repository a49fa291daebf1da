"""The input of a flow or a component: from a file, the command line, or stdin."""

import argparse
import sys

from stepflow_sdk.cli.arguments import Options, UsageError
from stepflow_sdk.errors import InvalidDocument
from stepflow_sdk.flows import parse_json, parse_yaml, read_document
from stepflow_sdk.flows.values import Json

__all__ = ["add_input", "given", "read_input"]

_WAYS = "--input FILE, --input-json TEXT or --input-yaml TEXT"


def add_input(parser: argparse.ArgumentParser) -> None:
    """Add the options for one input."""
    group = parser.add_argument_group("input, one of")
    group.add_argument("--input", metavar="FILE", help="a .json, .yaml or .yml file; - is stdin")
    group.add_argument("--input-json", metavar="TEXT", help="JSON text")
    group.add_argument("--input-yaml", metavar="TEXT", help="YAML text")
    group.add_argument("--stdin-format", choices=["json", "yaml"], default="json", help="of stdin (default: json)")


def given(options: Options) -> list[str]:
    """The input options that were used."""
    return [name for name in ("input", "input_json", "input_yaml") if getattr(options, name) is not None]


def read_input(options: Options) -> Json:
    """Read the input; stdin when no option says otherwise.

    Raises:
        UsageError: There are two, there is none, or it is not JSON or YAML.
    """
    ways = given(options)
    flags = [f"--{way.replace('_', '-')}" for way in ways]
    if len(ways) > 1:
        raise UsageError(f"there is one input; give {' or '.join(flags)}")
    way = ways[0] if ways else "stdin"
    try:
        if way == "input_json":
            return parse_json(options.input_json).value
        if way == "input_yaml":
            return parse_yaml(options.input_yaml).value
        if way == "input" and options.input != "-":
            return read_document(options.input).value
        return _read_stdin(options.stdin_format)
    except InvalidDocument as error:
        raise UsageError(f"{flags[0]}: {error}" if ways else str(error)) from None


def _read_stdin(form: str) -> Json:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(f"there is no input; give it with {_WAYS}, or on stdin (--input-json null for none)")
    text = sys.stdin.buffer.read()
    if not text.strip():
        raise UsageError(f"stdin is empty; give the input there or with {_WAYS} (--input-json null for none)")
    reader = parse_json if form == "json" else parse_yaml
    return reader(text, file="stdin").value
