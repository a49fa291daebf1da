"""Output: results alone on stdout, everything else on stderr."""

import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, BinaryIO, Self, TextIO

import msgspec

from stepflow_sdk.cli.arguments import UsageError
from stepflow_sdk.errors import WireError
from stepflow_sdk.flows import dump_yaml
from stepflow_sdk.flows.values import is_array, is_object

__all__ = [
    "Output",
    "as_json",
    "as_yaml",
    "check_writable",
    "explain",
    "printable",
    "replace_file",
    "say",
    "say_as",
    "write_line",
]

_YAML = (".yaml", ".yml")
# Texts come from flows and servers: what would move the cursor or the colours of a terminal is not written.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


Recorder = Callable[[str, int], str]
"""Makes a record of the log of what is said, and how grave it is."""


class _Saying:
    """How things are said: for people, or as records of a log."""

    recorder: Recorder | None = None


def say_as(recorder: Recorder | None) -> None:
    """From now on say things as records of a log, or with None for people again."""
    _Saying.recorder = recorder


def say(text: str, level: int = logging.INFO) -> None:
    """Write a line for people to stderr; as a record with this level where the log has a format of its own."""
    write_line(text if _Saying.recorder is None else _Saying.recorder(text, level))


def write_line(text: str) -> None:
    """Write a line to stderr as it is."""
    stream = sys.stderr
    if stream is not None:
        stream.write(f"{printable(text, stream)}\n")
        stream.flush()


def printable(text: str, stream: TextIO | None = None) -> str:
    """Return a text without what would move the cursor, and without what the stream has no code for."""
    shown = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return shown.encode(encoding, "replace").decode(encoding)


def explain(error: WireError) -> str:
    """One error in lines for people: code, message, and each problem of an input with its path."""
    lines = [f"[{error.code}] {error.message}"]
    problems: object = error.data.get("problems") if is_object(error.data) else None
    if is_array(problems) and len(problems) > 1:
        lines += [
            f"  {problem.get('path')}: {problem.get('message')}" for problem in problems[:20] if is_object(problem)
        ]
    return "\n".join(lines)


class Output:
    """Stdout, taken aside while a command runs.

    Servers in this process print, and so do the modules they come from: until the end, descriptor 1 is stderr.
    """

    def __init__(self) -> None:
        self._stream: BinaryIO | None = None
        self._prints = redirect_stdout(sys.stderr)

    def __enter__(self) -> Self:
        if sys.stdout is None:
            raise UsageError("stdout is closed; results go there")
        sys.stdout.flush()
        self._stream = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        self._prints.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            self._prints.__exit__(None, None, None)
            sys.stdout.flush()
            os.dup2(stream.fileno(), 1)
            stream.close()

    @property
    def terminal_width(self) -> int | None:
        """The columns of the terminal that stdout is, or None when it is none."""
        if self._stream is None or not self._stream.isatty():
            return None
        # A terminal that does not know its size says 0.
        return os.get_terminal_size(self._stream.fileno()).columns or 80

    def write(self, text: str) -> None:
        """Write text to the stdout that the command was started with."""
        if self._stream is not None:
            self._stream.write(text.encode("utf-8", "replace"))
            self._stream.flush()

    def write_value(self, value: Any, file: str | None = None) -> None:
        """Write a value to a file, or to stdout: as YAML when the name of the file ends so, else as JSON.

        Raises:
            UsageError: The file cannot be written.
        """
        text = as_yaml(value) if file is not None and file.lower().endswith(_YAML) else as_json(value)
        if file is None:
            self.write(text)
        else:
            replace_file(Path(file), text)


def as_json(value: Any) -> str:
    """A value as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def as_yaml(value: Any) -> str:
    """A value as YAML."""
    return dump_yaml(msgspec.to_builtins(value))


def check_writable(file: str | None) -> None:
    """Find out before a long run that its result could not be written.

    Raises:
        UsageError: The directory is not there.
    """
    if file is None:
        return
    if os.path.isdir(file):  # noqa: PTH112  (it has no names that it cannot take)
        raise UsageError(f"--output {file}: is a directory")
    if not os.path.isdir(Path(file).absolute().parent):  # noqa: PTH112  (as above)
        raise UsageError(f"--output {file}: its directory does not exist")


def replace_file(file: Path, text: str, flag: str = "--output") -> None:
    """Write a file whole or not at all; one that is there keeps its permissions.

    Raises:
        UsageError: The file cannot be written; the message starts with the flag that named it.
    """
    try:
        if file.exists() and not file.is_file():
            file.write_text(text, "utf-8")
            return
        file = file.resolve()
        mode = file.stat().st_mode & 0o777 if file.exists() else 0o666 & ~_umask()
        with tempfile.NamedTemporaryFile("wb", dir=file.parent, delete=False) as stream:
            stream.write(text.encode())
        temporary = Path(stream.name)
        try:
            temporary.chmod(mode)
            temporary.replace(file)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(f"{flag} {file}: cannot be written: {error.strerror or error}") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
