"""The builtin component that reads files."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import anyio.to_thread
from msgspec import Struct

from stepflow_sdk.errors import AccessDenied, ComponentError, InvalidDocument
from stepflow_sdk.flows import parse_json, parse_yaml
from stepflow_sdk.flows.files import MAX_FILE_BYTES
from stepflow_sdk.flows.values import MAX_NODES
from stepflow_sdk.protocol import ObservabilityContext
from stepflow_sdk.runtime.plugins.plugin import Host

__all__ = ["FileLoader", "LoadFile", "LoadedFile"]

_FORMATS = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}
_NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class LoadFile(Struct):
    """Input of ``/load_file``; the path is taken from the working directory of the configuration."""

    path: str
    format: Literal["json", "yaml", "text"] | None = None


class LoadedFile(Struct):
    """Output of ``/load_file``; ``metadata`` has ``resolved_path``, ``size_bytes`` and ``format``."""

    data: Any
    metadata: dict[str, str | int]


class FileLoader:
    """Read a file below the working directory; its format is that of the extension, else text, unless given.

    Args:
        directory: The working directory.
        more: Directories below which there may be files too, from the working directory if they are relative.
    """

    def __init__(self, directory: Path, more: Sequence[Path] = ()) -> None:
        self._directory = directory
        self._roots = [directory, *(directory / path for path in more)]

    async def __call__(self, host: Host, input: LoadFile, ids: ObservabilityContext) -> LoadedFile:  # noqa: ARG002  (the same call for each)
        """Read a file."""
        return await anyio.to_thread.run_sync(self._load, input)

    def _load(self, input: LoadFile) -> LoadedFile:
        named = self._directory / input.path
        form = input.format or _FORMATS.get(named.suffix, "text")
        try:
            # Links are followed before the place is looked at, and what was looked at is what is read.
            path = Path(os.path.realpath(named))
            self._require_allowed(path, named)
            content = _read(path)
            data = _parse(content, form, named)
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) else None
            said = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else said or str(error)
            raise ComponentError(f"cannot read {os.fspath(named)!r}: {said}") from None
        except InvalidDocument as error:
            raise ComponentError(str(error)) from None
        return LoadedFile(data, {"resolved_path": str(path), "size_bytes": len(content), "format": form})

    def _require_allowed(self, path: Path, named: Path) -> None:
        if any(path.is_relative_to(os.path.realpath(root)) for root in self._roots):
            return
        raise AccessDenied(
            f"{os.fspath(named)!r} is outside of the working directory {os.path.realpath(self._directory)!r}; "
            "`builtin: {loadFileFrom: […]}` in a configuration lists directories from which files may be read as well"
        )


def _read(path: Path) -> bytes:
    # Opened without waiting: a pipe would wait for somebody who writes into it.
    descriptor = os.open(path, os.O_RDONLY | _NO_WAIT)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError("it is not a file")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"it is larger than {MAX_FILE_BYTES // 1024**2} MiB")
    return content


def _parse(content: bytes, form: str, path: Path) -> Any:
    # Data may be as many values as its size allows, and aliases not many more.
    most = MAX_NODES + len(content)
    match form:
        case "json":
            return parse_json(content, file=str(path), max_nodes=most).value
        case "yaml":
            return parse_yaml(content, file=str(path), max_nodes=most).value
        case _:
            return content.decode()
