"""Reads JSON and YAML files."""

import os
from pathlib import Path
from typing import Final

from stepflow_sdk.flows.diagnostics import did_you_mean
from stepflow_sdk.flows.json_text import parse_json
from stepflow_sdk.flows.source import Document, unreadable
from stepflow_sdk.flows.yaml_text import parse_yaml

MAX_FILE_BYTES: Final = 64 * 1024 * 1024
"""How large a document may be: as large as a message."""

_LONGEST_PATH: Final = 4096
_READERS: Final = {".json": parse_json, ".yaml": parse_yaml, ".yml": parse_yaml}


def read_document(path: str | os.PathLike[str]) -> Document:
    """Read a ``.json``, ``.yaml`` or ``.yml`` file.

    Raises:
        InvalidDocument: There is no such file, it cannot be read, has another extension, is larger than 64 MiB,
            or its text is not what the extension says.
    """
    file = Path(path)
    name = os.fspath(path)
    if "\n" in name or len(name) > _LONGEST_PATH:
        problem = "this is the text of a document, where the path of a file is wanted; read it with parse_yaml"
        raise unreadable(f"{problem} or parse_json", file=None)
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
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
    return reader(text, file=name)


def _beside(file: Path) -> list[str]:
    try:
        return [entry.name for entry in file.parent.iterdir() if entry.suffix.lower() in _READERS]
    except OSError:
        return []
