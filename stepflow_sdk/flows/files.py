"""Reads JSON and YAML files."""

import os
from pathlib import Path
from typing import Final

from stepflow_sdk.flows.diagnostics import did_you_mean
from stepflow_sdk.flows.json_text import parse_json
from stepflow_sdk.flows.source import Document, unreadable
from stepflow_sdk.flows.yaml_text import KeyRule, parse_yaml

MAX_FILE_BYTES: Final = 64 * 1024 * 1024
"""How large a document may be: as large as a message."""

_LONGEST_PATH: Final = 4096
_EXTENSIONS: Final = (".json", ".yaml", ".yml")


def read_document(path: str | os.PathLike[str], *, value_keys: KeyRule | None = None) -> Document:
    """Read a ``.json``, ``.yaml`` or ``.yml`` file.

    Args:
        path: The file.
        value_keys: See `parse_yaml`; the keys of JSON are always text.

    Raises:
        InvalidDocument: There is no such file, it cannot be read, has another extension, is larger than 64 MiB,
            or its text is not what the extension says.
    """
    file = Path(path)
    name = os.fspath(path)
    if "\n" in name or len(name) > _LONGEST_PATH:
        problem = "this is the text of a document, where the path of a file is wanted; read it with parse_yaml"
        raise unreadable(f"{problem} or parse_json", file=None)
    extension = file.suffix.lower()
    if extension not in _EXTENSIONS:
        found = f"the extension {file.suffix!r}" if file.suffix else "no extension"
        raise unreadable(f"a document is a .json, .yaml or .yml file, and this one has {found}", file=name)
    try:
        with file.open("rb") as stream:
            text = stream.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        hint = did_you_mean(file.name, _beside(file))
        raise unreadable(f"there is no such file{f'; {hint}' if hint else ''}", file=name) from None
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else None
        raise unreadable(f"cannot be read: {said or error}", file=name) from None
    if len(text) > MAX_FILE_BYTES:
        raise unreadable(f"larger than {MAX_FILE_BYTES // 1024**2} MiB", file=name)
    if extension == ".json":
        return parse_json(text, file=name)
    return parse_yaml(text, file=name, value_keys=value_keys)


def _beside(file: Path) -> list[str]:
    try:
        return [entry.name for entry in file.parent.iterdir() if entry.suffix.lower() in _EXTENSIONS]
    except OSError:
        return []
