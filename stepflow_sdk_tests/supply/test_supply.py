"""What the package brings with it."""

from email.message import Message
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest

from stepflow_sdk_tests.supply import advisories
from stepflow_sdk_tests.supply.licences import refused_licences
from stepflow_sdk_tests.supply.requirements import runtime_packages


class Named(Distribution):
    """A package that says so much of itself."""

    def __init__(self, **fields: str) -> None:
        self._fields = fields

    @property
    def metadata(self) -> Any:
        message = Message()
        for name, value in self._fields.items():
            message[name.replace("_", "-")] = value
        return message

    @property
    def version(self) -> str:
        return "1.0"

    def read_text(self, filename: str) -> None: ...

    def locate_file(self, path: Any) -> Any: ...


def test_the_packages_that_users_get_have_permissive_licences() -> None:
    packages = runtime_packages()
    assert {"msgspec", "anyio", "starlette", "aiohttp", "yarl", "h11"} <= set(packages)
    assert "ruff" not in packages
    assert refused_licences(packages) == []


@pytest.mark.parametrize(
    ("fields", "allowed"),
    [
        ({"License_Expression": "MIT"}, True),
        ({"License_Expression": "Apache-2.0 AND MIT"}, True),
        ({"License_Expression": "GPL-3.0-only OR MIT"}, True),
        ({"License_Expression": "Apache-2.0 AND GPL-3.0-only"}, False),
        ({"License_Expression": "AGPL-3.0-or-later", "License": "MIT"}, False),
        ({"Classifier": "License :: OSI Approved :: MIT License"}, True),
        ({"Classifier": "License :: OSI Approved :: GNU General Public License v3 (GPLv3)"}, False),
        ({}, False),
    ],
)
def test_a_licence_is_allowed_by_the_list(fields: dict[str, str], allowed: bool) -> None:
    assert (refused_licences({"p": Named(**fields)}) == []) is allowed


def entry(**more: Any) -> dict[str, Any]:
    return {"name": "p", "version": "1.0", "vulns": [], **more}


@pytest.mark.parametrize(
    ("answers", "said", "finds"),
    [
        (["no route to the service"], "not checked: no route to the service", []),
        ([[{"name": "p", "skip_reason": "not found"}]], "not checked: not found", []),
        ([[entry()], [entry()]], "0 of 1 packages have known vulnerabilities", []),
        ([[entry()], [entry(vulns=[{"id": "X-1"}])]], "1 of 1 packages have known vulnerabilities", ["p 1.0: X-1"]),
    ],
)
def test_advisories_that_cannot_be_had_are_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: list[Any], said: str, finds: list[str]
) -> None:
    left = list(answers)
    monkeypatch.setattr(advisories, "_audit", lambda pins: left.pop(0))
    checked = advisories.check_advisories({"p": Named()}, stamp=tmp_path / "stamp")
    assert (checked.said, list(checked.finds)) == (said, finds)
    assert (tmp_path / "stamp").exists() is (said.startswith("0"))
