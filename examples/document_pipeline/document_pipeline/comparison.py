"""Compares the documents: a word weighs the more, the more often it is in one and the fewer others have it."""

import asyncio
import math
from collections import Counter
from itertools import combinations

from stepflow_sdk import BlockingContext, Router, StepflowContext

from . import language
from .documents import Document, Keyword, Pair, Text

router = Router()

Counts = dict[str, int]
Weights = dict[str, float]


def weigh(counts: list[Counts]) -> list[Weights]:
    """The weight of each word in each document (tf-idf)."""
    holders = Counter(word for each in counts for word in each)
    weights: list[Weights] = []
    for each in counts:
        total = sum(each.values()) or 1
        rarity = {word: math.log((1 + len(counts)) / (1 + holders[word])) + 1 for word in each}
        weights.append({word: count / total * rarity[word] for word, count in each.items()})
    return weights


@router.component
def keywords(documents: list[Document], ctx: BlockingContext, count: int = 8) -> list[list[Keyword]]:
    """Find the words that set each document apart.

    Args:
        documents: All documents.
        count: How many words for each.
    """
    found: list[list[Keyword]] = []
    for weights in weigh([ctx.get_blob(document.terms, type=Counts) for document in documents]):
        best = sorted(weights.items(), key=lambda item: (-item[1], item[0]))[:count]
        found.append([Keyword(word, round(weight, 4)) for word, weight in best])
    return found


@router.component
def similarity(documents: list[Document], ctx: BlockingContext) -> list[Pair]:
    """Say how near each two documents are, the nearest first (cosine of their weights)."""
    weights = weigh([ctx.get_blob(document.terms, type=Counts) for document in documents])
    pairs = [
        Pair(documents[one].name, documents[other].name, round(_cosine(weights[one], weights[other]), 3))
        for one, other in combinations(range(len(documents)), 2)
    ]
    return sorted(pairs, key=lambda pair: -pair.similarity)


def _cosine(one: Weights, other: Weights) -> float:
    product = sum(weight * other.get(word, 0.0) for word, weight in one.items())
    length = math.hypot(*one.values()) * math.hypot(*other.values())
    return product / length if length else 0.0


@router.component(timeout=60)
async def summaries(documents: list[Document], ctx: StepflowContext, count: int = 3) -> list[list[str]]:
    """Pick the sentences of each document that hold most of its weight.

    Args:
        documents: All documents.
        count: How many sentences for each.
    """
    async with asyncio.TaskGroup() as group:
        texts = [group.create_task(ctx.get_blob(document.text, type=Text)) for document in documents]
        counts = [group.create_task(ctx.get_blob(document.terms, type=Counts)) for document in documents]
    weights = weigh([task.result() for task in counts])
    return [_summary(task.result().content, each, count) for task, each in zip(texts, weights, strict=True)]


def _summary(content: str, weights: Weights, count: int) -> list[str]:
    sentences = language.sentences(content)
    scores: dict[int, float] = {}
    for index, sentence in enumerate(sentences):
        found = language.terms(sentence)
        if 5 <= len(found) <= 30:
            # The square root keeps long sentences from winning by their length, and short ones by one rare word.
            scores[index] = sum(weights.get(word, 0.0) for word in set(found)) / math.sqrt(len(found))
    best = sorted(scores, key=lambda index: (-scores[index], index))[:count]
    return [sentences[index] for index in sorted(best)] or sentences[:1]
