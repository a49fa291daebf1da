import asyncio
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from stepflow_sdk.errors import CorruptState, InvalidValue, ResourceUnavailable, StateError
from stepflow_sdk.protocol import FlowResultSuccess
from stepflow_sdk.runtime import LocalRuntime, RunQuery, RunRecord, StateOptions
from stepflow_sdk.runtime.stores import locks, migrating, opening, schema
from stepflow_sdk.runtime.stores.options import Retention
from stepflow_sdk.runtime.stores.recovery import recover_file
from stepflow_sdk.runtime.stores.sqlite import SqliteState
from stepflow_sdk_tests.runtime.scripted import Scripted
from stepflow_sdk_tests.runtime.state_tools import chain, crash_image, fill, submit

HOLD = """
import asyncio, sys
from stepflow_sdk.runtime.stores.sqlite import SqliteState

async def main():
    await SqliteState.open(sys.argv[1])
    print("open", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def _work(input: Any) -> Any:
    return input


async def _filled(path: Path, runs: int = 5) -> list[str]:
    """A state file with finished runs; returns their ids."""
    async with LocalRuntime(Scripted(work=_work), state=path) as runtime:
        ids = [await submit(runtime, chain(3), {"run": n, "text": "x" * 500}) for n in range(runs)]
        for run_id in ids:
            await runtime.engine.wait(run_id)
        await runtime.put_blob({"blob": "y" * 2000})
    return ids


def _holder(path: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)


# ---- one process at a time --------------------------------------------------------------------------------------


@pytest.mark.promise("D7")
async def test_a_second_process_is_told_who_the_first_one_is_and_can_wait_for_it(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with _holder(path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with anyio.fail_after(60), pytest.raises(StateError, match=f"process {holder.pid} on .*, since 20"):
            await SqliteState.open(path)
        with pytest.raises(StateError, match=r"waited 0\.1 s"):
            await SqliteState.open(StateOptions(path, wait=0.1))
        # Killed and not stopped: the lock ends with the process, whatever its end.
        asyncio.get_running_loop().call_later(0.1, holder.kill)
        with anyio.fail_after(60):
            state = await SqliteState.open(StateOptions(path, wait=30))
        await state.close()


async def test_a_file_is_opened_once_in_a_process_too(tmp_path: Path) -> None:
    state = await SqliteState.open(tmp_path / "state.db")
    with pytest.raises(StateError, match=f"process {os.getpid()} "):
        await SqliteState.open(tmp_path / "state.db")
    await state.close()
    await (await SqliteState.open(tmp_path / "state.db")).close()


@pytest.mark.promise("D7")
async def test_who_was_taken_over_writes_nothing_more(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    stale = await SqliteState.open(path)
    # Somebody deletes the lock: the next process cannot know of the first one.
    (tmp_path / "state.db.lock").unlink()
    holder = await SqliteState.open(path)
    with pytest.raises(StateError, match="taken the state file over"):
        await stale.runs.create(RunRecord("stale", "f", None, None, 0.0), [1])
    await holder.runs.create(RunRecord("good", "f", None, None, 0.0), [1])
    with pytest.raises(StateError, match="taken the state file over"):
        await stale.blobs.put(1)
    assert [run.run_id for run in await holder.runs.find(RunQuery())] == ["good"]
    await stale.close()
    await holder.close()


@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        ("25 30 0:23 / /data rw - nfs4 server:/x rw", "nfs4"),
        ("25 30 0:23 / / rw - ext4 /dev/x rw\n26 25 0:24 / /data rw - cifs //s/x rw", "cifs"),
        ("25 30 0:23 / /data rw - fuse.sshfs me@x: rw", "fuse.sshfs"),
        ("25 30 0:23 / /data rw - nfs s:/x rw\n26 25 0:24 / /data/in rw - ext4 /dev/x rw", None),
        ("25 30 0:23 / / rw - ext4 /dev/x rw", None),
    ],
)
async def test_network_file_systems_are_refused(monkeypatch: pytest.MonkeyPatch, mounts: str, kind: str | None) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_: mounts)
    assert locks.network_file_system(Path("/data/in/state.db")) == kind
    assert locks.network_file_system(Path("//server/share/state.db")) == "a network share"
    if kind is not None:
        with pytest.raises(StateError, match="network file system"):
            await locks.FileLock(Path("/data/in/state.db")).acquire()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such modes")
@pytest.mark.promise("S13")
async def test_only_the_owner_can_read_a_state_file(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with LocalRuntime(state=path) as runtime:
        await runtime.run({"output": 1})
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in _files(tmp_path)}
        assert set(modes.values()) == {0o600}, modes


# ---- files that are not ours, or not any more -------------------------------------------------------------------


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def _refused(path: Path, kind: type[Exception], message: str) -> None:
    before = _content(path)
    with pytest.raises(kind, match=message) as caught:
        await SqliteState.open(path)
    assert type(caught.value) is kind
    assert _content(path) == before


def _content(path: Path) -> bytes:
    return path.read_bytes()


async def test_a_file_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_text("this is a letter, and nobody wants it overwritten")
    await _refused(path, CorruptState, "is not a state file")
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE customers (name TEXT)")
    connection.close()
    await _refused(path, StateError, "of another program")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StateError, match="folder"):
        await SqliteState.open(tmp_path / "folder")


@pytest.mark.promise("D9")
async def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await _filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    connection.close()
    await _refused(path, StateError, f"is of version {schema.VERSION + 1}")


@pytest.mark.promise("D6")
async def test_a_file_that_has_become_empty_is_not_opened_as_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with LocalRuntime(Scripted(work=_work), state=path) as runtime:
        await runtime.run(chain(1), 1)
        image = crash_image(path)
    image.write_bytes(b"")
    await _refused(image, CorruptState, "is empty or gone")


async def test_an_empty_file_becomes_a_state_file_unless_none_is_to_be_made(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.touch()
    with pytest.raises(StateError, match="not to be made"):
        await SqliteState.open(StateOptions(path, create=False))
    await (await SqliteState.open(path)).close()
    await (await SqliteState.open(StateOptions(path, create=False))).close()


def _make_version_0(path: Path) -> None:
    """What the version before the first one would have been: without the index by parents."""
    with sqlite3.connect(path) as connection:
        connection.execute("DROP INDEX runs_by_parent")
        connection.execute("PRAGMA user_version = 0")
    connection.close()


UPGRADE = ("CREATE INDEX runs_by_parent ON runs (parent_run_id, key) WHERE parent_run_id IS NOT NULL",)


@pytest.mark.promise("D9")
async def test_an_older_version_is_brought_up_to_date_after_a_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.db"
    ids = await _filled(path)
    _make_version_0(path)
    monkeypatch.setattr(migrating, "MIGRATIONS", {0: UPGRADE})
    with pytest.raises(StateError, match="autoMigrate is off"):
        await SqliteState.open(StateOptions(path, auto_migrate=False))
    state = await SqliteState.open(path)
    assert [run.run_id for run in await state.runs.find(RunQuery())] == ids[::-1]
    await state.close()
    with sqlite3.connect(tmp_path / "state.db.v0.bak") as backup:
        assert backup.execute("PRAGMA user_version").fetchone() == (0,)
        assert backup.execute("SELECT count(*) FROM runs").fetchone() == (len(ids),)
    backup.close()


@pytest.mark.promise("D9")
async def test_a_migration_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.db"
    await _filled(path)
    _make_version_0(path)
    before = path.read_bytes()
    for migrations in ({}, {0: (*UPGRADE, "CREATE TABLE runs (again)")}):
        monkeypatch.setattr(migrating, "MIGRATIONS", migrations)
        with pytest.raises(StateError, match="it is as it was"):
            await SqliteState.open(path)
    assert path.read_bytes() == before


# ---- damage -----------------------------------------------------------------------------------------------------


async def _read_all(path: Path, ids: list[str]) -> dict[str, Any]:
    """All that a file says of its runs; raises what it finds wrong."""
    state = await SqliteState.open(path)
    try:
        said: dict[str, Any] = {"runs": [run.run_id for run in await state.runs.find(RunQuery())]}
        for run_id in ids:
            said[run_id] = (
                await state.runs.get(run_id),
                list(await state.runs.inputs(run_id)),
                list(await state.runs.items(run_id)),
                list(await state.runs.steps(run_id)),
            )
        said["unfinished"] = await state.runs.unfinished()
        return said
    finally:
        await state.close()


async def _sweep(tmp_path: Path, cases: int, seed: int) -> dict[str, int]:
    path = tmp_path / "state.db"
    ids = await _filled(path)
    truth = await _read_all(path, ids)
    whole = path.read_bytes()
    damage = random.Random(seed)
    counts = {"told": 0, "no matter": 0}
    for case in range(cases):
        content = bytearray(whole)
        length = damage.choice([1, 1, 4, 16, 64])
        place = damage.randrange(len(content) - length)
        content[place : place + length] = damage.randbytes(length)
        broken = tmp_path / f"broken-{case}.db"
        broken.write_bytes(content)
        try:
            said = await _read_all(broken, ids)
        except StateError:
            counts["told"] += 1
        else:
            assert said == truth, f"seed {seed}, case {case}: bytes {place} to {place + length}"
            counts["no matter"] += 1
        for end in ("", "-wal", "-shm", ".lock"):
            broken.with_name(f"{broken.name}{end}").unlink(missing_ok=True)
    return counts


@pytest.mark.promise("D6")
async def test_a_damaged_file_never_gives_a_wrong_answer(tmp_path: Path) -> None:
    counts = await _sweep(tmp_path, 60, 1)
    assert counts["told"] > 10


@pytest.mark.slow
async def test_a_damaged_file_never_gives_a_wrong_answer_for_long(tmp_path: Path) -> None:
    counts = await _sweep(tmp_path, 400, 2)
    assert counts["told"] > 60


async def test_what_is_sound_of_a_damaged_file_is_copied(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    ids = await _filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute('UPDATE results SET body = \'[1.0, {"outcome": "success", "result": 2}]\' WHERE run = 1')
        connection.execute("UPDATE runs SET head = zeroblob(10) WHERE key = 2")
        connection.execute("UPDATE blobs SET content = zeroblob(10) WHERE key = 1")
    connection.close()
    before = path.read_bytes()
    recovered = recover_file(path, tmp_path / "new.db")
    assert path.read_bytes() == before
    assert (recovered.runs, recovered.results, recovered.steps) == (len(ids) - 1, len(ids) - 2, 3 * (len(ids) - 1))
    assert recovered.lost == {"runs": 1, "results": 1, "blobs": 1}
    said = await _read_all(tmp_path / "new.db", ids[2:])
    assert said["runs"] == [ids[4], ids[3], ids[2], ids[0]]
    with pytest.raises(StateError, match="is there already"):
        recover_file(path, tmp_path / "new.db")


async def test_runs_are_resumed_from_the_copy_of_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    reached = anyio.Event()

    async def work(input: Any) -> Any:
        if input == "hold":
            reached.set()
            await anyio.sleep_forever()
        return input

    async with LocalRuntime(Scripted(work=work), state=path) as runtime:
        good = await submit(runtime, chain(2), "hold")
        bad = await submit(runtime, chain(2), "hold")
        await reached.wait()
        image = crash_image(path)
    with sqlite3.connect(image) as connection:
        connection.execute(
            "UPDATE inputs SET sum = sum + 1 WHERE run = (SELECT key FROM runs WHERE run_id = ?)", (bad,)
        )
    connection.close()
    recovered = recover_file(image, tmp_path / "new.db")
    assert (recovered.runs, recovered.given_up) == (2, 1)
    async with LocalRuntime(Scripted(work=_work), state=tmp_path / "new.db") as runtime:
        assert [(run.run_id, run.status) for run in await runtime.resume()] == [(good, "completed")]
        lost = await runtime.engine.runs.get(bad)
        assert lost is not None
        assert lost.status == "failed"


async def test_a_run_that_cannot_be_resumed_does_not_hold_up_the_others(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    reached = anyio.Event()

    async def work(input: Any) -> Any:
        reached.set()
        return await anyio.sleep_forever()

    async with LocalRuntime(Scripted(work=work), state=path) as runtime:
        bad = await submit(runtime, chain(2), 1)
        good = await submit(runtime, chain(2), 2)
        await reached.wait()
        image = crash_image(path)
    with sqlite3.connect(image) as connection:
        connection.execute("DELETE FROM inputs WHERE run = (SELECT key FROM runs WHERE run_id = ?)", (bad,))
    connection.close()
    async with LocalRuntime(Scripted(work=_work), state=image) as runtime:
        ended = {run.run_id: run for run in await runtime.resume()}
        assert ended[good].status == "completed"
        assert ended[bad].status == "running"
        assert "the state file is damaged" in str(ended[bad].error)


# ---- full disks -------------------------------------------------------------------------------------------------


@pytest.mark.promise("D5")
async def test_a_full_disk_refuses_new_runs_and_is_used_again_when_there_is_space(small_disk: Path) -> None:
    state = await SqliteState.open(small_disk / "state.db")
    await state.runs.create(RunRecord("first", "f", None, None, 0.0), ["x" * 1000])
    ballast = fill(small_disk)
    for n in range(3):
        with pytest.raises(ResourceUnavailable, match="full"):
            await state.runs.create(RunRecord(f"refused-{n}", "f", None, None, 0.0), ["x" * 100_000])
        with pytest.raises(ResourceUnavailable, match="full"):
            await state.blobs.put("x" * 100_000)
        assert list(await state.runs.inputs("first")) == ["x" * 1000]
    assert [run.run_id for run in await state.runs.find(RunQuery())] == ["first"]
    ballast.unlink()
    await state.runs.create(RunRecord("second", "f", None, None, 0.0), ["x" * 100_000])
    assert [run.run_id for run in await state.runs.find(RunQuery())] == ["second", "first"]
    await state.close()


@pytest.mark.promise("D5")
async def test_a_run_goes_on_by_itself_when_there_is_space_again(small_disk: Path) -> None:
    blocked = anyio.Event()
    go_on = anyio.Event()

    async def work(input: Any) -> Any:
        if input == "begin":
            blocked.set()
            await go_on.wait()
            return "x" * 100_000
        return len(input)

    async with LocalRuntime(Scripted(work=work), state=StateOptions(small_disk / "state.db")) as runtime:
        run_id = await submit(runtime, chain(2), "begin")
        await blocked.wait()
        ballast = fill(small_disk)
        go_on.set()
        # Reading goes on, and new runs are refused, while the result waits for space.
        with anyio.fail_after(60):
            while True:
                try:
                    await submit(runtime, chain(1), "y" * 100_000)
                except ResourceUnavailable as error:
                    assert "full" in error.message  # noqa: PT017  (the loop ends with it)
                    break
        run = await runtime.engine.runs.get(run_id)
        assert run is not None
        assert run.status == "running"
        ballast.unlink()
        with anyio.fail_after(60):
            await runtime.engine.wait(run_id)
        (item,) = await runtime.engine.runs.items(run_id)
        assert item.result == FlowResultSuccess(100_000)


async def test_a_run_that_cannot_be_written_is_interrupted_and_resumed_later(small_disk: Path, tmp_path: Path) -> None:
    blocked = anyio.Event()
    go_on = anyio.Event()

    async def work(input: Any) -> Any:
        if input == "begin":
            blocked.set()
            await go_on.wait()
            return "x" * 100_000
        return len(input)

    path = small_disk / "state.db"
    async with LocalRuntime(Scripted(work=work), state=StateOptions(path, patience=0.1)) as runtime:
        async with anyio.create_task_group() as tasks:

            async def run() -> None:
                with pytest.raises(ResourceUnavailable, match="full"):
                    await runtime.run(chain(2), "begin")

            tasks.start_soon(run)
            await blocked.wait()
            ballast = fill(small_disk)
            go_on.set()
        assert [run.status for run in await runtime.engine.runs.find(RunQuery())] == ["running"]
        ballast.unlink()
        assert [run.status for run in await runtime.resume()] == ["completed"]


async def _until(ask: Callable[[], Awaitable[Any]], answer: Any) -> None:
    with anyio.fail_after(60):
        while await ask() != answer:  # noqa: ASYNC110  (another thread brings it about)
            await anyio.sleep(0.01)


LIMITED = """
import asyncio, resource, sys
from stepflow_sdk.errors import ResourceUnavailable
from stepflow_sdk.runtime import RunQuery, RunRecord
from stepflow_sdk.runtime.stores.sqlite import SqliteState

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

async def main():
    state = await SqliteState.open(sys.argv[1])
    create = lambda name, size: state.runs.create(RunRecord(name, "f", None, None, 0.0), ["x" * size])
    await create("first", 1000)
    limit(200_000)
    for n in range(3):
        try:
            await create(f"large-{n}", 300_000)
        except ResourceUnavailable as error:
            print("refused", error.code)
    limit(resource.RLIM_INFINITY)
    await create("second", 300_000)
    print(*[run.run_id for run in await state.runs.find(RunQuery())])
    await state.close()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_a_file_that_may_not_grow_refuses_runs_and_grows_when_it_may_again(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "state.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["refused -32005"] * 3 + ["second first"], done.stderr


class _Failing:
    """A connection whose commits fail as those of a disk that cannot flush."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.commits = 0

    def execute(self, statement: str, *arguments: Any) -> Any:
        if statement == "COMMIT":
            self.commits += 1
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
            raise error
        return self.connection.execute(statement, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


@pytest.mark.promise("D5")
async def test_nothing_more_is_written_when_the_disk_could_not_flush(tmp_path: Path) -> None:
    state = await SqliteState.open(tmp_path / "state.db")
    await state.runs.create(RunRecord("first", "f", None, None, 0.0), [1])
    writer: Any = state._writer
    failing = writer._connection = _Failing(writer._connection)
    for name in ("second", "third"):
        with pytest.raises(ResourceUnavailable, match="disk I/O error"):
            await state.runs.create(RunRecord(name, "f", None, None, 0.0), [1])
    assert failing.commits == 1
    assert [run.run_id for run in await state.runs.find(RunQuery())] == ["first"]
    await state.close()


# ---- every moment of a crash ------------------------------------------------------------------------------------

_FRAME = 24 + 4096


async def _replay_log(tmp_path: Path, step: int) -> int:
    """Cut the log of a run at every place, and see that each beginning of it is a state from which the run ends."""
    path = tmp_path / "state.db"
    async with LocalRuntime(Scripted(work=_work), state=path) as runtime:
        run_id = await submit(runtime, chain(4), "x")
        await runtime.engine.wait(run_id)
        image = crash_image(path)
    log = image.with_name(f"{image.name}-wal")
    whole, content = _content(log), _content(image)
    done = 0
    seen: list[int] = []
    for size in range(32, len(whole) + step, step):
        cut = tmp_path / "cut.db"
        cut.write_bytes(content)
        cut.with_name("cut.db-wal").write_bytes(whole[:size])
        async with LocalRuntime(scripted := Scripted(work=_work), state=cut) as runtime:
            steps = [step.step_id for step in await runtime.engine.runs.steps(run_id) if step.status != "running"]
            assert steps == [f"s{n}" for n in range(len(steps))]
            await runtime.resume()
            assert set(scripted.calls).isdisjoint(steps)
            items = await runtime.engine.runs.items(run_id)
            assert [item.result for item in items] in ([], [FlowResultSuccess("x")])
            accepted = await runtime.engine.runs.get(run_id) is not None
            assert bool(items) == accepted
        seen.append(len(steps) + accepted)
        for end in ("", "-wal", "-shm"):
            cut.with_name(f"cut.db{end}").unlink(missing_ok=True)
        done += 1
    # More of the log is never less of the run.
    assert seen == sorted(seen)
    assert {0, 1, 2, 3, 4, 5} == set(seen)
    return done


@pytest.mark.promise("D1", "D2")
async def test_every_beginning_of_the_log_is_a_state_from_which_the_run_ends(tmp_path: Path) -> None:
    assert await _replay_log(tmp_path, _FRAME) > 10


@pytest.mark.slow
async def test_the_log_may_be_cut_anywhere(tmp_path: Path) -> None:
    assert await _replay_log(tmp_path, 1024) > 40


CUT_OFF = """
import os, sqlite3, sys

connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = DELETE")
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN")
connection.execute("UPDATE runs SET head = zeroblob(10)")
connection.execute("UPDATE inputs SET body = zeroblob(10)")
connection.execute("UPDATE blobs SET content = zeroblob(100000)")
os._exit(0)
"""


@pytest.mark.promise("D6")
async def test_a_transaction_without_a_log_that_a_crash_cut_off_is_undone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    ids = await _filled(path)
    truth = await _read_all(path, ids)
    await anyio.run_process([sys.executable, "-c", CUT_OFF, str(path)])
    assert (tmp_path / "state.db-journal").stat().st_size > 0
    # Whoever only looks cannot do it.
    with pytest.raises(StateError, match="a crash left work to be undone"):
        opening.check_file(path)
    assert await _read_all(path, ids) == truth


# ---- growth -----------------------------------------------------------------------------------------------------


@pytest.mark.promise("D10")
async def test_runs_that_have_ended_are_forgotten_with_the_blobs_that_nothing_names(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with LocalRuntime(Scripted(work=_work), state=path) as runtime:
        lost = await runtime.put_blob({"nobody": "x" * 100_000})
        inner = await runtime.put_blob({"inner": 1})
        outer = await runtime.put_blob({"see": inner})
        old = await submit(runtime, chain(1), lost)
        await runtime.engine.wait(old)
        kept = await submit(runtime, chain(1), {"blob": outer})
        await runtime.engine.wait(kept)
    size = path.stat().st_size
    async with LocalRuntime(state=StateOptions(path, retention=Retention(max_runs=1))) as runtime:
        await _until(lambda: runtime.engine.blobs.stat(lost), None)
        assert [run.run_id for run in await runtime.engine.runs.find(RunQuery())] == [kept]
        assert await runtime.get_blob(outer) == {"see": inner}
        assert await runtime.get_blob(inner) == {"inner": 1}
    assert path.stat().st_size < size
    state = await SqliteState.open(path)
    assert await state.prune(Retention(max_age=3600)) == 0
    assert await state.prune(Retention(max_age=0)) == 1
    assert await state.blobs.stat(inner) is None
    await state.close()


async def test_runs_that_have_not_ended_are_never_forgotten(tmp_path: Path) -> None:
    state = await SqliteState.open(tmp_path / "state.db")
    await state.runs.create(RunRecord("open", "f", None, None, 0.0), [1])
    assert await state.prune(Retention(max_age=0, max_runs=0)) == 0
    await state.runs.delete("open")
    assert await state.runs.get("open") is not None
    await state.close()


# ---- the rest ---------------------------------------------------------------------------------------------------


async def test_what_a_job_refuses_does_not_touch_what_others_wrote(tmp_path: Path) -> None:
    state = await SqliteState.open(tmp_path / "state.db")
    refused: list[str] = []

    async def create(name: str) -> None:
        try:
            await state.runs.create(RunRecord(name, "f", None, None, 0.0), [name])
        except InvalidValue:
            refused.append(name)

    async with anyio.create_task_group() as tasks:
        for name in "abcabcabc":
            tasks.start_soon(create, name)
    assert sorted(refused) == list("aabbcc")
    assert sorted(run.run_id for run in await state.runs.find(RunQuery())) == list("abc")
    await state.close()


async def test_a_waiter_that_is_cancelled_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    state = await SqliteState.open(tmp_path / "state.db")
    kept: list[int] = []

    async def create(n: int) -> None:
        with anyio.CancelScope() as scope:
            if n % 2:
                asyncio.get_running_loop().call_soon(scope.cancel)
            await state.runs.create(RunRecord(str(n), "f", None, None, 0.0), [n])
            kept.append(n)

    async with anyio.create_task_group() as tasks:
        for n in range(20):
            tasks.start_soon(create, n)
    assert set(kept) >= set(range(0, 20, 2))
    assert {run.run_id for run in await state.runs.find(RunQuery())} >= {str(n) for n in kept}
    await state.close()


async def test_normal_is_the_faster_way_that_has_to_be_asked_for(tmp_path: Path) -> None:
    for mode, number in (("full", 2), ("normal", 1)):
        connection, _ = _opened(tmp_path / f"{mode}.db", mode)
        assert connection.execute("PRAGMA synchronous").fetchone() == (number,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        connection.close()


def _opened(path: Path, mode: Any) -> tuple[sqlite3.Connection, int]:
    opening.prepare_file(path)
    return opening.open_for_writing(path, locks.FileLock(path).holder, synchronous=mode)


def test_a_copy_of_a_closed_file_is_a_file(tmp_path: Path) -> None:
    with LocalRuntime(state=tmp_path / "state.db") as runtime:
        runtime.run({"output": 1}, run_id="one")
    shutil.copyfile(tmp_path / "state.db", tmp_path / "copy.db")
    with LocalRuntime(state=tmp_path / "copy.db") as runtime:
        found: Callable[..., Any] = runtime.resume
        assert found() == []
