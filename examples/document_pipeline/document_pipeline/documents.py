"""What the components hand to each other."""

from typing import Annotated

from msgspec import Meta, Struct


class TextFile(Struct):
    """A file that was asked for."""

    name: str
    path: str


class Text(Struct):
    """The text of a file; it is kept as a blob, and the components get its id."""

    name: str
    content: str


class Stored(Struct):
    """Where the text of a file is, or null for a file that could not be read."""

    blob_id: str | None


class Statistics(Struct):
    characters: int
    words: int
    different_words: int
    sentences: int


class Readability(Struct):
    """Flesch's reading ease: about 90 for a children's book, 60 for plain prose, 30 for a treatise."""

    reading_ease: float
    level: str


class Document(Struct):
    """A text with what was measured in it; ``terms`` is the id of a blob that counts its words."""

    name: str
    text: str
    sections: list[str]
    statistics: Statistics
    readability: Readability
    terms: str


class Keyword(Struct):
    word: str
    weight: Annotated[float, Meta(ge=0)]


class Pair(Struct):
    """Two documents and how much their words have in common, from 0 to 1."""

    first: str
    second: str
    similarity: float
