"""Names of tools: legal, and each of one path alone."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepflow_sdk.mcp_server import tool_name

LEGAL = re.compile(r"[A-Za-z0-9_.-]+")
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)
LITERALS = st.one_of(
    st.text(st.sampled_from("ab1-_.é "), min_size=1, max_size=6),
    st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="/{}"), min_size=1, max_size=6),
).filter(lambda text: text == text.strip() and text.isprintable())


@st.composite
def paths(draw: st.DrawFn) -> str:
    literals = st.lists(st.one_of(LITERALS, NAMES), min_size=1, max_size=3)
    names = draw(st.lists(NAMES, max_size=3, unique=True))
    parameters = [f"{{{name}}}" for name in names]
    rest: list[str] = []
    takes_rest: bool = draw(st.booleans())
    if names and takes_rest:
        parameters.pop()
        rest.append(f"{{*{names[-1]}}}")
    segments = draw(st.permutations([*draw(literals), *parameters]))
    return "/" + "/".join([*segments, *rest])


def path_of(name: str) -> str:
    """The path of a tool: what the page says about names, backwards."""
    path, at_start = "/", True
    while name:
        if found := re.match(r"\.\.([0-9]+)\.", name):
            text = chr(int(found[1]))
        elif at_start and (found := re.match(r"\.(-?)([A-Za-z_][A-Za-z0-9_]*)", name)):
            text = "{" + ("*" if found[1] else "") + found[2] + "}"
        else:
            found = re.match(r"\.|[^.]+", name)
            assert found
            text = found[0].replace(".", "/")
        path, at_start, name = path + text, text == "/", name[found.end() :]
    return path


@settings(max_examples=300, deadline=None)
@given(paths())
def test_a_name_is_legal_and_can_be_read_back(path: str) -> None:
    name = tool_name(path)
    assert LEGAL.fullmatch(name)
    assert path_of(name) == path


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/greet", "greet"),
        ("/text/shout", "text.shout"),
        ("/create_messages-2", "create_messages-2"),
        ("/shout/{word}", "shout..word"),
        ("/{model}/{*rest}", ".model..-rest"),
        ("/a.b/é", "a..46.b...233."),
    ],
)
def test_names_are_what_the_page_says(path: str, name: str) -> None:
    assert tool_name(path) == name
