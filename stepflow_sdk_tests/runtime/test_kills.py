"""After ``kill -9`` at any moment no run is lost, and no finished step runs again."""

from pathlib import Path

import pytest

from stepflow_sdk_tests.runtime.kills import History, kill_often


def _check(history: History) -> None:
    assert history.wrong == []
    assert history.finished == history.accepted > 0
    assert history.nested > 0


@pytest.mark.promise("D1", "D2")
def test_a_killed_runtime_loses_nothing(tmp_path: Path) -> None:
    # On a busy machine all of the few kills may come too late, when nothing is under way any more.
    for seed in range(5, 15):
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        history = kill_often(folder, kills=4, seed=seed, runs=8)
        _check(history)
        if history.again > 0:
            return
    pytest.fail("no kill came while a step was under way")


@pytest.mark.slow
@pytest.mark.promise("D1", "D2")
def test_a_runtime_killed_often_loses_nothing(tmp_path: Path) -> None:
    history = kill_often(tmp_path, kills=25, seed=7)
    print(*history.lines(), sep="\n")
    _check(history)
    assert history.again > 0
    assert history.blobs > 0
