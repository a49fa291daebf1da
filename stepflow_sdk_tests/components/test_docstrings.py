"""Docstrings in the three usual styles, and what is not one."""

import pytest

from stepflow_sdk.components.docstrings import parse_docstring

_GOOGLE = """Say hello.

    More words: with a colon.

    Args:
        name: Who to greet,
            at length.
        times (int, optional): How often.
        **options: The rest.

    Raises:
        ValueError: Never.

    Example:
        Some text.
    """

_NUMPY = """Say hello.

    More words: with a colon.

    Parameters
    ----------
    name : str
        Who to greet,
        at length.
    times : int, optional
        How often.
    **options
        The rest.

    Returns
    -------
    str
        The greeting.
    """

_SPHINX = """Say hello.

    More words: with a colon.

    :param name: Who to greet,
        at length.
    :param int times: How often.
    :param options: The rest.
    :type times: int
    :returns: The greeting.
    :rtype: str
    """


@pytest.mark.parametrize("text", [_GOOGLE, _NUMPY, _SPHINX], ids=["google", "numpy", "sphinx"])
def test_summary_and_body_are_the_description_and_parameters_have_their_own(text: str) -> None:
    parsed = parse_docstring(text)
    assert parsed.description == "Say hello.\n\nMore words: with a colon."
    assert parsed.names == {"name": "Who to greet, at length.", "times": "How often.", "options": "The rest."}


@pytest.mark.parametrize("text", [None, "", "   \n  "])
def test_nothing_gives_nothing(text: str | None) -> None:
    parsed = parse_docstring(text)
    assert (parsed.description, parsed.names) == (None, {})


def test_words_that_only_look_like_a_section_stay_in_the_description() -> None:
    text = "Notes on arguments.\n\nParameters are free.\nArgs: none."
    assert parse_docstring(text).description == text


def test_text_after_a_section_belongs_to_the_description_again() -> None:
    parsed = parse_docstring("One.\n\nArgs:\n    a: b\n\nTwo.")
    assert parsed.description == "One.\n\nTwo."
