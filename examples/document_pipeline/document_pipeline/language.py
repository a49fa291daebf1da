"""Words and sentences: enough of a language for counting."""

import re

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)]?\s+(?=[\"'“‘(]?[A-ZÀ-Þ0-9])")
_HEADING = re.compile(r"#{1,6}\s+(?P<title>.+)")
_VOWELS = re.compile(r"[aeiouyà-ü]+")

_STOP = """
a about above after again against all almost also although always am an and another any are as at away back be
because been before being below between both but by can cannot come could did do does doing done down during each
either else enough even every few first for from further get gets give given go goes had has have having he her
here hers him his how however i if in into is it its itself just keep kept last least less let like little long
made make makes many may me might more most much must my near need needs neither never next no nor not nothing
now of off often on once one ones only or other others our out over own part people perhaps put quite rather
really right same say says second see seen she should since small so some something soon still such take taken
takes than that the their them then there these they thing things this those though three through time to too
toward two under until up upon us used very was way we well went were what when where whether which while who
whole why will with within without would yet you your
"""
STOP_WORDS = frozenset(_STOP.split())


def words(text: str) -> list[str]:
    """The words of a text in lower case, headings too."""
    return [match[0].casefold() for match in _WORD.finditer(text)]


def terms(text: str) -> list[str]:
    """The words that say what a text is about."""
    return [word for word in words(text) if len(word) > 2 and word not in STOP_WORDS]


def headings(text: str) -> list[str]:
    """The lines that begin with ``#``."""
    return [match["title"].strip() for line in text.splitlines() if (match := _HEADING.match(line))]


def sentences(text: str) -> list[str]:
    """The sentences of the paragraphs, each on one line."""
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [line for line in paragraph.splitlines() if not _HEADING.match(line)]
        flat = " ".join(" ".join(lines).split())
        found += [sentence for sentence in _SENTENCE_END.split(flat) if sentence]
    return found


def syllables(word: str) -> int:
    """About how many syllables an English word has: groups of vowels, without a silent e."""
    groups = len(_VOWELS.findall(word))
    silent = word.endswith("e") and not word.endswith(("le", "ee")) and groups > 1
    return max(1, groups - silent)
