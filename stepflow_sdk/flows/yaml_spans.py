"""Where the values of a YAML text begin and end, for whoever changes the text."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from stepflow_sdk.flows.source import unreadable

__all__ = ["Span", "read_spans"]

_KEEPS: Final = re.compile(r"[|>][0-9]?\+")


@dataclass
class Span:
    """Where a value stands in a text: from its first character to behind its last.

    Attributes:
        start: The index of its first character.
        end: The index behind its last.
        column: That of its first character, from 0.
        is_block: Whether it is a mapping or a sequence in block style.
        fields: The spans of the keys and the values of a mapping, by key.
        items: The spans of the items of a sequence.
    """

    start: int
    end: int
    column: int = 0
    is_block: bool = False
    fields: dict[str, tuple["Span", "Span"]] = field(default_factory=dict[str, Any])
    items: list["Span"] = field(default_factory=list["Span"])


def read_spans(text: str) -> Span:
    """Find the places of everything in a YAML text that is known to be readable.

    Raises:
        InvalidDocument: Its scanner in Python refuses what the one in C accepts.
    """
    import yaml

    # The loader in Python, because the marks of the one in C count bytes in some versions.
    events = (
        event
        for event in yaml.parse(text, Loader=yaml.SafeLoader)
        if not isinstance(event, (yaml.StreamStartEvent, yaml.DocumentStartEvent))
    )
    try:
        return _span(next(events), events, text)
    except yaml.YAMLError as error:
        raise unreadable(f"cannot be updated: {' '.join(str(error).split())[:200]}", file=None) from None


def _span(event: Any, events: Iterator[Any], text: str) -> Span:
    span = Span(event.start_mark.index, event.end_mark.index, event.start_mark.column)
    kind = type(event).__name__
    if kind == "MappingStartEvent":
        for inner in _until("MappingEndEvent", events, span):
            key = _span(inner, events, text)
            span.fields[getattr(inner, "value", "")] = (key, _span(next(events), events, text))
        parts: Iterable[Span] = [value for _, value in span.fields.values()]
    elif kind == "SequenceStartEvent":
        for inner in _until("SequenceEndEvent", events, span):
            span.items.append(_span(inner, events, text))
        parts = span.items
    else:
        # A block scalar ends where the next thing begins; the empty lines between are its own only if it keeps them.
        if not _KEEPS.match(text, span.start):
            span.end = max(span.start, len(text[span.start : span.end].rstrip()) + span.start)
        return span
    span.is_block = not event.flow_style
    if span.is_block:
        # The parser ends a block behind the comments that follow it.
        span.end = max((part.end for part in parts), default=span.start)
    return span


def _until(end: str, events: Iterator[Any], span: Span) -> Iterator[Any]:
    for event in events:
        if type(event).__name__ == end:
            span.end = event.end_mark.index
            return
        yield event
