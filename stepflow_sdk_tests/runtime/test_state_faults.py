"""State files whose disk, lock, folder or log fails them: a clear error, and on again when the cause is gone."""

import contextlib
import gc
import os
import random
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from stepflow_sdk.cli import run_program
from stepflow_sdk.errors import CorruptState, ResourceUnavailable, StateError
from stepflow_sdk.protocol import FlowResultSuccess
from stepflow_sdk.runtime import LocalRuntime, RunQuery, RunRecord
from stepflow_sdk.runtime.stores import connecting, schema
from stepflow_sdk.runtime.stores.recovery import recover_file
from stepflow_sdk.runtime.stores.sqlite import SqliteState
from stepflow_sdk_tests.runtime.migration_program import use_later_versions
from stepflow_sdk_tests.runtime.scripted import Scripted
from stepflow_sdk_tests.runtime.state_tools import chain, crash_image, fill, submit


def _record(name: str) -> RunRecord:
    return RunRecord(name, "f", None, None, 0.0)


async def _filled(path: Path, *names: str, text: str = "x") -> None:
    """A closed state file with runs of these names."""
    state = await SqliteState.open(path)
    for name in names:
        await state.runs.create(_record(name), [text])
    await state.close()


async def _names(path: Path) -> list[str]:
    state = await SqliteState.open(path)
    try:
        return [run.run_id for run in await state.runs.find(RunQuery())]
    finally:
        await state.close()


def _listed(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def _connections() -> list[sqlite3.Connection]:
    """The connections to databases that this process has open."""
    opened: list[sqlite3.Connection] = []
    for thing in gc.get_objects():
        if type(thing) is sqlite3.Connection:
            with contextlib.suppress(sqlite3.ProgrammingError):  # it is closed
                thing.total_changes  # noqa: B018
                opened.append(thing)
    return opened


# ---- locked by programs that are no runtimes --------------------------------------------------------------------


def _lock(path: Path) -> sqlite3.Connection:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    return other


@pytest.mark.promise("D7")
async def test_a_file_that_another_program_has_locked_is_told_and_opened_when_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.db"
    await _filled(path, "first")
    monkeypatch.setattr(connecting, "_BUSY_SECONDS", 0.05)
    other = _lock(path)
    gc.collect()
    before = _connections()
    with pytest.raises(StateError, match="database is locked: by another program than a runtime") as caught:
        await SqliteState.open(path)
    # Its traceback holds whatever was not closed.
    # What another test may have left, and what is closed by now, is none of this one's.
    assert [each for each in _connections() if each not in before] == []
    assert caught.type is StateError
    other.close()
    assert await _names(path) == ["first"]


@pytest.mark.promise("D5")
async def test_a_run_goes_on_when_another_program_lets_go_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.db"
    monkeypatch.setattr(connecting, "_BUSY_SECONDS", 0.05)
    blocked, go_on = anyio.Event(), anyio.Event()

    async def work(input: Any) -> Any:
        blocked.set()
        await go_on.wait()
        return input

    async with LocalRuntime(Scripted(work=work), state=path) as runtime:
        run_id = await submit(runtime, chain(2), 1)
        await blocked.wait()
        other = _lock(path)
        for _ in range(2):
            with pytest.raises(ResourceUnavailable, match="cannot be written: database is locked"):
                await submit(runtime, chain(1), 2)
        go_on.set()
        (run,) = await runtime.engine.runs.find(RunQuery())
        assert run.status == "running"
        other.close()
        with anyio.fail_after(60):
            await runtime.engine.wait(run_id)
        (item,) = await runtime.engine.runs.items(run_id)
        assert item.result == FlowResultSuccess(1)


# ---- gone while it was in use -----------------------------------------------------------------------------------


def _replace(path: Path) -> None:
    shutil.copyfile(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


LOSSES: dict[str, Callable[[Path], object]] = {
    "the folder": lambda path: shutil.rmtree(path.parent),
    "the file": lambda path: path.unlink(),
    "the log": lambda path: path.with_name("state.db-wal").unlink(),
    "replaced": _replace,
}


@pytest.mark.skipif(sys.platform == "win32", reason="files that are open cannot be deleted there")
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.promise("D1")
async def test_nothing_is_accepted_into_a_file_that_nobody_can_find_any_more(
    tmp_path: Path, loss: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "folder" / "state.db"
    path.parent.mkdir()
    state = await SqliteState.open(path)
    await state.runs.create(_record("first"), [1])
    LOSSES[loss](path)
    for _ in range(2):
        with pytest.raises(StateError, match="was deleted or replaced while in use"):
            await state.runs.create(_record("second"), [1])
        with pytest.raises(StateError, match="was deleted or replaced"):
            await state.blobs.put(1)
    await state.close()
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.skipif(sys.platform == "win32", reason="files that are open cannot be deleted there")
async def test_a_run_whose_file_is_gone_is_interrupted_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.db"

    async def work(input: Any) -> Any:
        path.unlink(missing_ok=True)
        return input

    async with LocalRuntime(Scripted(work=work), state=path) as runtime:
        run_id = await submit(runtime, chain(2), 1)
        with anyio.fail_after(60):
            await runtime.engine.wait(run_id)
    (said,) = [record for record in caplog.records if run_id in record.getMessage()]
    assert "was interrupted: " in said.getMessage()
    assert said.exc_info is None


# ---- no room ----------------------------------------------------------------------------------------------------


@pytest.mark.promise("D5")
async def test_a_disk_that_is_full_before_is_told_and_nothing_is_harmed(small_disk: Path) -> None:
    path = small_disk / "state.db"
    await _filled(path, "first")
    ballast = fill(small_disk)
    with pytest.raises(StateError, match="full"):
        await SqliteState.open(path)
    with pytest.raises(StateError, match=r"new\.db: cannot be made: .*full"):
        await SqliteState.open(small_disk / "new.db")
    assert "new.db.new" not in _listed(small_disk)
    ballast.unlink()
    assert await _names(path) == ["first"]
    assert await _names(small_disk / "new.db") == []


@pytest.mark.parametrize("room_for_backup", [True, False])
@pytest.mark.promise("D9")
async def test_a_migration_without_room_leaves_the_file_as_it_was(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, room_for_backup: bool
) -> None:
    path, backup = small_disk / "state.db", f"state.db.v{schema.VERSION}.bak"
    await _filled(path, "first", text="x" * 150_000)
    before = path.read_bytes()
    (small_disk / "ballast").write_bytes(b"x" * (500_000 if room_for_backup else 700_000))
    with monkeypatch.context() as patch:
        use_later_versions(patch.setattr)
        with pytest.raises(StateError, match=f"from version {schema.VERSION} .* full; it is as it was"):
            await SqliteState.open(path)
        assert path.read_bytes() == before
        assert (backup in _listed(small_disk)) == room_for_backup
        (small_disk / "ballast").unlink()
        assert await _names(path) == ["first"]
    assert await _names(small_disk / backup) == ["first"]


async def test_what_has_no_room_is_not_taken_for_damaged_by_recover(small_disk: Path, tmp_path: Path) -> None:
    source = tmp_path / "state.db"
    async with LocalRuntime(state=source) as runtime:
        for n in range(10):
            await runtime.put_blob({"n": n, "text": "x" * 200_000})
    with pytest.raises(StateError, match=r"new\.db: cannot be made: .*full"):
        recover_file(source, small_disk / "new.db")
    assert _listed(small_disk) == []
    assert recover_file(source, tmp_path / "new.db").blobs == 10


# ---- read only --------------------------------------------------------------------------------------------------


async def test_a_file_on_a_disk_for_reading_can_be_looked_at_and_copied(
    small_disk: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = small_disk / "state.db"
    await _filled(path, "first")
    await anyio.run_process(["mount", "-o", "remount,ro", str(small_disk)])
    with pytest.raises(StateError, match="Read-only file system"):
        await SqliteState.open(path)
    assert run_program(["runs", "--state", str(path)]) == 0
    assert capfd.readouterr().out.startswith("first ")
    assert recover_file(path, tmp_path / "new.db").runs == 1
    with pytest.raises(StateError, match="Read-only file system"):
        recover_file(path, small_disk / "new.db")
    await anyio.run_process(["mount", "-o", "remount,rw", str(small_disk)])
    assert await _names(path) == ["first"]


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="nothing is read-only for the superuser")
async def test_a_file_or_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "state.db"
    path.parent.mkdir()
    await _filled(path, "first")
    path.chmod(0o400)
    with pytest.raises(StateError, match="cannot be"):
        await SqliteState.open(path)
    path.chmod(0o600)
    path.with_name("state.db.lock").unlink()
    path.parent.chmod(0o500)
    with pytest.raises(StateError, match="Permission denied"):
        await SqliteState.open(path)
    path.parent.chmod(0o700)
    assert await _names(path) == ["first"]


# ---- logs that do not belong to their file ----------------------------------------------------------------------


async def test_the_index_of_a_log_may_be_rubbish_or_gone(tmp_path: Path) -> None:
    async with LocalRuntime(Scripted(), state=tmp_path / "state.db") as runtime:
        await runtime.run({"output": 1}, run_id="one")
        for name, content in (("gone", None), ("empty", b""), ("rubbish", os.urandom(32768))):
            image = crash_image(tmp_path / "state.db", f"{name}.db")
            if content is not None:
                image.with_name(f"{image.name}-shm").write_bytes(content)
            assert await _names(image) == ["one"]


@pytest.mark.promise("D6")
async def test_an_older_copy_with_the_log_of_a_newer_file_is_told_or_says_the_truth(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    old = [f"old-{n}" for n in range(30)]
    await _filled(path, *old, text="x" * 3000)
    older = path.read_bytes()
    state = await SqliteState.open(path)
    for n in range(30):
        await state.runs.create(_record(f"new-{n}"), ["y" * 3000])
    await state.close()
    state = await SqliteState.open(path)
    await state.runs.create(_record("newest"), ["z"])
    image = crash_image(path)
    await state.close()
    image.write_bytes(older)
    with pytest.raises(CorruptState, match="is damaged"):
        await _names(image)
    assert image.read_bytes() == older


@pytest.mark.promise("D6")
async def test_a_damaged_log_ends_where_the_damage_is(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    names = [f"run-{n}" for n in range(10)]
    state = await SqliteState.open(path)
    for name in names:
        await state.runs.create(_record(name), ["x" * 3000])
    image = crash_image(path)
    await state.close()
    log = image.with_name(f"{image.name}-wal")
    whole, content = log.read_bytes(), image.read_bytes()
    chance = random.Random(1)
    found: list[int] = []
    for _ in range(40):
        place = chance.randrange(len(whole) - 4)
        log.write_bytes(whole[:place] + chance.randbytes(4) + whole[place + 4 :])
        image.write_bytes(content)
        known = (await _names(image))[::-1]
        assert known == names[: len(known)]
        found.append(len(known))
    assert len(set(found)) > 5
