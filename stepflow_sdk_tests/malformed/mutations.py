"""Documents that were right before something was done to them."""

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

STRANGE: list[Any] = [
    None, True, False, 0, -1, 1.5, 2**70, float("nan"), "", " ", "$", "$x", "$[", "/", "{", "${", "x" * 500, "é\n",
    "\ud800", [], {}, [[]], [None], {"": 1}, {"a": {"b": []}}, {1: 2}, {"$step": 1}, {"$step": "nobody"},
    {"$input": "$["},
    {"$input": []}, {"$coalesce": 1}, {"$if": 1}, {"$variable": []}, {"$from": {"step": "a"}},
    {"$literal": {"$step": 1}}, b"bytes",
]  # fmt: skip
"""What takes the place of something; NaN, half a surrogate pair, the key 1 and bytes are no JSON."""

PIECES = [*"{}[]:,\"'&*!|>%@`#-\t\n \\?~0\0é", "- ", "\n  ", "<<: *a", "&a ", "*a", "!!x ", "---\n"]
"""What is put into a text."""

Place = tuple[Any, ...]


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """The places of everything inside a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*place, key)
        yield from places(item, (*place, key))


@st.composite
def mutated(draw: st.DrawFn, documents: st.SearchStrategy[Any]) -> Any:
    """One of the documents, after one to three changes."""
    document = copy.deepcopy(draw(documents))
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(document))
        if not found:
            break
        *outer, key = draw(st.sampled_from(found))
        holder = document
        for step in outer:
            holder = holder[step]
        _change(draw, holder, key)
    return document


def _change(draw: st.DrawFn, holder: Any, key: Any) -> None:
    how = draw(st.sampled_from(["replace", "replace", "remove", "wrap", "rename", "twice"]))
    match how:
        case "remove":
            del holder[key]
        case "wrap":
            holder[key] = draw(st.sampled_from([[holder[key]], {"x": holder[key]}, str(holder[key])]))
        case "rename" if isinstance(holder, dict):
            name = str(key)
            holder[draw(st.sampled_from([name[:-1], name.upper(), f"${name}", f"{name}s", ""]))] = holder.pop(key)
        case "twice" if isinstance(holder, list):
            holder.insert(draw(st.integers(0, len(holder))), copy.deepcopy(holder[key]))
        case _:
            # A copy: the next change may be one of what was put there.
            holder[key] = copy.deepcopy(draw(st.sampled_from(STRANGE)))


@st.composite
def garbled(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> bytes:
    """One of the texts, after one to three characters or lines were changed."""
    text = draw(texts)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        until = min(len(text), at + draw(st.sampled_from([0, 1, 1, 2, 10])))
        put = draw(st.sampled_from(PIECES))
        text = text[:at] + put + text[until:]
    return text.encode() + draw(st.sampled_from([b"", b"", b"", b"\xff"]))
