"""Lines in a stream of bytes."""

import json

from hypothesis import given
from hypothesis import strategies as st

from stepflow_sdk.transports.framing import FrameSplitter, LineSplitter, TooLong, is_message, join_frames, join_lines


def lines_of(splitter: LineSplitter | FrameSplitter, chunks: list[bytes]) -> list[bytes | TooLong]:
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


# ---- packed frames ----------------------------------------------------------------------------------------------

_packed = st.binary(max_size=40).map(lambda rest: b"\x81" + rest)
_lines = st.text(max_size=20).map(lambda text: json.dumps(text, ensure_ascii=False).encode())


def cut(data: bytes, places: list[int]) -> list[bytes]:
    at = sorted({place % (len(data) + 1) for place in places})
    return [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True)]


@given(st.lists(_lines, max_size=4), st.lists(_packed, max_size=6), st.lists(st.integers(0, 500), max_size=8))
def test_packed_frames_follow_lines_whatever_the_chunks(
    lines: list[bytes], packed: list[bytes], places: list[int]
) -> None:
    data = b"".join(join_frames([frame]) for frame in [*lines, *packed])
    splitter = FrameSplitter()
    splitter.expect_packed()
    assert lines_of(splitter, cut(data, places)) == [*lines, *packed]


@given(st.lists(_packed, min_size=1, max_size=6))
def test_frames_of_one_write_come_out_one_by_one(packed: list[bytes]) -> None:
    splitter = FrameSplitter()
    splitter.expect_packed()
    assert lines_of(splitter, [join_frames(packed)]) == packed


@given(st.lists(_packed, max_size=6), st.integers(1, 30), st.lists(st.integers(0, 500), max_size=8))
def test_a_packed_frame_above_the_limit_comes_out_once_as_too_long(
    packed: list[bytes], limit: int, places: list[int]
) -> None:
    splitter = FrameSplitter(limit)
    splitter.expect_packed()
    found = lines_of(splitter, cut(b"".join(join_frames([frame]) for frame in packed), places))
    assert len(found) == len(packed)
    for frame, out in zip(packed, found, strict=True):
        if len(frame) <= limit:
            assert out == frame
        else:
            assert isinstance(out, TooLong)
            assert out.start == frame


def test_a_packed_frame_far_above_the_limit_is_not_kept() -> None:
    splitter = FrameSplitter(1000)
    splitter.expect_packed()
    head = b"\xc1" + (1_000_000).to_bytes(4)
    found = [frame for chunk in [head, *[b"x" * 1000] * 1000] for frame in splitter.feed(chunk)]
    assert found == [TooLong(b"x" * 2000)]
    assert splitter.feed(join_frames([b"\x80"])) == [b"\x80"]


@given(_packed, st.text(min_size=5, max_size=30), _packed)
def test_what_is_printed_between_packed_frames_costs_none_of_them(first: bytes, text: str, second: bytes) -> None:
    splitter = FrameSplitter()
    splitter.expect_packed()
    data = join_frames([first]) + text.encode() + join_frames([second])
    assert lines_of(splitter, [data]) == [first, text.encode(), second]


@given(st.lists(st.binary(max_size=30), max_size=6))
def test_any_bytes_come_out_or_are_waited_for(chunks: list[bytes]) -> None:
    splitter = FrameSplitter(100)
    splitter.expect_packed()
    lines_of(splitter, chunks)


def test_packed_frames_that_nobody_expects_are_lines() -> None:
    assert lines_of(FrameSplitter(), [b"\xc1\x00\x00\x00\x01\x80\n"]) == [b"\xc1\x00\x00\x00\x01\x80"]


@given(_packed, _packed, st.data())
def test_a_packed_frame_that_is_cut_off_by_the_end_comes_out_and_is_no_message(
    first: bytes, second: bytes, data: st.DataObject
) -> None:
    splitter = FrameSplitter()
    splitter.expect_packed()
    cut_off = join_frames([second])[: data.draw(st.integers(1, 4 + len(second)))]
    assert splitter.feed(join_frames([first]) + cut_off) == [first]
    (left,) = splitter.finish()
    assert left == cut_off
    assert not is_message(cut_off)
