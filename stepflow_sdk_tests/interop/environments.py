"""Packages of other projects, each in an environment of its own, which is kept between runs.

The environments are in ``.venv-interop/`` of the checkout, which git ignores. Two runs that start at once wait for each
other; an installation that was cut off is done again.
"""

import fcntl
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2] / ".venv-interop"
INSTALL_SECONDS = 600.0


class Package(NamedTuple):
    """What is installed, exactly as pip wants to hear it; ``undeclared`` is what it needs and does not say."""

    name: str
    version: str
    extra: str = ""
    undeclared: tuple[str, ...] = ()

    @property
    def requirement(self) -> str:
        extra = f"[{self.extra}]" if self.extra else ""
        return f"{self.name}{extra}=={self.version}"

    @property
    def directory(self) -> Path:
        python = f"py{sys.version_info[0]}.{sys.version_info[1]}"
        return ROOT / "-".join(part for part in (self.name, self.version, self.extra, python) if part)


PEER_070 = Package("stepflow-py", "0.7.0")
PEER_070_HTTP = Package("stepflow-py", "0.7.0", "http")
PEER_0100_HTTP = Package("stepflow-py", "0.10.0", "http")


class InstallFailed(Exception):
    """An environment could not be made."""


@cache
def python_of(package: Package) -> Path:
    """The interpreter of the package's environment, which is made first where it is missing.

    Raises:
        InstallFailed: The package could not be installed.
    """
    python = package.directory / "bin" / "python"
    stamp = package.directory / ".installed"
    ROOT.mkdir(exist_ok=True)
    with _only_one(ROOT / f"{package.directory.name}.lock"):
        if not (stamp.is_file() and stamp.read_text() == package.requirement and python.exists()):
            shutil.rmtree(package.directory, ignore_errors=True)
            venv.create(package.directory, with_pip=False, symlinks=True)
            try:
                _install(package, python)
            except InstallFailed:
                shutil.rmtree(package.directory, ignore_errors=True)
                raise
            stamp.write_text(package.requirement)
    return python


def orchestrator_binary(version: str) -> Path:
    """The server program of a published orchestrator.

    Raises:
        InstallFailed: It could not be installed.
    """
    package = Package("stepflow-orchestrator", version)
    python_of(package)
    found = list(package.directory.glob("lib/python*/site-packages/stepflow_orchestrator/bin/stepflow-server"))
    if not found:
        raise InstallFailed(f"{package.requirement} has no stepflow-server for this platform")
    return found[0]


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _install(package: Package, python: Path) -> None:
    options = ["--quiet", "--disable-pip-version-check", "--no-input"]
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", *options, package.requirement]
    command += package.undeclared
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise InstallFailed(f"{package.requirement} was not installed within {INSTALL_SECONDS:.0f} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["pip said nothing"]
        errors = [line for line in lines if line.startswith("ERROR")]
        raise InstallFailed(f"{package.requirement} could not be installed: {(errors or lines)[-1]}")
