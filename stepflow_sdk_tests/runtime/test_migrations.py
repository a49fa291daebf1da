"""Wherever a migration is cut off, the file is an old one or a new one, and the next process finishes it."""

import contextlib
import errno
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from stepflow_sdk.errors import StateError
from stepflow_sdk.runtime import LocalRuntime
from stepflow_sdk.runtime.stores import connecting, migrating, schema
from stepflow_sdk.runtime.stores.opening import check_file
from stepflow_sdk.runtime.stores.sqlite import SqliteState
from stepflow_sdk_tests.runtime.migration_program import LATER, MIGRATIONS, use_later_versions
from stepflow_sdk_tests.runtime.power.disks import WAYS, Disk
from stepflow_sdk_tests.runtime.power.syscalls import CHANGES, Call, recorded, traced, why_not
from stepflow_sdk_tests.runtime.scripted import Scripted
from stepflow_sdk_tests.runtime.state_tools import chain, crash_image, submit

pytestmark = pytest.mark.promise("D9")
REASON = why_not()
watched = pytest.mark.skipif(REASON is not None, reason=REASON or "")

PROGRAM = [sys.executable, "-m", "stepflow_sdk_tests.runtime.migration_program"]
BACKUP = f"state.db.v{schema.VERSION}.bak"
TABLES = {
    "runs": "run_id, status, head, tail, tail_sum",
    "inputs": "run, item, body, sum",
    "steps": "*",
    "results": "*",
    "blobs": "*",
    "pieces": "*",
}

Content = dict[str, list[Any]]


def content_of(path: Path) -> Content:
    """All that is in a file, whatever its version."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return {
            table: sorted(connection.execute(f"SELECT {columns} FROM {table}").fetchall(), key=repr)
            for table, columns in TABLES.items()
        }


async def _work(input: Any) -> Any:
    return input


class Old(NamedTuple):
    """A file, alone in its folder, and all that is in it."""

    path: Path
    content: Content


@pytest.fixture
async def old(memory_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Old:
    """A file of this version, as a process that was killed left it, to be opened by one of the future."""
    source = memory_folder / "source.db"
    async with LocalRuntime(Scripted(work=_work), state=source) as runtime:
        for n in range(3):
            run_id = await submit(runtime, chain(3), *(f"{n}-{item}-" + "x" * 2000 * item for item in range(6)))
            await runtime.engine.wait(run_id)
        await runtime.put_blob({"blob": "y" * 50_000})
        folder = memory_folder / "disk"
        folder.mkdir()
        shutil.move(crash_image(source), folder / "state.db")
        shutil.move(memory_folder / "crashed.db-wal", folder / "state.db-wal")
    content = content_of(source)
    use_later_versions(monkeypatch.setattr)
    return Old(folder / "state.db", content)


async def check(path: Path, content: Content) -> int:
    """See that nothing is lost, bring the file up to date, look again, and return the version that it had."""
    version = check_file(path)
    assert version in (schema.VERSION, LATER)
    assert content_of(path) == content
    backup = path.with_name(BACKUP)
    assert backup.exists() or version == schema.VERSION
    if backup.exists():
        assert check_file(backup) == schema.VERSION
        assert content_of(backup) == content
    await (await SqliteState.open(path)).close()
    assert check_file(path) == LATER
    assert content_of(path) == content
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM runs WHERE label = 'migrated-' || run_id").fetchone() == (3,)
        assert connection.execute("SELECT count(*) FROM notes").fetchone() == (3,)
    assert not list(path.parent.glob("*.new*"))
    return version


class Failing:
    """A connection that fails at its nth statement, or while it is copied where that is 0."""

    def __init__(self, connection: sqlite3.Connection, at: int, error: BaseException) -> None:
        self._connection = connection
        self._left = at
        self._error = error

    def execute(self, statement: str) -> Any:
        self._left -= 1
        if self._left == 0:
            raise self._error
        return self._connection.execute(statement)

    def backup(self, target: sqlite3.Connection) -> None:
        if self._left == 0:
            target.execute("CREATE TABLE half (a)")
            raise self._error
        self._connection.backup(target)

    def close(self) -> None:
        self._connection.close()


STATEMENTS = 1 + sum(len(statements) for statements in MIGRATIONS.values()) + 2
ERRORS = [
    sqlite3.OperationalError("disk I/O error"),
    OSError(errno.ENOSPC, "No space left on device"),
    MemoryError(),
    KeyboardInterrupt(),
]


@pytest.mark.parametrize("at", range(STATEMENTS + 1))
async def test_an_exception_at_any_statement_leaves_the_old_file(
    old: Old, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = ERRORS[at % len(ERRORS)]
    with monkeypatch.context() as patch:
        patch.setattr(migrating, "connect_to_write", lambda path: Failing(connecting.connect_to_write(path), at, error))
        with pytest.raises((StateError, type(error))) as caught:
            migrating.migrate_file(old.path, schema.VERSION)
    if isinstance(error, sqlite3.Error | OSError):
        assert isinstance(caught.value, StateError)
        assert f"from version {schema.VERSION} to {LATER}" in caught.value.message
        assert caught.value.message.endswith("; it is as it was")
    assert await check(*old) == schema.VERSION


def _migrate_under_watch(path: Path, kill_at: int = 0) -> list[Call]:
    record = path.parent.parent / "record"
    done = subprocess.run(
        traced(record, path.parent, *PROGRAM, str(path), kill_at=kill_at), capture_output=True, text=True, check=False
    )
    assert done.returncode == (128 + signal.SIGKILL if kill_at else 0), done.stderr
    return recorded(record)


async def _kill_at(old: Old, moments: list[int]) -> set[int]:
    """Kill a migration as it makes each of some changes to files, and give the versions that were found then."""
    untouched = {file.name: file.read_bytes() for file in old.path.parent.iterdir()}
    versions: set[int] = set()
    for moment in moments:
        for file in old.path.parent.iterdir():
            file.unlink()
        for name, before in untouched.items():
            (old.path.parent / name).write_bytes(before)
        _migrate_under_watch(old.path, kill_at=moment)
        versions.add(await check(*old))
    return versions


def _changes(old: Old) -> int:
    """How many calls of a migration change files; done with a copy."""
    twin = old.path.parent.parent / "twin"
    shutil.copytree(old.path.parent, twin)
    return sum(call.name in CHANGES for call in _migrate_under_watch(twin / old.path.name))


@watched
async def test_a_migration_that_is_killed_is_done_by_the_next_process(old: Old) -> None:
    count = _changes(old)
    moments = random.Random(1).sample(range(1, count + 1), 5)
    assert await _kill_at(old, [*moments, count]) == {schema.VERSION, LATER}


@watched
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
async def test_a_migration_may_be_killed_at_any_of_its_calls(old: Old, seed: int) -> None:
    count = _changes(old)
    assert await _kill_at(old, random.Random(seed).sample(range(1, count + 1), 25)) <= {schema.VERSION, LATER}


async def _cut_power(old: Old, folder: Path, count: int | None, seed: int) -> None:
    disk = Disk(old.path.parent)
    chance = random.Random(seed)
    calls = _migrate_under_watch(old.path)
    changes = [place for place, call in enumerate(calls) if call.name in CHANGES]
    moments = changes if count is None else chance.sample(changes, count)
    versions: set[int] = set()
    for place, call in enumerate(calls):
        disk.play(call)
        if place in moments or place == len(calls) - 1:
            found = folder / "found"
            found.mkdir()
            # Whoever is told that it is open may count on it.
            way = chance.choice(WAYS) if place in moments else "nothing"
            for name, file in disk.after_power_cut(chance, way).items():
                (found / name).write_bytes(file)
            versions.add(version := await check(found / "state.db", old.content))
            shutil.rmtree(found)
    assert version == LATER
    assert versions == {schema.VERSION, LATER}


@watched
async def test_a_power_cut_leaves_an_old_file_or_a_new_one(old: Old, memory_folder: Path) -> None:
    await _cut_power(old, memory_folder, 25, 1)


@watched
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
async def test_a_power_cut_at_any_call_leaves_an_old_file_or_a_new_one(
    old: Old, memory_folder: Path, seed: int
) -> None:
    await _cut_power(old, memory_folder, None, seed)
