"""Measures one text; each component fetches it by the id of its blob."""

from collections import Counter

from stepflow_sdk import BlockingContext, Router, StepflowContext

from . import language
from .documents import Readability, Statistics, Text

router = Router()

_LEVELS = ((80, "easy"), (60, "plain"), (40, "demanding"), (float("-inf"), "hard"))


@router.component
async def sections(text: str, ctx: StepflowContext) -> list[str]:
    """List the headings of a text."""
    found = await ctx.get_blob(text, type=Text)
    return language.headings(found.content)


@router.component
def statistics(text: str, ctx: BlockingContext) -> Statistics:
    """Count characters, words and sentences."""
    content = ctx.get_blob(text, type=Text).content
    words = language.words(content)
    return Statistics(len(content), len(words), len(set(words)), len(language.sentences(content)))


@router.component
def readability(text: str, ctx: BlockingContext) -> Readability:
    """Score how easy a text reads."""
    sentences = language.sentences(ctx.get_blob(text, type=Text).content)
    words = [word for sentence in sentences for word in language.words(sentence)]
    if not words:
        return Readability(0.0, "no words")
    syllables = sum(language.syllables(word) for word in words)
    ease = round(206.835 - 1.015 * len(words) / len(sentences) - 84.6 * syllables / len(words), 1)
    return Readability(ease, next(level for least, level in _LEVELS if ease >= least))


@router.component
def terms(text: str, ctx: BlockingContext) -> str:
    """Count the words that say what a text is about; the counts are stored as a blob."""
    counts = Counter(language.terms(ctx.get_blob(text, type=Text).content))
    return ctx.put_blob(dict(counts))
