"""The examples, run as their READMEs say, and the demo script."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What needs more than the library is run in tests of its own.
EXAMPLES = sorted(
    path.parent.name
    for path in (ROOT / "examples").glob("*/README.md")
    if not (path.parent / "requirements.txt").exists()
)
ENVIRONMENT = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="a script for bash")


def commands(readme: Path) -> list[str]:
    return re.findall(r"^```bash\n(.*?)^```$", readme.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def example(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of an example, so that nothing is written into the checkout."""
    ignored = shutil.ignore_patterns("output", "__pycache__")
    copy: Path = tmp_path / request.param
    shutil.copytree(ROOT / "examples" / request.param, copy, ignore=ignored)
    return copy


def run(command: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euc", command],
        cwd=directory,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@posix_only
@pytest.mark.parametrize("example", EXAMPLES, indirect=True)
def test_every_command_of_the_readme_works(example: Path) -> None:
    found = commands(example / "README.md")
    assert found
    for command in found:
        done = run(command, example)
        assert done.returncode == 0, done.stderr
        if command.startswith("stepflow-sdk run"):
            assert json.loads(done.stdout)["outcome"] == "success"


@posix_only
@pytest.mark.parametrize("example", ["quickstart"], indirect=True)
def test_the_quickstart_greets(example: Path) -> None:
    done = run(commands(example / "README.md")[0], example)
    assert json.loads(done.stdout)["result"] == {"greeting": "Hello, Ada!", "words": 2}


def pipeline(directory: Path, input: Any) -> Any:
    done = run(f"stepflow-sdk run --flow flow.yaml --input-json '{json.dumps(input)}'", directory)
    return json.loads(done.stdout)


@posix_only
@pytest.mark.parametrize("example", ["document_pipeline"], indirect=True)
def test_the_pipeline_reports_every_text_and_goes_on_without_the_unreadable(example: Path) -> None:
    outcome = pipeline(example, {"files": ["texts"], "output": "output"})
    result = outcome["result"]
    assert result["unread"] == ["texts/old_notes.txt"]
    report = json.loads(Path(result["json"]).read_text("utf-8"))
    names = ["bread", "soil", "tides", "wheel"]
    assert [entry["name"] for entry in report["documents"]] == names
    assert {entry["keywords"][0] for entry in report["documents"]} == {"flour", "soil", "tide", "spokes"}
    for entry in report["documents"]:
        text = (example / "texts" / f"{entry['name']}.txt").read_text("utf-8")
        assert entry["words"] == len(re.findall(r"[A-Za-z']+", text))
        assert all(sentence in " ".join(text.split()) for sentence in entry["summary"])
        assert entry["sections"] == re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    markdown = Path(result["markdown"]).read_text("utf-8")
    assert all(f"## {name}" in markdown for name in names)


@posix_only
@pytest.mark.parametrize("example", ["document_pipeline"], indirect=True)
def test_the_pipeline_takes_files_of_any_kind_without_falling_over(example: Path) -> None:
    (example / "one word.txt").write_text("word", "utf-8")
    (example / "digits.txt").write_text("1 2 3 4.\n\n5!", "utf-8")
    (example / "märchen.txt").write_text(
        "Es war einmal ein König. Der hatte drei Töchter, und die jüngste war schön.", "utf-8"
    )
    (example / "empty.txt").write_text("", "utf-8")
    names = ["one word.txt", "digits.txt", "märchen.txt", "empty.txt"]
    outcome = pipeline(example, {"files": names, "output": "a new/place"})
    assert outcome["outcome"] == "success"
    assert outcome["result"]["documents"] == 3
    assert outcome["result"]["unread"] == ["empty.txt"]


@posix_only
@pytest.mark.parametrize("example", ["document_pipeline"], indirect=True)
def test_the_pipeline_fails_clearly_for_files_that_are_not_there_or_not_text(example: Path) -> None:
    missing = pipeline(example, {"files": ["texts", "nothing.txt"], "output": "output"})
    assert "nothing.txt" in missing["error"]["message"]
    unreadable = pipeline(example, {"files": ["texts/old_notes.txt"], "output": "output"})
    assert "none of the files could be read" in unreadable["error"]["message"]
    assert not (example / "output").exists()


@posix_only
@pytest.mark.parametrize("example", ["batch_scoring"], indirect=True)
def test_the_batch_scores_all_rows_but_the_broken_ones(example: Path) -> None:
    done = run(commands(example / "README.md")[0], example)
    with (example / "measurements.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with (example / "output" / "scored.csv").open(encoding="utf-8", newline="") as file:
        scored = list(csv.DictReader(file))
    broken = [
        row for row in rows if not all(re.fullmatch(r"[\d.]+", value) for key, value in row.items() if key != "pump")
    ]
    assert len(rows) == 500
    assert broken
    assert [{key: row[key] for key in rows[0]} for row in scored] == [row for row in rows if row not in broken]
    assert all(0 <= float(row["score"]) <= 100 for row in scored)
    assert f"{'failed':<8}{len(broken):5}" in done.stdout
    assert "500 of 500" in done.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout, blanks in its path, whose environment is there already: nothing is installed from anywhere."""
    root = tmp_path / "a check out"
    ignored = shutil.ignore_patterns("output", "__pycache__")
    for name in ("scripts", "examples"):
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", root)
    (python := root / ".venv" / "bin" / "python").parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    project = (root / "pyproject.toml").read_bytes()
    sum = subprocess.run(["cksum"], input=project, capture_output=True, check=True).stdout.decode()
    (root / ".venv" / ".stamp-demo").write_text(f"demo {sum}")
    return root


def demo(checkout: Path, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(checkout / "scripts" / "demo"), *arguments],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@posix_only
def test_the_demo_tells_its_steps_its_result_and_where_the_outputs_are(checkout: Path, tmp_path: Path) -> None:
    for _ in range(2):
        done = demo(checkout, tmp_path)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["result"]["documents"] == 4
        for step in ("find", "measure", "gather", "keywords", "similarity", "summaries", "report"):
            assert re.search(rf"^  done     {step} +\d+\.\d+ s$", done.stderr, re.MULTILINE)
        assert "not UTF-8" in done.stderr
        for name in ("report.md", "report.json"):
            assert (checkout / "output" / "demo" / name).is_file()
            assert str(checkout / "output" / "demo" / name) in done.stderr


@posix_only
def test_the_demo_takes_files_of_the_callers_directory(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "my notes.txt").write_text(
        "Bees dance. The dance of the bees shows other bees the way to flowers.", "utf-8"
    )
    done = demo(checkout, tmp_path, "my notes.txt", "--output", "my report")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)["result"]
    assert result["keywords"] == {"my notes": "bees, dance, flowers, shows"}
    assert (tmp_path / "my report" / "report.md").is_file()


@posix_only
@pytest.mark.parametrize("arguments", [["no such.txt"], ["--nonsense"], ["--output"]])
def test_the_demo_refuses_what_it_does_not_know_in_one_line(
    checkout: Path, tmp_path: Path, arguments: list[str]
) -> None:
    done = demo(checkout, tmp_path, *arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert arguments[0] in done.stderr
