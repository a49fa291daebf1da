"""Lines in a stream of bytes."""

import json

from hypothesis import given
from hypothesis import strategies as st

from stepflow_sdk.transports.framing import LineSplitter, TooLong, join_lines


def lines_of(splitter: LineSplitter, chunks: list[bytes]) -> list[bytes | TooLong]:
    out: list[bytes | TooLong] = []
    for lines in [*(splitter.feed(chunk) for chunk in chunks), splitter.finish()]:
        out += [line if isinstance(line, TooLong) else bytes(line) for line in lines]
    return out


_chunks = st.lists(st.binary(max_size=20) | st.sampled_from([b"\n", b"a\nb", b"\r\n", b"x" * 30]), max_size=12)


@given(_chunks)
def test_the_lines_are_those_of_the_whole_whatever_the_chunks(chunks: list[bytes]) -> None:
    *lines, last = b"".join(chunks).split(b"\n")
    assert lines_of(LineSplitter(10_000), chunks) == [*lines, *([last] if last else [])]


@given(_chunks, st.integers(1, 25))
def test_a_line_above_the_limit_comes_out_once_as_too_long(chunks: list[bytes], limit: int) -> None:
    *lines, last = b"".join(chunks).split(b"\n")
    expected = [*lines, *([last] if last else [])]
    found = lines_of(LineSplitter(limit), chunks)
    assert len(found) == len(expected)
    for line, out in zip(expected, found, strict=True):
        if len(line) <= limit:
            assert out == line
        else:
            assert isinstance(out, TooLong)
            assert line.startswith(out.start)
            assert out.start


def test_a_line_far_above_the_limit_is_not_kept() -> None:
    splitter = LineSplitter(1000)
    found = [line for _ in range(1000) for line in splitter.feed(b"x" * 1000)]
    assert [type(line) for line in found] == [TooLong]
    assert splitter.feed(b"rest\nnext\n") == [b"next"]


@given(st.lists(st.recursive(st.none() | st.text(), st.lists, max_leaves=4), min_size=1, max_size=5))
def test_frames_become_one_line_each_also_when_they_are_printed_over_many(values: list[object]) -> None:
    frames = [json.dumps(value, indent=2).encode() for value in values]
    lines = join_lines(frames).split(b"\n")
    assert lines.pop() == b""
    assert [json.loads(line) for line in lines] == values
