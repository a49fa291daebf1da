import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepflow_sdk.flows import MISSING, follow, format_path, parse_path


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (None, ()),
        ("", ()),
        ("$", ()),
        ("x", ("x",)),
        ("x y", ("x y",)),
        ("  x", ("  x",)),
        ("$.x", ("x",)),
        ("  $.x", ("x",)),
        ("$.a.b", ("a", "b")),
        ("$.x y.1z", ("x y", "1z")),
        ("$.0", ("0",)),
        ("$[3]", (3,)),
        ("$.a[0][12]", ("a", 0, 12)),
        ('$["k.[0]"]', ("k.[0]",)),
        ("$['k']", ("k",)),
        ("$['say \"x\"]']", ('say "x"]',)),
        ("$..a", ("a",)),
        ("$.a..b.", ("a", "b")),
        ('$[""]', ()),
        # Bare names with a dot or a bracket are what the orchestrator makes of them.
        ("a.b", ("a", "b")),
        ("[0]", (0,)),
        ("a[0].b", ("a", 0, "b")),
    ],
)
def test_a_path_is_read_as_the_format_says(text: str | None, parts: tuple[str | int, ...]) -> None:
    assert parse_path(text) == parts


@pytest.mark.parametrize("text", ["$x", "$[-1]", "$[abc]", "$[0", "$[+1]", "$[1_0]", "$['a", "$[0]x", "$[٣]", "a[b]"])
def test_what_is_no_path_is_refused_with_the_place(text: str) -> None:
    with pytest.raises(ValueError, match="is not a path: "):
        parse_path(text)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ((), "$"),
        (("a", 0), "$.a[0]"),
        (("x y",), "$.x y"),
        (("x ", "y"), '$["x "].y'),
        (("a.b", "c"), '$["a.b"].c'),
        (('"].',), "$['\"].']"),
        (("$a",), "$.$a"),
    ],
)
def test_a_path_has_one_normal_form(parts: tuple[str | int, ...], text: str) -> None:
    assert format_path(parts) == text


@given(st.lists(st.text(min_size=1, max_size=8) | st.integers(0, 10**18), max_size=4).map(tuple))
@settings(max_examples=300, deadline=None)
def test_the_normal_form_of_a_path_reads_back_to_the_same_parts(parts: tuple[str | int, ...]) -> None:
    try:
        text = format_path(parts)
    except ValueError:
        assert any(isinstance(part, str) and '"]' in part and "']" in part for part in parts)
    else:
        assert parse_path(text) == parts


@given(st.text(alphabet="$.[]\"' ab01", max_size=12))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_path_or_refused(text: str) -> None:
    try:
        parts = parse_path(text)
    except ValueError:
        return
    assert all(part != "" for part in parts)
    if not any(isinstance(part, str) and '"]' in part for part in parts):
        assert parse_path(format_path(parts)) == parts


def test_an_index_applies_to_arrays_and_a_field_to_objects_only() -> None:
    assert follow([10, 20], (1,)) == 20
    assert follow([10, 20], (2,)) is MISSING
    assert follow([10, 20], ("0",)) is MISSING
    assert follow({"0": 1}, (0,)) is MISSING
    assert follow("text", (0,)) is MISSING
    assert follow(None, ("a",)) is MISSING
    assert follow({"a": None}, ("a",)) is None
