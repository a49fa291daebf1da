"""Finds and reads the files."""

from collections import Counter
from pathlib import Path
from typing import Any

from msgspec import Struct, convert

from stepflow_sdk import BlockingContext, ComponentError, Router

from .documents import Document, Stored, Text, TextFile

router = Router()


class Found(Struct):
    files: list[TextFile]


@router.component
def find(files: list[str]) -> Found:
    """Find the files; of a directory all that end in .txt or .md.

    Args:
        files: Paths, relative to the working directory of the configuration.
    """
    paths: list[Path] = []
    for name in files:
        path = Path(name)
        if path.is_dir():
            paths += sorted(entry for entry in path.iterdir() if entry.suffix in (".txt", ".md"))
        elif path.is_file():
            paths.append(path)
        else:
            raise ComponentError(f"there is no file {name!r} in {Path.cwd()}", data={"file": name})
    if not paths:
        raise ComponentError("there are no text files in what was given", data={"files": files})
    stems = Counter(path.stem for path in set(paths))
    return Found(
        [TextFile(path.stem if stems[path.stem] == 1 else str(path), str(path)) for path in dict.fromkeys(paths)]
    )


@router.component
def read(file: TextFile, ctx: BlockingContext) -> Stored:
    """Read a text in UTF-8, and store it as a blob."""
    raw = Path(file.path).read_bytes()
    try:
        content = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ComponentError(f"{file.path}: not UTF-8 at byte {error.start}") from None
    if not content.strip():
        raise ComponentError(f"{file.path}: there is no text in it")
    return Stored(ctx.put_blob(Text(file.name, content)))


class Outcome(Struct):
    """What a nested flow made of one file: see FlowResult in the protocol."""

    outcome: str
    result: Any = None
    error: Any = None


class Read(Struct):
    """A file, and the id of its text."""

    file: TextFile
    text: str | None


class StoredText(Struct):
    """The name of a text, and the id of the blob that holds it."""

    name: str
    text: str


class Readable(Struct):
    texts: list[StoredText]
    unread: list[TextFile]


@router.component
def readable(outcomes: list[Outcome]) -> Readable:
    """Tell the files that were read from those that could not be."""
    files = [convert(each, Read) for each in results(outcomes)]
    texts = [StoredText(each.file.name, each.text) for each in files if each.text is not None]
    unread = [each.file for each in files if each.text is None]
    if not texts:
        raise ComponentError("none of the files could be read", data={"files": [file.path for file in unread]})
    return Readable(texts, unread)


@router.component
def gather(outcomes: list[Outcome]) -> list[Document]:
    """Collect the documents that were measured."""
    return [convert(each, Document) for each in results(outcomes)]


def results(outcomes: list[Outcome]) -> list[Any]:
    """The results of nested flows, all of which must be there."""
    for outcome in outcomes:
        if outcome.outcome != "success":
            raise ComponentError("a file failed", data={"outcome": outcome.outcome, "error": outcome.error})
    return [outcome.result for outcome in outcomes]
