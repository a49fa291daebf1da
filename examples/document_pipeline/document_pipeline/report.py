"""Writes the report."""

from pathlib import Path

import msgspec
from msgspec import Struct

from stepflow_sdk import Router

from .documents import Document, Keyword, Pair, TextFile

router = Router()


class Entry(Struct):
    """One document in the report."""

    name: str
    words: int
    sentences: int
    sections: list[str]
    reading_ease: float
    level: str
    keywords: list[str]
    summary: list[str]


class Report(Struct):
    documents: list[Entry]
    nearest: Pair | None
    unread: list[str]


class Written(Struct):
    """Where the report is, and what it says in short."""

    json: str
    markdown: str
    documents: int
    words: int
    unread: list[str]
    keywords: dict[str, str]


@router.component
def write(
    documents: list[Document],
    keywords: list[list[Keyword]],
    summaries: list[list[str]],
    similarity: list[Pair],
    unread: list[TextFile],
    output: str,
) -> Written:
    """Write report.json and report.md into a directory.

    Args:
        documents: What was measured.
        keywords: Of each document.
        summaries: Of each document.
        similarity: Of each two documents, the nearest first.
        unread: The files that could not be read.
        output: The directory; it is made if it is not there.
    """
    report = Report(
        [_entry(*parts) for parts in zip(documents, keywords, summaries, strict=True)],
        similarity[0] if similarity else None,
        [file.path for file in unread],
    )
    directory = Path(output).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    as_json, as_markdown = directory / "report.json", directory / "report.md"
    as_json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    as_markdown.write_text(_markdown(report), "utf-8")
    return Written(
        json=str(as_json),
        markdown=str(as_markdown),
        documents=len(report.documents),
        words=sum(entry.words for entry in report.documents),
        unread=report.unread,
        keywords={entry.name: ", ".join(entry.keywords[:4]) for entry in report.documents},
    )


def _entry(document: Document, keywords: list[Keyword], summary: list[str]) -> Entry:
    return Entry(
        document.name,
        document.statistics.words,
        document.statistics.sentences,
        document.sections,
        document.readability.reading_ease,
        document.readability.level,
        [keyword.word for keyword in keywords],
        summary,
    )


def _markdown(report: Report) -> str:
    lines = ["# Report", "", "| document | words | sentences | reading ease |", "|---|---:|---:|---|"]
    lines += [
        f"| {entry.name} | {entry.words} | {entry.sentences} | {entry.reading_ease} ({entry.level}) |"
        for entry in report.documents
    ]
    if report.nearest is not None:
        pair = report.nearest
        lines += ["", f"Nearest to each other: {pair.first} and {pair.second} ({pair.similarity})."]
    for entry in report.documents:
        lines += ["", f"## {entry.name}", "", f"Keywords: {', '.join(entry.keywords)}.", ""]
        if entry.sections:
            lines += [f"Sections: {'; '.join(entry.sections)}.", ""]
        lines += [f"> {sentence}" for sentence in entry.summary]
    if report.unread:
        lines += ["", "## Not read", "", *(f"- {path}" for path in report.unread)]
    return "\n".join([*lines, ""])
