import os
import socket
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from stepflow_sdk.errors import AccessDenied, ComponentError
from stepflow_sdk.protocol import FlowResultFailed
from stepflow_sdk.runtime import LocalRuntime
from stepflow_sdk_tests.runtime.scripted import stack_of

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="links and pipes are POSIX things here")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, which has something beside it."""
    tmp_path = tmp_path.resolve()
    (tmp_path / "here").mkdir()
    (tmp_path / "here-too").mkdir()
    (tmp_path / "here-too" / "secret.txt").write_text("secret")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


async def load(runtime: LocalRuntime, path: str, **more: str) -> Any:
    return await runtime.execute("/builtin/load_file", {"path": path, **more})


def configured(folder: Path, *more: str) -> LocalRuntime:
    return LocalRuntime.from_config(
        {
            "workingDirectory": str(folder),
            "plugins": {"builtin": {"type": "builtin"}},
            "builtin": {"loadFileFrom": list(more)},
            "routes": {"/builtin/{*component}": [{"plugin": "builtin"}]},
        }
    )


@pytest.mark.parametrize(
    ("name", "text", "format", "data"),
    [
        ("a.json", '{"a": [1, 1.0]}', "json", {"a": [1, 1.0]}),
        ("a.yaml", "a: yes\nb: 010\n", "yaml", {"a": "yes", "b": "010"}),
        ("a.yml", "~", "yaml", None),
        ("a.txt", "{}", "text", "{}"),
        ("a.JSON", "{}", "text", "{}"),
        ("none", "é", "text", "é"),
    ],
)
async def test_a_file_is_read_by_its_extension(
    here: Path, local: LocalRuntime, name: str, text: str, format: str, data: Any
) -> None:
    (here / name).write_text(text, encoding="utf-8")
    loaded = await load(local, name)
    assert loaded["data"] == data
    size = len(text.encode())
    assert loaded["metadata"] == {"resolved_path": str(here / name), "size_bytes": size, "format": format}
    assert await load(local, str(here / name)) == loaded


async def test_a_format_that_is_given_counts(here: Path, local: LocalRuntime) -> None:
    (here / "a.txt").write_text("{}")
    assert (await load(local, "a.txt", format="json"))["data"] == {}
    assert (await load(local, "a.txt", format="yaml"))["metadata"]["format"] == "yaml"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none", None, "No such file"),
        ("a\0b", None, "null"),
        ("bad.json", b"{", r"bad\.json"),
        ("bad.yaml", b"a: [", r"bad\.yaml"),
        ("bad.txt", b"\xff", "it is not UTF-8 text"),
        (".", None, "it is not a file"),
    ],
)
async def test_a_file_that_cannot_be_read_is_named_with_the_reason(
    here: Path, local: LocalRuntime, name: str, content: bytes | None, said: str
) -> None:
    if content is not None:
        (here / name).write_bytes(content)
    with pytest.raises(ComponentError, match=said):
        await load(local, name)


@POSIX
async def test_a_pipe_is_no_file_and_nobody_waits_for_a_writer(here: Path, local: LocalRuntime) -> None:
    os.mkfifo(here / "pipe")
    with anyio.fail_after(60), pytest.raises(ComponentError, match="it is not a file"):
        await load(local, "pipe")


@pytest.mark.parametrize(
    "path", ["../here-too/secret.txt", "sub/../../here-too/secret.txt", "{parent}/here-too/secret.txt", "..", "/"]
)
@pytest.mark.promise("S9")
async def test_a_file_outside_of_the_working_directory_is_refused(here: Path, local: LocalRuntime, path: str) -> None:
    with pytest.raises(AccessDenied, match=r"outside of the working directory.*`builtin: {loadFileFrom"):
        await load(local, path.format(parent=here.parent))


@POSIX
@pytest.mark.promise("S9")
async def test_a_link_does_not_lead_out_of_the_working_directory(here: Path, local: LocalRuntime) -> None:
    (here / "link.txt").symlink_to(here.parent / "here-too" / "secret.txt")
    (here / "folder").symlink_to(here.parent / "here-too")
    for path in ("link.txt", "folder/secret.txt"):
        with pytest.raises(AccessDenied):
            await load(local, path)
    (here / "real.txt").write_text("mine")
    (here / "inside.txt").symlink_to("real.txt")
    assert (await load(local, "inside.txt"))["data"] == "mine"


@POSIX
@pytest.mark.promise("S9")
async def test_what_is_put_in_the_place_of_a_directory_meanwhile_does_not_lead_out(
    here: Path, local: LocalRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "folder").mkdir()
    (here / "folder" / "secret.txt").write_text("mine")
    real = os.path.realpath
    left = 2  # the file is looked up first, and the working directory second

    def swap(path: Any) -> str:
        nonlocal left
        found = str(real(path))
        left -= 1
        if left == 0:
            (here / "folder").rename(here / "old")
            (here / "folder").symlink_to(here.parent / "here-too")
        return found

    monkeypatch.setattr(os.path, "realpath", swap)
    with pytest.raises(ComponentError, match="cannot read") as caught:
        await load(local, "folder/secret.txt")
    assert left <= 0
    assert "secret" not in str(caught.value).replace("secret.txt", "")


@POSIX
@pytest.mark.promise("S9")
async def test_a_file_that_is_no_plain_one_is_not_even_opened(here: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(here / "socket"))
        async with configured(here, "/dev") as runtime:
            for path in ("socket", "/dev/null", "/dev/zero", "/dev/tty"):
                with pytest.raises(ComponentError, match=r"it is not a file|No such"):
                    await load(runtime, path)


async def test_a_refused_file_fails_its_step_as_a_builtin_error(here: Path, local: LocalRuntime) -> None:
    step = {"id": "s", "component": "/builtin/load_file", "input": {"path": "../x"}}
    outcome = await local.run({"steps": [step], "output": {"$step": "s"}})
    assert isinstance(outcome, FlowResultFailed)
    assert (outcome.error.code, outcome.error.message) == (-32300, 'step "s" failed')
    assert "outside of the working directory" in stack_of(outcome)[-1]["error"]


@pytest.mark.parametrize("opened", ["../here-too", "{parent}/here-too", "/"])
async def test_a_configuration_opens_more_directories(here: Path, opened: str) -> None:
    async with configured(here, opened.format(parent=here.parent)) as runtime:
        assert (await load(runtime, "../here-too/secret.txt"))["data"] == "secret"
        (here / "mine.txt").write_text("mine")
        assert (await load(runtime, "mine.txt"))["data"] == "mine"
        if opened != "/":
            with pytest.raises(AccessDenied):
                await load(runtime, "/")
