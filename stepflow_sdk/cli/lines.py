"""Many inputs: read from JSON lines, their outcomes written as JSON lines."""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from stepflow_sdk.cli.arguments import UsageError
from stepflow_sdk.cli.output import Output
from stepflow_sdk.errors import InvalidDocument
from stepflow_sdk.flows import parse_json
from stepflow_sdk.flows.values import Json

__all__ = ["count_lines", "open_lines", "read_lines"]

_LONGEST_LINE: Final = 64 * 1024 * 1024


def count_lines(file: str) -> int:
    """Read every line once, so that nothing runs when one of them is wrong; returns how many inputs there are.

    Raises:
        UsageError: The file cannot be read twice, or a line is not JSON.
    """
    if os.path.exists(file) and not os.path.isfile(file):  # noqa: PTH110, PTH113  (it has no names that it cannot take)
        raise UsageError(f"--inputs {file}: not a regular file, and it is read twice; write the lines to a file first")
    return sum(1 for _ in read_lines(file))


def read_lines(file: str) -> Iterator[Json]:
    """Read one input after the other; lines without text are passed over.

    Raises:
        UsageError: The file cannot be read, or a line is not JSON; the message names the line.
    """
    try:
        with Path(file).open("rb") as stream:
            number = 0
            while line := stream.readline(_LONGEST_LINE + 1):
                number += 1
                if len(line) > _LONGEST_LINE:
                    raise UsageError(f"--inputs {file}:{number}: longer than {_LONGEST_LINE // 1024**2} MiB")
                if line.strip():
                    yield _parsed(line.rstrip(b"\r\n"), f"--inputs {file}:{number}")
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else None
        raise UsageError(f"--inputs {file}: cannot be read: {said or error}") from None


def _parsed(line: bytes, place: str) -> Json:
    try:
        return parse_json(line).value
    except InvalidDocument as error:
        column = "" if error.column is None else f":{error.column}"
        raise UsageError(f"{place}{column}: {error.problem}") from None


@contextmanager
def open_lines(output: Output, file: str | None) -> Generator[Callable[[Any], None], None, None]:
    """Open a file, or stdout, for values that are written one to a line, each at once.

    Raises:
        UsageError: The file cannot be written.
    """
    if file is None:
        yield lambda value: output.write(_line(value).decode())
        return
    try:
        # Without a buffer: whoever follows the file sees what is done, also of a run that is interrupted.
        stream = Path(file).open("wb", buffering=0)  # noqa: SIM115  (closed below; only its opening is a wrong usage)
    except OSError as error:
        raise _unwritable(file, error) from None

    def write(value: Any) -> None:
        try:
            stream.write(_line(value))
        except OSError as error:
            raise _unwritable(file, error) from None

    with stream:
        yield write


def _unwritable(file: str, error: OSError) -> UsageError:
    return UsageError(f"--output {file}: cannot be written: {error.strerror or error}")


def _line(value: Any) -> bytes:
    return msgspec.json.encode(value) + b"\n"
