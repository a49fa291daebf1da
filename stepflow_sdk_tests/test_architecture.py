"""The house: floors, names, sizes and what an import costs."""

import ast
import importlib
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import stepflow_sdk

PACKAGE = Path(stepflow_sdk.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

FLOORS: dict[str, set[str]] = {
    "errors": set(),
    "coroutines": set(),
    "steady": set(),
    "tuning": set(),
    "_version": set(),
    "tracing": set(),
    "packed": set(),
    "metrics": set(),
    "protocol": {"packed", "errors"},
    "components": {"packed", "coroutines", "errors"},
    "flows": {"errors"},
    "transports": {"packed", "coroutines", "protocol", "errors"},
    "context": {"packed", "transports", "protocol", "flows", "errors"},
    "monitor": {"metrics", "components", "context", "protocol", "errors"},
    "service": {"steady", "tracing", "monitor", "components", "context", "transports", "protocol", "errors"},
    "dispatch": {
        "packed",
        "tracing",
        "monitor",
        "service",
        "components",
        "context",
        "transports",
        "protocol",
        "errors",
    },
    "mcp_server": {"service", "dispatch", "components", "context", "flows", "transports", "protocol", "errors"},
    "running": {"mcp_server", "steady", "tuning", "service", "dispatch", "server", "context", "transports", "errors"},
    "command_line": {"running", "tuning", "transports"},
    "server": {
        "_version",
        "command_line",
        "running",
        "tuning",
        "monitor",
        "service",
        "dispatch",
        "components",
        "context",
        "transports",
        "protocol",
        "errors",
    },
    "runtime": {"packed", "tracing", "metrics", "flows", "transports", "protocol", "errors"},
}
EVERYTHING_BUT_CLI = {*FLOORS, "__init__"}
FLOORS["testing"] = EVERYTHING_BUT_CLI
FLOORS["cli"] = {*EVERYTHING_BUT_CLI, "testing"}
FLOORS["__main__"] = {*EVERYTHING_BUT_CLI, "testing", "cli"}


def room_of(parts: tuple[str, ...]) -> str:
    return parts[0] if parts else "__init__"


def imported_rooms(path: Path) -> Iterator[str]:
    inside = ("stepflow_sdk", *path.relative_to(PACKAGE).with_suffix("").parts)
    package = inside[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "stepflow_sdk" else [module]
        for name in names:
            top, _, rest = name.partition(".")
            if top == "stepflow_sdk":
                yield room_of(tuple(rest.split(".")) if rest else ())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_floors_below_its_own(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room == "__init__":
        return
    allowed = {room, *FLOORS[room]}
    assert set(imported_rooms(path)) - allowed - {"__version__"} == set()


@pytest.mark.parametrize("path", [path for path in MODULES if path.name == "__init__.py"], ids=str)
def test_an_init_module_holds_imports_and_names_only(path: Path) -> None:
    # That the names are sorted is the linter's to say.
    docstring, *body = ast.parse(path.read_text("utf-8")).body
    assert isinstance(docstring, ast.Expr)
    for node in body:
        assert isinstance(node, ast.Import | ast.ImportFrom) or (
            isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        )


def test_modules_are_small() -> None:
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert max(lines.values()) <= 500, max(lines, key=lambda path: lines[path])
    assert statistics.median(lines.values()) < 150


PUBLIC_NAMES = [
    "AccessDenied",
    "BlobId",
    "BlobNotFound",
    "BlockingContext",
    "ComponentError",
    "ComponentNotFound",
    "CorruptState",
    "DefinitionError",
    "DuplicateComponent",
    "ExpressionError",
    "FlowFailed",
    "Input",
    "InternalError",
    "InvalidConfig",
    "InvalidDocument",
    "InvalidFlow",
    "InvalidInput",
    "InvalidParams",
    "InvalidRequest",
    "InvalidSignature",
    "InvalidValue",
    "MethodNotFound",
    "NotFound",
    "NotInitialized",
    "ParseError",
    "PathParam",
    "RemoteError",
    "RequestTimeout",
    "ResourceUnavailable",
    "Router",
    "ServerError",
    "ServerLost",
    "ServerStopping",
    "SessionExpired",
    "SkipStep",
    "StateError",
    "StepflowContext",
    "StepflowError",
    "StepflowServer",
    "WireError",
    "__version__",
    "current_context",
]


def test_the_public_names_are_these() -> None:
    assert stepflow_sdk.__all__ == PUBLIC_NAMES


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("stepflow_sdk.flows", {"Flow", "FlowBuilder", "Value", "load_flow"}),
        ("stepflow_sdk.runtime", {"LocalRuntime"}),
        ("stepflow_sdk.protocol", {"Peer", "protocol_schema"}),
    ],
)
def test_a_room_exports_what_the_design_names(module: str, names: set[str]) -> None:
    assert names <= set(importlib.import_module(module).__all__)


def test_every_error_is_public() -> None:
    from stepflow_sdk import errors

    assert set(errors.__all__) <= set(stepflow_sdk.__all__)


@pytest.mark.promise("S15")
def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys; before = set(sys.modules); import stepflow_sdk; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    tops = {name.partition(".")[0] for name in done.stdout.split()}
    outside = {name for name in tops if name not in sys.stdlib_module_names} - {"stepflow_sdk"}
    assert outside <= {"msgspec", "anyio", "sniffio", "idna", "typing_extensions", "exceptiongroup"}
