"""Servers named on the command line as ``module:name``."""

import importlib
import sys
import traceback
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

from stepflow_sdk.cli.arguments import UsageError
from stepflow_sdk.server import StepflowServer

__all__ = ["import_servers"]


def import_servers(texts: Sequence[str]) -> list[StepflowServer[Any] | dict[str, StepflowServer[Any]]]:
    """Import servers; modules are looked for in the current directory first.

    Args:
        texts: ``module:name``, or ``prefix=module:name`` for one whose components are under ``/prefix/``.

    Raises:
        UsageError: One has not this form, cannot be imported, or is no server.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    servers: list[StepflowServer[Any] | dict[str, StepflowServer[Any]]] = []
    for text in texts:
        prefix, equals, path = text.rpartition("=")
        server = _import_server(path)
        servers.append({prefix: server} if equals else server)
    return servers


def _import_server(path: str) -> StepflowServer[Any]:
    module_name, colon, name = path.partition(":")
    if not (module_name and colon and name):
        raise UsageError(f"--server {path[:80]}: a server is named MODULE:NAME, such as my_components:server")
    module = _import_module(module_name)
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if _is_server(found):
        return found
    there = [known for known, value in vars(module).items() if _is_server(value)]
    hint = f"; its servers are {', '.join(f'{module_name}:{known}' for known in there)}" if there else ""
    problem = f"has no {name!r}" if found is None else f"has {name!r}, but it is {_kind(found)}, not a StepflowServer"
    raise UsageError(f"--server {path}: module {module_name!r} {problem}{hint}")


def _is_server(value: object) -> TypeGuard[StepflowServer[Any]]:
    return isinstance(value, StepflowServer)


def _kind(value: object) -> str:
    return "a class" if isinstance(value, type) else f"an instance of {type(value).__name__}"


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name != missing and not name.startswith(f"{missing}."):
            raise UsageError(f"--server: module {name!r} cannot be imported: {error}{_place(error)}") from None
        close = get_close_matches(missing, _modules_here(), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "; modules are looked for here and where Python looks"
        raise UsageError(f"--server: there is no module {missing!r}{hint}") from None
    except (Exception, SystemExit) as error:
        # Whatever the module does when it is imported is the author's mistake: its line helps, our traceback does not.
        said = f"{type(error).__name__}: {error}"
        raise UsageError(f"--server: module {name!r} cannot be imported: {said}{_place(error)}") from None


def _place(error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    last = frames[-1] if frames else None
    return "" if last is None or last.filename == __file__ else f" ({last.filename}, line {last.lineno})"


def _modules_here() -> list[str]:
    here = Path()
    return [
        *(path.stem for path in here.glob("*.py")),
        *(path.parent.name for path in here.glob("*/__init__.py")),
    ]
