"""Whether packages have known vulnerabilities, as far as the service that knows can be reached."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any, NamedTuple

SECONDS = 60.0
_DAY = 24 * 3600.0
_STAMP = Path(sys.prefix, ".advisories.json")


class Checked(NamedTuple):
    """What is known, in a line, and the vulnerabilities."""

    said: str
    finds: Sequence[str] = ()


def check_advisories(packages: Mapping[str, Distribution], *, stamp: Path = _STAMP) -> Checked:
    """Ask the advisory service, once a day for the same packages.

    One package is asked for first: where there is no answer for it, nothing is checked, and no time lost.
    """
    pins = sorted(f"{name}=={package.version}" for name, package in packages.items())
    if _is_fresh(stamp, pins):
        return Checked(f"no known vulnerability in {len(pins)} packages (asked within a day)")
    if (reason := _unanswered(_audit(pins[:1]))) is not None:
        return Checked(f"not checked: {reason}")
    answer = _audit(pins)
    if isinstance(answer, str):
        return Checked(f"not checked: {answer}")
    finds = [
        f"{entry['name']} {entry['version']}: {', '.join(vulnerability['id'] for vulnerability in entry['vulns'])}"
        for entry in answer
        if entry.get("vulns")
    ]
    skipped = sum("skip_reason" in entry for entry in answer)
    if not finds and not skipped:
        stamp.write_text(json.dumps(pins))
    missed = f", {skipped} of them not checked" if skipped else ""
    return Checked(f"{len(finds)} of {len(pins)} packages have known vulnerabilities{missed}", finds)


def _is_fresh(stamp: Path, pins: list[str]) -> bool:
    try:
        return time.time() - stamp.stat().st_mtime < _DAY and json.loads(stamp.read_text()) == pins
    except (OSError, ValueError):
        return False


def _unanswered(answer: list[dict[str, Any]] | str) -> str | None:
    if isinstance(answer, str):
        return answer
    return next((str(entry["skip_reason"]) for entry in answer if "skip_reason" in entry), None)


def _audit(pins: list[str]) -> list[dict[str, Any]] | str:
    """What pip-audit says of each package, or why it says nothing."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "requirements.txt")
        file.write_text("\n".join(pins))
        command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--requirement", str(file)]
        command += ["--format", "json", "--progress-spinner", "off", "--timeout", "3"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return f"the advisory service did not answer within {SECONDS:.0f} s"
    try:
        entries: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
        return (lines or ["pip-audit said nothing"])[-1][:300]
    return entries
