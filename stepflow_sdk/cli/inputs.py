"""The input of a flow or a component, and other values: from a file, the command line, or stdin."""

import argparse
import sys

from stepflow_sdk.cli.arguments import Options, UsageError
from stepflow_sdk.errors import InvalidDocument
from stepflow_sdk.flows import parse_json, parse_yaml, read_document
from stepflow_sdk.flows.values import Json, describe, is_object

__all__ = ["add_input", "add_value", "given", "read_input", "read_object"]

_WAYS = "--input FILE, --input-json TEXT or --input-yaml TEXT"


def add_input(parser: argparse.ArgumentParser, *, many: bool = False) -> None:
    """Add the options for one input, and with ``many`` the one for a file of them."""
    group = parser.add_argument_group("input, one of")
    group.add_argument("--input", metavar="FILE", help="a .json, .yaml or .yml file; - is stdin")
    group.add_argument("--input-json", metavar="TEXT", help="JSON text")
    group.add_argument("--input-yaml", metavar="TEXT", help="YAML text")
    group.add_argument("--stdin-format", choices=["json", "yaml"], default="json", help="of stdin (default: json)")
    if many:
        group.add_argument("--inputs", metavar="FILE", help="many inputs: a file with one, as JSON, on each line")


def add_value(parser: argparse.ArgumentParser, name: str, what: str) -> None:
    """Add the three options for a value that may be given: a file, JSON text or YAML text."""
    group = parser.add_argument_group(f"{name}, one of")
    group.add_argument(f"--{name}", metavar="FILE", help=f"{what}: a .json, .yaml or .yml file")
    group.add_argument(f"--{name}-json", metavar="TEXT", help="the same as JSON text")
    group.add_argument(f"--{name}-yaml", metavar="TEXT", help="the same as YAML text")


def given(options: Options, name: str = "input") -> list[str]:
    """The options for a value that were used."""
    return [way for way in (name, f"{name}_json", f"{name}_yaml") if getattr(options, way) is not None]


def read_object(options: Options, name: str) -> tuple[str, dict[str, Json]] | None:
    """Read an object that may be given: the option it came from, and what it is.

    Raises:
        UsageError: It is given twice, or is not an object of JSON or YAML.
    """
    ways = given(options, name)
    flags = [f"--{way.replace('_', '-')}" for way in ways]
    if len(ways) > 1:
        raise UsageError(f"{' and '.join(flags)} say the same thing; give one of them")
    if not ways:
        return None
    text: str = getattr(options, ways[0])
    try:
        if ways[0] == name:
            value = read_document(text).value
        else:
            value = (parse_json if ways[0].endswith("_json") else parse_yaml)(text).value
    except InvalidDocument as error:
        raise UsageError(f"{flags[0]}: {error}") from None
    if not is_object(value):
        raise UsageError(f"{flags[0]}: an object is wanted, not {describe(value)}")
    return flags[0], value


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
