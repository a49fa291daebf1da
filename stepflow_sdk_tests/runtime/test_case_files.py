"""Files with test cases, and runs of them, below the command line."""

import os
from pathlib import Path

import pytest

from stepflow_sdk.errors import InvalidDocument
from stepflow_sdk.flows import load_flow
from stepflow_sdk.runtime import LocalRuntime
from stepflow_sdk.runtime.case_files import find_case_files, update_case_file
from stepflow_sdk.runtime.case_runs import run_case_files

TEXT = """\
output: {$input: $.n}
test:
  cases:
  - {name: one, input: {n: 1}}
  - {name: two, input: {n: 2}, output: {outcome: success, result: 3}}
"""
NEW = {"outcome": "success", "result": 1}


def test_a_file_that_was_edited_since_is_not_updated(tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(TEXT)
    (file,) = find_case_files([path])
    for edited in (TEXT.replace("one", "three"), "output: 1\n", "output: ["):
        path.write_text(edited)
        with pytest.raises(InvalidDocument, match="have changed"):
            update_case_file(file, {0: NEW})
        assert path.read_text() == edited


def test_an_edit_elsewhere_does_not_stand_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(TEXT)
    (file,) = find_case_files([path])
    path.write_text(TEXT + "name: later\n")
    update_case_file(file, {0: NEW})
    flow = load_flow(path)
    assert flow.name == "later"
    assert flow.test is not None
    assert flow.test["cases"][0]["output"] == NEW


def test_a_file_that_is_named_by_a_link_is_updated_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(TEXT)
    link = tmp_path / "link.yaml"
    link.symlink_to(path)
    (file,) = find_case_files([link])
    update_case_file(file, {0: NEW})
    assert link.is_symlink()
    assert "result" in path.read_text().splitlines()[3]


def test_a_file_that_is_found_twice_counts_once(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text(TEXT)
    assert len(find_case_files([tmp_path / "flow.yaml", tmp_path, tmp_path / "." / "flow.yaml"])) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_a_folder_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    assert find_case_files([tmp_path]) == []


async def test_cases_run_under_a_runtime_that_is_given(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(TEXT)
    told: list[str] = []
    reports = await run_case_files(
        find_case_files([tmp_path]), runtime=LocalRuntime(), on_file=lambda report: told.append(report.file.path.name)
    )
    assert told == ["a.yaml", "b.yaml"]
    assert [[case.status for case in report.cases] for report in reports] == [["passed", "failed"]] * 2
    (mismatch,) = reports[0].cases[1].mismatches
    assert str(mismatch) == "$.result: expected 3, got 2"


async def test_names_select_cases_and_leave_out_files_without_any(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(TEXT)
    (tmp_path / "b.yaml").write_text(TEXT.replace("one", "three"))
    reports = await run_case_files(find_case_files([tmp_path]), names=["one"])
    assert [[case.name for case in report.cases] for report in reports] == [["one"]]
