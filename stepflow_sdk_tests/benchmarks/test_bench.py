"""The benchmarks run: each workload once, small, on our server and the floors. No time is judged here."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="the load client polls pipes"),
]

ROOT = Path(__file__).parents[2]
WORKLOADS = [
    "one", "many", "thread", "context", "typed", "large", "payload", "list", "sleep", "block", "start", "memory",
]  # fmt: skip


def bench(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "benchmarks", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def picture(results: Path, target: Path) -> ET.Element:
    command = [sys.executable, "-m", "benchmarks.plot", str(results), str(target)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)
    return ET.parse(target).getroot()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    results = tmp_path_factory.mktemp("bench") / "results.json"
    return bench("--quick", "--no-peers", "--json", results), results


def rows(results: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(results.read_text("utf-8"))["rows"]
    return found


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_every_workload_has_figures_of_our_server_and_of_the_floor(run: tuple[str, Path], transport: str) -> None:
    found = [row for row in rows(run[1]) if row["transport"] == transport]
    assert [row["workload"] for row in found] == WORKLOADS
    for row in found:
        assert row["failures"] == {}
        assert set(row["rounds"]) == {"floor", "ours"}
        for rounds in row["rounds"].values():
            assert len(rounds) == 1
            assert all(value > 0 for value in rounds[0].values()), row["workload"]


def test_every_goal_has_its_ratio_to_the_floor_and_a_line_in_the_table(run: tuple[str, Path]) -> None:
    for row in rows(run[1]):
        assert row["title"] in run[0]
        for goal in row["goals"]:
            one = {name: rounds[0][goal["figure"]] for name, rounds in row["rounds"].items()}
            assert goal["floor_ratio"] == pytest.approx(one["ours"] / one["floor"])


def test_the_bundled_runtime_makes_steps_in_process_and_over_both_transports(run: tuple[str, Path]) -> None:
    steps = json.loads(run[1].read_text("utf-8"))["steps"]
    assert [name.rpartition(", ")[2] for name in steps] == ["in process", "stdio", "HTTP"]
    assert all(title in run[0] for flows in steps.values() for title in flows)
    assert all(rate > 0 for flows in steps.values() for rates in flows.values() for rate in rates)


def test_results_become_a_picture_with_a_bar_for_each_server_and_workload(
    run: tuple[str, Path], tmp_path: Path
) -> None:
    drawn = picture(run[1], tmp_path / "bars.svg")
    bars = [each for each in drawn.iter("{http://www.w3.org/2000/svg}rect") if each.get("height") == "9"]
    assert len(bars) == 2 * 2 * len(WORKLOADS)


def test_growth_is_measured_and_drawn(tmp_path: Path) -> None:
    results = tmp_path / "growth.json"
    series = ["in-flight", "payload-http", "components-list", "chain", "fan-in", "items-durable", "blobs"]
    chosen = [argument for name in series for argument in ("--series", name)]
    table = bench("--growth", "--budget", "0.5", *chosen, "--json", results)
    growth = json.loads(results.read_text("utf-8"))["growth"]
    assert [curve["series"] for curve in growth] == series
    for curve in growth:
        assert curve["title"] in table
        assert curve["points"], curve["ended"]
        assert curve["ended"] == "" or "would take longer" in curve["ended"]
    curves = [each for each in picture(results, tmp_path / "growth.svg").iter() if each.get("fill") == "none"]
    assert len(curves) == len(series)


def test_a_workload_that_does_not_exist_is_refused_with_those_that_do() -> None:
    command = [sys.executable, "-m", "benchmarks", "--workload", "nothing"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "'many'" in done.stderr
