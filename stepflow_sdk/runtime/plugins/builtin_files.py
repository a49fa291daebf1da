"""The builtin component that reads files."""

import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack
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
_FILE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
"""Opened without waiting: a pipe would wait for somebody who writes into it."""

# Who may pass through a directory need not be allowed to list it.
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_WALKS = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")


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
            # Links are followed before the place is looked at, and none on the way to what is read.
            path = Path(os.path.realpath(named))
            content = _read(self._root_of(path, named), path)
            data = _parse(content, form, named)
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) else None
            said = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else said or str(error)
            raise ComponentError(f"cannot read {os.fspath(named)!r}: {said}") from None
        except InvalidDocument as error:
            raise ComponentError(str(error)) from None
        return LoadedFile(data, {"resolved_path": str(path), "size_bytes": len(content), "format": form})

    def _root_of(self, path: Path, named: Path) -> Path:
        for root in self._roots:
            place = Path(os.path.realpath(root))
            if path.is_relative_to(place):
                return place
        raise AccessDenied(
            f"{os.fspath(named)!r} is outside of the working directory {os.path.realpath(self._directory)!r}; "
            "`builtin: {loadFileFrom: […]}` in a configuration lists directories from which files may be read as well"
        )


def _read(root: Path, path: Path) -> bytes:
    with ExitStack() as opened:
        name: str | Path = path
        folder: int | None = None
        if _WALKS and path != root:
            # Step by step, so that what is put in the place of a directory meanwhile cannot lead anywhere else.
            *parts, name = path.relative_to(root).parts
            folder = os.open(root, _FOLDER)
            opened.callback(os.close, folder)
            for part in parts:
                folder = os.open(part, _FOLDER, dir_fd=folder)
                opened.callback(os.close, folder)
        # Looked at before it is opened: to open a device is to use it.
        _require_file(os.stat(name, dir_fd=folder, follow_symlinks=False) if _WALKS else path.stat())
        descriptor = os.open(name, _FILE, dir_fd=folder)
    with os.fdopen(descriptor, "rb") as file:
        _require_file(os.fstat(descriptor))
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"it is larger than {MAX_FILE_BYTES // 1024**2} MiB")
    return content


def _require_file(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is not a file")


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
