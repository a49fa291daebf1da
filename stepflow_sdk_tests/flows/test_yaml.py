import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepflow_sdk.errors import InvalidDocument
from stepflow_sdk.flows import dump_yaml, parse_yaml
from stepflow_sdk_tests.flows.strategies import JSON, TEXT

SCALARS: list[tuple[str, object]] = [
    *(
        (text, text)
        for text in [
            "yes",
            "no",
            "on",
            "off",
            "Yes",
            "y",
            "n",
            "2020-01-01",
            "1_000",
            "0123",
            "08",
            "00",
            "1:30",
            "0X1f",
            "nULL",
            "tRUE",
        ]
    ),
    *(
        (text, text)
        for text in [
            "2001-12-14t21:59:43.10-05:00",
            "1e400",
            "-1e400",
            ".",
            "+",
            "e5",
            ".e5",
            "1e",
            "0x",
            "0o8",
            "0b2",
            "+-1",
            "NaN",
            "inf",
        ]
    ),
    *((text, text) for text in ["1__0", "١", "1,5", "0x1G", "--1", "-01", "="]),
    ("0", 0),
    ("12", 12),
    ("-5", -5),
    ("+5", 5),
    ("0o17", 15),
    ("0x1F", 31),
    ("0b11", 3),
    ("-0x10", -16),
    ("+0o7", 7),
    ("18446744073709551615", 2**64 - 1),
    ("-9223372036854775808", -(2**63)),
    ("1e3", 1000.0),
    ("1E-3", 0.001),
    (".5", 0.5),
    ("-.5", -0.5),
    ("5.", 5.0),
    ("01.5", 1.5),
    ("1.0", 1.0),
    *((text, None) for text in [".inf", "-.inf", "+.Inf", ".INF", ".nan", ".NaN", ".NAN", "~", "null", "Null", "NULL"]),
    ("", None),
    *((text, True) for text in ["true", "True", "TRUE"]),
    *((text, False) for text in ["false", "False", "FALSE"]),
    ("'12'", "12"),
    ('"true"', "true"),
    ("|\n    12\n", "12\n"),
    ("!!str 12", "12"),
    ("! 12", "12"),
    ("!!float 1", 1.0),
    ("!!int '7'", 7),
    ("!!null ''", None),
    ("!!seq [1]", [1]),
    ("!!map {a: 1}", {"a": 1}),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_scalars_are_read_by_the_rules_of_upstream(text: str, value: object) -> None:
    read = parse_yaml(f"k: {text}").value["k"]
    assert read == value
    assert type(read) is type(value)


def test_keys_become_their_text_and_the_merge_key_is_a_key() -> None:
    text = "1: a\ntrue: b\n~: c\n1.50: d\n<<: {x: 1}\n? !!str 7\n: e\n"
    assert parse_yaml(text).value == {"1": "a", "true": "b", "~": "c", "1.50": "d", "<<": {"x": 1}, "7": "e"}


def test_anchors_and_aliases_work_also_as_keys() -> None:
    text = "base: &b {x: [1]}\ncopy: *b\nname: &n key\n*n : 1\nagain: &b 2\nlast: *b\n"
    document = parse_yaml(text).value
    assert document == {"base": {"x": [1]}, "copy": {"x": [1]}, "name": "key", "key": 1, "again": 2, "last": 2}


def test_of_a_repeated_key_the_last_value_counts_at_the_place_of_the_first() -> None:
    document = parse_yaml("a: 1\nb: {c: 2}\na: 3\n")
    assert list(document.value.items()) == [("a", 3), ("b", {"c": 2})]
    assert [(found.path, found.first_line, found.line) for found in document.duplicates] == [(("a",), 1, 3)]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "\ufeff"])
def test_no_document_is_null(text: str) -> None:
    assert parse_yaml(text).value is None


def _bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 12)]
    return "\n".join(lines)


def _merge_bomb() -> str:
    lines = ["a0: &a0 {a: x, b: x, c: x, d: x, e: x, f: x, g: x, h: x}"]
    lines += [f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 9)}]}}" for level in range(1, 12)]
    return "\n".join(lines)


def _alias_tower() -> str:
    lines = ["- &a0 [[[[[[[[[[x]]]]]]]]]]"]
    lines += [f"- &a{level} [[[[[[[[[[*a{level - 1}]]]]]]]]]]" for level in range(1, 20)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: 1\nb: [1, 2", 3, "not YAML: while parsing a flow sequence"),
        ("a: 1\n\tb: 2", 2, "not YAML: "),
        ("x\n--- \na: 1\n", 2, "a second document starts here"),
        ("a: !foo 1", 1, "unknown tag !foo"),
        ("a:\n  - !!python/object:os.system {}", 2, "unknown tag !!python/object:os.system"),
        ("a: !!binary aGk=", 1, "unknown tag !!binary"),
        ("a: !!set {x}", 1, "unknown tag !!set"),
        ("a: !!int x", 1, "!!int stands before the string 'x'"),
        ("\n[a]: 1", 2, "keys are text"),
        ("? {a: 1}\n: 1", 1, "keys are text"),
        ("a: &x [1]\n*x : 1", 2, "keys are text"),
        ("a: *nowhere", 1, "the alias *nowhere has no anchor before it"),
        ("a: &x [*x]", 1, "the alias *x stands inside of what it names"),
        ("a: 18446744073709551616", 1, "outside the range of 64 bits"),
        ("a: -9223372036854775809", 1, "outside the range of 64 bits"),
        ("a: 0xFFFFFFFFFFFFFFFFF", 1, "outside the range of 64 bits"),
        ("9" * 5000, 1, "outside the range of 64 bits"),
        ("é: 1\nb: \x01", 2, "not YAML: the character U+0001 must not stand in YAML as it is"),
        ("[" * 100_000, 1, "nested deeper than 128 levels"),
        ("\n".join(f"{' ' * level}a:" for level in range(140)), 129, "nested deeper than 128 levels"),
        (_alias_tower(), 13, "nested deeper than 128 levels by the alias"),
        ("- 1\n" * 1_000_001, 1_000_000, "the document holds more than 1,000,000 values"),
        (_merge_bomb(), 6, "more than 1,000,000 values, once its aliases are written out"),
        (_bomb(), 7, "more than 1,000,000 values, once its aliases are written out"),
    ],
    ids=lambda value: str(value)[:30],
)
@pytest.mark.promise("S10")
def test_bad_yaml_gets_one_error_with_its_line(text: str, line: int | None, problem: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        parse_yaml(text, file="f.yaml")
    assert problem in caught.value.problem
    assert caught.value.line == line
    assert str(caught.value).startswith("f.yaml:")


def test_bytes_that_are_not_utf_8_are_refused_with_their_line() -> None:
    with pytest.raises(InvalidDocument, match=r"f\.yaml:2: not UTF-8 at byte 5"):
        parse_yaml(b"a: 1\n\xff", file="f.yaml")


@given(JSON)
@settings(max_examples=200, deadline=None)
def test_what_is_written_as_yaml_reads_back_to_the_same_value(value: Any) -> None:
    assert repr(parse_yaml(dump_yaml(value)).value) == repr(value)


@given(TEXT | st.sampled_from([text for text, _ in SCALARS]) | st.text(alphabet="0123456789.eExob+-_: ", max_size=6))
@settings(max_examples=300, deadline=None)
def test_a_string_written_as_yaml_stays_a_string(text: str) -> None:
    assert parse_yaml(dump_yaml({text: [text]})).value == {text: [text]}


@given(st.binary(max_size=40) | st.text(alphabet="ab:-&*![]{}'\"|>?#% \n\t01", max_size=40).map(str.encode))
@settings(max_examples=400, deadline=None)
@pytest.mark.promise("S10")
def test_any_bytes_are_yaml_or_refused(text: bytes) -> None:
    try:
        value = parse_yaml(text).value
    except InvalidDocument:
        return
    assert not (isinstance(value, float) and math.isnan(value))
