"""Writes JSON values as YAML that `parse_yaml`, and upstream's reader, read back to the same value."""

import re
import sys
from functools import cache
from typing import Any, Final

from stepflow_sdk.flows.canonical import format_float
from stepflow_sdk.flows.values import Json, ValueKey, plain
from stepflow_sdk.flows.yaml_scalars import read_scalar

_TAG: Final = "tag:yaml.org,2002:"
# The library writes these line breaks of Unicode as they are, and a reader folds them into blanks.
_BREAKS: Final = re.compile("[\x85\u2028\u2029\ufeff]")
_TAGS: Final[dict[type, str]] = {type(None): "null", bool: "bool", int: "int", float: "float"}


def dump_yaml(value: Json) -> str:
    """Write a JSON value as a YAML document in block style, keys in the order they have.

    Raises:
        InvalidValue: The value is not JSON.
    """
    import yaml

    text: str = yaml.dump(
        plain(value), Dumper=_dumper(), sort_keys=False, allow_unicode=True, default_flow_style=False, width=110
    )
    return text


def flow_yaml(value: Json) -> str:
    """Write a JSON value as YAML in one line.

    Raises:
        InvalidValue: The value is not JSON.
    """
    import yaml

    text: str = yaml.dump(
        plain(value), Dumper=_dumper(), sort_keys=False, allow_unicode=True, default_flow_style=True, width=sys.maxsize
    )
    # Behind a scalar the library writes that the document ends.
    return text.removesuffix("...\n").rstrip("\n")


@cache
def _dumper() -> Any:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Quotes what the reader would not take for a string, by the reader's own rules."""

        def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
            if kind is not yaml.ScalarNode:
                return f"{_TAG}{'map' if kind is yaml.MappingNode else 'seq'}"
            return f"{_TAG}{_plain_tag(value) if implicit[0] else 'str'}"

        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # every value is written out
            return True

        def represent_finite(self, data: float) -> Any:
            untyped: Any = self
            return untyped.represent_scalar(f"{_TAG}float", format_float(data))

        def represent_text(self, data: str) -> Any:
            untyped: Any = self
            return untyped.represent_scalar(f"{_TAG}str", data, style='"' if _BREAKS.search(data) else None)

        def represent_value_key(self, data: ValueKey) -> Any:
            untyped: Any = self
            return untyped.represent_data(data.value)

    Dumper.add_representer(ValueKey, Dumper.represent_value_key)
    Dumper.add_representer(str, Dumper.represent_text)
    Dumper.add_representer(float, Dumper.represent_finite)
    return Dumper


def _plain_tag(text: str) -> str:
    try:
        value: object = read_scalar(text)
    except ValueError:
        return "int"  # too large for the reader: only quotes make a string of it
    return _TAGS.get(type(value), "str")
