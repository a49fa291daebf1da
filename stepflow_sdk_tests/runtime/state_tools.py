"""What tests of state files share."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from stepflow_sdk.flows import Flow, load_flow
from stepflow_sdk.runtime import LocalRuntime
from stepflow_sdk.runtime.engine import RunOptions

Work = Callable[[Any], Awaitable[Any]]


def crash_image(path: Path, name: str = "crashed.db") -> Path:
    """What a process that was killed now would leave: the file and its log, and no index of the log."""
    image = path.with_name(name)
    for end in ("", "-wal"):
        source = path.with_name(f"{path.name}{end}")
        if source.exists():
            shutil.copyfile(source, image.with_name(f"{name}{end}"))
    return image


@contextlib.contextmanager
def folder_in_memory() -> Iterator[Path]:
    """A folder where no disk is waited for, as far as there is one."""
    memory = Path("/dev/shm")
    # Containers often have a little of it only.
    is_large = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 1 << 30
    with tempfile.TemporaryDirectory(dir=memory if is_large else None) as folder:
        yield Path(folder)


def fill(folder: Path) -> Path:
    """Leave no room on a disk; returns the file that takes it."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as stream:
        while stream.write(b"x" * 4096):
            pass
    return ballast


def chain(length: int, component: str = "/work") -> dict[str, Any]:
    """A flow of steps that each take what the one before gave: ``s0``, ``s1`` and so on."""
    steps = [
        {"id": f"s{n}", "component": component, "input": {"$step": f"s{n - 1}"} if n else {"$input": "$"}}
        for n in range(length)
    ]
    return {"name": "chain", "steps": steps, "output": {"$step": f"s{length - 1}"}}


async def submit(runtime: LocalRuntime, document: dict[str, Any], *inputs: Any, **options: Any) -> str:
    """Start a run as a service would, and return its id."""
    flow: Flow = load_flow(document)
    await runtime.engine.store_flow(flow)
    return await runtime.engine.submit(flow, list(inputs), RunOptions(**options))
