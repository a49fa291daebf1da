"""What is promised is on the disk before: seen in the system calls of real programs, and by cutting their power."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from stepflow_sdk_tests.runtime.power.lab import Lab
from stepflow_sdk_tests.runtime.power.syscalls import traced, why_not

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")


@pytest.fixture
def lab(memory_folder: Path) -> Lab:
    return Lab(memory_folder)


# ---- cuts -------------------------------------------------------------------------------------------------------


@pytest.mark.promise("D1", "D6")
async def test_whatever_a_power_cut_leaves_is_a_state_with_all_that_was_promised(lab: Lab) -> None:
    lab.run("full")
    cuts = await lab.cut(70)
    assert cuts.wrong == []
    assert min(cuts.fresh, cuts.runs, cuts.blobs, cuts.resumed) > 0, cuts.lines()


@pytest.mark.promise("D1", "D2")
async def test_a_power_cut_after_a_kill_leaves_all_that_both_processes_promised(lab: Lab) -> None:
    lab.run("full", kill_at=1500)
    lab.run("full")
    cuts = await lab.cut(40)
    assert cuts.wrong == []
    assert cuts.runs > 0


async def test_a_power_cut_while_runs_are_forgotten_does_no_harm(lab: Lab) -> None:
    lab.run("full")
    lab.run("full", "1")
    cuts = await lab.cut(20)
    assert cuts.wrong == []
    assert cuts.runs > 0


async def test_with_normal_the_last_may_be_lost_in_a_power_cut_and_nothing_is_wrong(lab: Lab) -> None:
    lab.run("normal")
    cuts = await lab.cut(40)
    # That something is lost here shows that it would be seen above.
    assert any("is lost" in problem for problem in cuts.wrong)
    assert [problem for problem in cuts.wrong if not _is_weaker(problem)] == []


def test_what_recover_copies_is_there_when_it_is_whole(lab: Lab) -> None:
    lab.run("full")
    source, target = lab.folder / "state.db", lab.folder / "new.db"
    for kill_at in (*range(1, 200, 40), 0):
        command = [sys.executable, "-m", "stepflow_sdk", "recover", str(source), "-o", str(target)]
        done = subprocess.run(
            traced(lab.folder.parent / "record", lab.folder, *command, kill_at=kill_at),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode == 0) == target.exists() == (not kill_at), done.stderr
    assert not list(lab.folder.glob("*.new*"))


def _is_weaker(problem: str) -> bool:
    return any(word in problem for word in ("is lost", "had ended", "is forgotten"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
async def test_whatever_many_power_cuts_leave_is_a_state_with_all_that_was_promised(lab: Lab, seed: int) -> None:
    lab.run("full", kill_at=random.Random(seed).randrange(300, 3000))
    lab.run("full")
    cuts = await lab.cut(300, seed)
    assert cuts.wrong == []
