import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepflow_sdk.transports.framing import TooLong
from stepflow_sdk.transports.sse_reader import ServerEvent, SseReader


def read(*chunks: bytes, max_bytes: int = 1000) -> list[ServerEvent | TooLong]:
    reader = SseReader(max_bytes)
    return [event for chunk in chunks for event in reader.feed(chunk)]


def message(data: bytes) -> ServerEvent:
    return ServerEvent("message", data)


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: 1\n\n", [message(b"1")]),
        (b"data:1\n\n", [message(b"1")]),
        (b"data:  1\n\n", [message(b" 1")]),
        (b"data: 1\r\n\r\n", [message(b"1")]),
        (b"data: 1\r\r", [message(b"1")]),
        (b"data: 1\r\n\ndata: 2\n\r\n", [message(b"1"), message(b"2")]),
        (b"data: {\ndata: }\n\n", [message(b"{\n}")]),
        (b"data\n\n", [message(b"")]),
        (b"data:\n\n", [message(b"")]),
        (b"\xef\xbb\xbfdata: 1\n\n", [message(b"1")]),
        (b"\xef\xbb\xbf\ndata: 1\n\n", [message(b"1")]),
        (b": a comment\n\n\n\n: another\ndata: 1\n\n", [message(b"1")]),
        (b"event: endpoint\nid: 7\nretry: 10\ndata: 1\nelse: x\n\n", [ServerEvent("endpoint", b"1")]),
        (b"event: lost\n\ndata: 1\n\n", [message(b"1")]),
        (b"database: 1\nDATA: 2\n data: 3\n\n", []),
        (b"data: 1\n\ndata: cut off", [message(b"1")]),
        (b"data: 1\n\ndata: cut off\n", [message(b"1")]),
        (b"", []),
    ],
)
def test_a_stream_is_read_as_the_standard_says(stream: bytes, events: list[ServerEvent]) -> None:
    assert read(stream) == events
    assert read(*(stream[at : at + 1] for at in range(len(stream)))) == events


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@st.composite
def written_events(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, Any]]]:
    """A stream in any of the ways to write one, and what it says."""
    stream = b""
    said: list[tuple[str, Any]] = []
    for value in draw(st.lists(json_values, max_size=5)):
        name = draw(st.sampled_from(["message", "endpoint", "keepalive"]))
        text = json.dumps(value, indent=draw(st.sampled_from([None, 1])), ensure_ascii=draw(st.booleans()))
        line_end = draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
        blank = draw(st.sampled_from([b"", b" "]))
        lines = [b"data:" + blank + line.encode("utf-8", "surrogatepass") for line in text.split("\n")]
        if any(line.startswith(b"data: ") for line in lines) and not blank:
            lines = [line.replace(b"data:", b"data: ", 1) for line in lines]
        lines[:0] = draw(st.lists(st.sampled_from([b": hello", b"id: 4", b"retry: 5", b"other"]), max_size=2))
        if name != "message":
            lines.append(b"event: " + name.encode())
        # One line end for each event: a line that ends in CR before an empty one that ends in LF would be one line.
        stream += b"".join([line + line_end for line in [*lines, b""]])
        said.append((name, value))
    return stream, said


def chunks_of(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[start:end] for start, end in pairwise(places)]


@given(written_events(), st.lists(st.integers(0, 10**6)))
@settings(max_examples=150, deadline=None)
def test_any_chunking_of_any_events_gives_the_same_events(
    written: tuple[bytes, list[tuple[str, Any]]], cuts: list[int]
) -> None:
    stream, said = written
    events = read(*chunks_of(stream, cuts), max_bytes=10**9)
    found: list[tuple[str, Any]] = []
    for event in events:
        assert isinstance(event, ServerEvent)
        found.append((event.name, json.loads(event.data.decode("utf-8", "surrogatepass"))))
    assert found == said


alphabet = st.sampled_from(
    [b"data", b":", b" ", b"\n", b"\r", b"\r\n", b"event", b"x" * 7, b"\xc3\xa9", b"\xef\xbb\xbf"]
)


@given(st.lists(alphabet).map(b"".join), st.lists(st.integers(0, 10**6)), st.integers(0, 30))
@settings(max_examples=300, deadline=None)
def test_any_bytes_in_any_chunks_give_the_same_events(stream: bytes, cuts: list[int], max_bytes: int) -> None:
    assert read(*chunks_of(stream, cuts), max_bytes=max_bytes) == read(stream, max_bytes=max_bytes)


def test_an_event_above_the_limit_is_told_once_and_skipped() -> None:
    events = read(b"data: " + b"x" * 30, b"x" * 30 + b"\n", b"data: more\n\n", b"data: 1\n\n", max_bytes=20)
    assert events == [TooLong(b"x" * 20), message(b"1")]


def test_an_event_of_many_short_lines_is_limited_too() -> None:
    events = read(b"data: 123\n" * 100 + b"\n", b"data: 1\n\n", max_bytes=20)
    assert events == [TooLong(b"123\n123\n123\n123\n123\n"), message(b"1")]


def test_an_event_of_the_limit_is_read() -> None:
    assert read(b"data: " + b"x" * 20 + b"\n\n", max_bytes=20) == [message(b"x" * 20)]


def test_a_comment_without_an_end_does_not_fill_the_memory() -> None:
    reader = SseReader(1000)
    events = [event for _ in range(100) for event in reader.feed(b":" * 100)]
    assert events == [TooLong(b"")]
    assert reader.feed(b"\n\ndata: 1\n\n") == [message(b"1")]
