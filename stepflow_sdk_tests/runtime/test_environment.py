import os
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepflow_sdk.runtime.environment import child_environment, substitute

ENVIRON = {"A": "a", "EMPTY": "", "DOLLAR": "$A", "B_1": "b", "LONG": "x" * 100_000}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", ""),
        ("plain } text", "plain } text"),
        ("$A-$B_1", "a-b"),
        ("${A}x", "ax"),
        ("${A:d}", "a"),
        ("${NO:d}", "d"),
        ("${NO:-d}", "d"),
        ("${NO:}", ""),
        ("${NO:-}", ""),
        ("${NO:${A}}", "a"),
        ("${NO:x${NO2:-y$A}z}", "xyaz"),
        ("${A:${NO}}", "a"),
        ("${EMPTY:d}", ""),
        (r"\$A", "$A"),
        (r"\\$A", "\\a"),
        (r"\\\\host\\x", r"\\host\x"),
        (r"C:\new\x\ ", r"C:\new\x\ "),
        (r"${NO:a\}b\:c\{}", "a}b:c{"),
        ("end\\", "end\\"),
        ("$DOLLAR", "$A"),
        ("${NO:a:b}", "a:b"),
    ],
)
def test_variables_are_filled_in(text: str, value: str) -> None:
    assert substitute(text, ENVIRON) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("$NO", "'NO' is not set"),
        ("${NO}", "'NO' is not set"),
        ("${NO:$NO2}", "'NO2' is not set"),
        ("$", "no variable name"),
        ("$5", "no variable name"),
        ("${}", "no variable name"),
        ("${A", "never closed"),
        ("${NO:x", "never closed"),
        ("${A b}", "never closed"),
        ("${NO:" * 50, "nested deeper"),
        ("$LONG" * 20, "longer than 1 MiB"),
        ("${NO:" + "$LONG" * 20 + "}", "longer than 1 MiB"),
        ("$(touch x)", "no variable name"),
    ],
)
@pytest.mark.promise("S11")
def test_what_cannot_be_filled_in_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        substitute(text, ENVIRON)


@given(st.text())
@pytest.mark.promise("S11")
def test_any_text_is_filled_in_or_refused(text: str) -> None:
    try:
        substitute(text, ENVIRON)
    except ValueError:
        assert "$" in text


@given(st.text(st.one_of(st.sampled_from("$\\{}:"), st.characters())))
def test_an_escaped_text_is_itself(text: str) -> None:
    assert substitute(re.sub(r"([$\\{}:])", r"\\\1", text), {}) == text


@pytest.mark.promise("S12")
def test_a_server_gets_what_programs_need_and_no_secrets() -> None:
    ours = {"PATH": "/bin", "HOME": "/home/me", "LC_ALL": "C", "OPENAI_API_KEY": "secret", "AWS_TOKEN": "secret"}
    child = child_environment({"MINE": "1", "HOME": "/elsewhere"}, environ=ours)
    interpreter = os.fspath(Path(sys.executable).parent)
    assert child == {
        "PATH": f"{interpreter}{os.pathsep}/bin",
        "HOME": "/elsewhere",
        "LC_ALL": "C",
        "MINE": "1",
    }


def test_a_path_that_is_configured_is_taken_as_it_is() -> None:
    assert child_environment({"PATH": "/only"}, environ={"PATH": "/bin"}) == {"PATH": "/only"}
