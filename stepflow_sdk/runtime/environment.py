"""Environment variables: in configurations, and of the servers that are started (section e of the flow format)."""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = ["child_environment", "substitute"]

_HANDED_ON: Final = frozenset(
    (
        "COMSPEC",
        "HOME",
        "LANG",
        "LANGUAGE",
        "LOGNAME",
        "PATHEXT",
        "PYTHONPATH",
        "SYSTEMROOT",
        "TEMP",
        "TMP",
        "TMPDIR",
        "TZ",
        "USER",
        "USERPROFILE",
        "VIRTUAL_ENV",
    )
)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_NESTING: Final = 20
_ESCAPED: Final = frozenset("$\\{}:")
_MAX_LENGTH: Final = 1024 * 1024
"""No system takes an argument, or a value of the environment, that is longer."""


def child_environment(env: Mapping[str, str], *, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a component server.

    It gets what ``env`` says, and of ours only what programs need to run at all: ``PATH``, ``HOME``, ``USER``, the
    locale and the time zone, the place of temporary files, ``VIRTUAL_ENV``, ``PYTHONPATH`` and what Windows cannot do
    without. Keys and tokens that are set here do not reach it unless ``env`` names them.

    Its ``PATH`` starts with the directory of the interpreter that runs this, so that ``python`` is the one of this
    virtual environment; a ``PATH`` in ``env`` is taken as it is.
    """
    ours = os.environ if environ is None else environ
    child = {key: value for key, value in ours.items() if key.upper() in _HANDED_ON or key.startswith("LC_")}
    interpreter = os.fspath(Path(sys.executable).parent)
    child["PATH"] = os.pathsep.join(part for part in (interpreter, ours.get("PATH", os.defpath)) if part)
    return {**child, **env}


def substitute(text: str, environ: Mapping[str, str]) -> str:
    r"""Fill in environment variables (section e.2): ``$NAME``, ``${NAME}``, ``${NAME:default}``, ``\$`` for a dollar.

    A backslash likewise takes the meaning from ``\``, ``{``, ``}`` and ``:``; before anything else it is itself.
    A default may hold variables itself. ``${NAME:-default}`` is the same as ``${NAME:default}``, as upstream's manual
    has it. A variable that is set, even to nothing, is used; what it holds is not looked at again.

    Raises:
        ValueError: A variable is not set and has no default, a dollar begins none of these forms, or what comes out
            has more than 1 MiB. The message does not quote the text, which may hold a secret.
    """
    value, end = _read(text, 0, environ, depth=0)
    if end != len(text):
        raise ValueError(f"there is nothing that the '}}' at character {end + 1} closes")
    return value


def _read(text: str, at: int, environ: Mapping[str, str] | None, *, depth: int) -> tuple[str, int]:
    """Read up to the end, or inside braces up to the one that closes them; without an environment only look for it."""
    if depth > _MAX_NESTING:
        raise ValueError(f"defaults are nested deeper than {_MAX_NESTING} levels")
    parts: list[str] = []
    size = 0
    while at < len(text):
        if text[at] == "\\" and text[at + 1 : at + 2] in _ESCAPED:
            parts.append(text[at + 1])
            at += 2
        elif text[at] == "$":
            part, at = _variable(text, at + 1, environ, depth)
            parts.append(part)
            size += len(part)
            if size > _MAX_LENGTH:
                raise ValueError(f"with its variables filled in it is longer than {_MAX_LENGTH // 1024**2} MiB")
        elif text[at] == "}" and depth:
            break
        else:
            parts.append(text[at])
            at += 1
    return "".join(parts), at


def _variable(text: str, at: int, environ: Mapping[str, str] | None, depth: int) -> tuple[str, int]:
    braced = text.startswith("{", at)
    match = _NAME.match(text, at + braced)
    if match is None:
        raise ValueError(rf"no variable name follows the '$' at character {at}; write \$ for a dollar")
    name, at = match[0], match.end()
    default: str | None = None
    if braced:
        if text.startswith(":", at):
            at += 2 if text.startswith(":-", at) else 1
            # The default of a variable that is set is read past, whatever it names.
            used = None if environ is None or name in environ else environ
            default, at = _read(text, at, used, depth=depth + 1)
        if not text.startswith("}", at):
            raise ValueError(f"'${{{name}' is never closed")
        at += 1
    if environ is None:
        return "", at
    value = environ.get(name, default)
    if value is None:
        raise ValueError(f"the environment variable {name!r} is not set, and has no default")
    return value, at
