"""Every example of the README and the docs runs; `pages` says how."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stepflow_sdk_tests.docs.pages import Block, Runner, blocks, compare

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
LINK = re.compile(r"\[[^\]\n]*\]\((?!https?:|mailto:)([^)\s]+)\)")


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of the page's own, from which its Python modules can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("page_") or str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.skipif(sys.platform == "win32", reason="the pages use bash")
@pytest.mark.parametrize("name", NAMES)
def test_every_example_runs_and_prints_what_the_page_shows(name: str, directory: Path) -> None:
    runner = Runner(directory, name)
    for block in blocks((ROOT / name).read_text("utf-8")):
        try:
            runner.run(block)
        except BaseException as error:
            error.add_note(f"in {name}, the {block.language} block at line {block.line}")
            raise


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_to_a_file_or_a_heading(name: str) -> None:
    page = ROOT / name
    for target in LINK.findall(page.read_text("utf-8")):
        file, _, anchor = target.partition("#")
        linked = page if not file else (page.parent / file)
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked.read_text("utf-8")), target


def anchors(page: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_a_page_that_shows_something_else_fails() -> None:
    with pytest.raises(AssertionError):
        compare("one\ntwo", "one\n2\n")
    compare("one … three", "one two three\n")


def test_a_block_without_a_rule_fails(directory: Path) -> None:
    with pytest.raises(AssertionError, match="no rule"):
        Runner(directory, "page").run(Block("ruby", {}, "puts 1", 1))
