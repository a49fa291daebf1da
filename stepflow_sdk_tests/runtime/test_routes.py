import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepflow_sdk.errors import ComponentNotFound, ExpressionError, InvalidConfig
from stepflow_sdk.runtime.routes import Condition, Pattern, Route, Router, Rule, Target


def router(*patterns: str, **rules: Any) -> Router:
    return Router([Route(pattern, (Rule(pattern, "/x"),)) for pattern in patterns])


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("/a/b", "/a/b"),
        ("/a/p-1", "/a/p-{x}"),
        ("/a/p-", "/a/{x}"),
        ("/a/c", "/a/{x}"),
        ("/a/c/d", "/a/{*rest}"),
        ("/a/", "/{*rest}"),
        ("/b/c/d", "/{*rest}"),
        ("/A/b", "/{*rest}"),
        ("/a/b/", "/a/{*rest}"),
    ],
)
def test_the_most_literal_pattern_wins(path: str, pattern: str) -> None:
    routes = router("/{*rest}", "/a/{*rest}", "/a/{x}", "/a/p-{x}", "/a/b")
    assert routes.route(path, None).plugin == pattern


@pytest.mark.parametrize("path", ["/a", "/a/b/c", "a/b", "", "/", "/a//", "/a/b/"])
def test_a_placeholder_is_one_part_that_is_not_empty(path: str) -> None:
    with pytest.raises(ComponentNotFound, match="No matching rule found for component"):
        router("/a/{x}").route(path, None)


@pytest.mark.parametrize(
    "pattern", ["a", "/{", "/}", "/{}", "/{a}b", "/{*a}/b", "/{a}{b}", "/{a}/{a}", "/{a b}", "/{*}", "/x{", "/{{a}"]
)
def test_a_malformed_pattern_is_refused_by_name(pattern: str) -> None:
    with pytest.raises(InvalidConfig, match="route '"):
        Route(pattern, (Rule("p", "/x"),))


@pytest.mark.parametrize(
    ("one", "other"), [("/a/{x}", "/a/{y}"), ("/{*x}", "/{*y}"), ("/p-{x}", "/p-{y}"), ("/a", "/a")]
)
def test_two_patterns_for_the_same_paths_are_refused(one: str, other: str) -> None:
    with pytest.raises(InvalidConfig, match="match the same components"):
        router(one, "/q/{z}", other)


def test_the_component_of_a_plugin_comes_from_the_placeholder_or_the_template() -> None:
    routes = Router(
        [
            Route("/py/{*component}", (Rule("py"),)),
            Route("/v/{version}/{*name}", (Rule("v", "/{name}@{version}"),)),
            Route("/fixed", (Rule("f", "/one"),)),
        ]
    )
    assert routes.route("/py/a/b", None) == Target("py", "/a/b")
    assert routes.route("/v/2/x/y", None) == Target("v", "/x/y@2")
    assert routes.route("/fixed", None) == Target("f", "/one")


@pytest.mark.parametrize(
    ("pattern", "component", "said"),
    [
        ("/a/{*rest}", None, "needs a key 'component'"),
        ("/a/{*name}", "/{nmae}", "did you mean 'name'"),
        ("/a", "/{x}", "its placeholders are: none"),
    ],
)
def test_a_template_can_only_name_placeholders_of_its_pattern(pattern: str, component: str | None, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        Route(pattern, (Rule("p", component),))


def test_rules_are_tried_in_order_and_there_is_no_way_back_to_a_lesser_pattern() -> None:
    premium = Condition(("tier",), "premium")
    routes = Router(
        [
            Route("/m/{*component}", (Rule("fast", conditions=(premium,)), Rule("slow", deny=frozenset({"/secret"})))),
            Route("/{*component}", (Rule("rest"),)),
            Route("/none", ()),
        ]
    )
    assert routes.route("/m/x", {"tier": "premium"}).plugin == "fast"
    assert routes.route("/m/x", {"tier": "basic"}).plugin == "slow"
    assert routes.route("/m/x", {"tier": "premium"}).plugin == "fast"
    for path in ("/m/secret", "/none"):
        with pytest.raises(ComponentNotFound, match="refuses it"):
            routes.route(path, {"tier": "basic"})
    with pytest.raises(ExpressionError, match=r"\$\.tier"):
        routes.route("/m/x", {})


@pytest.mark.parametrize(("value", "holds"), [(1, True), (1.0, False), (True, False), ("1", False), (None, False)])
def test_a_condition_compares_json_values(value: Any, holds: bool) -> None:
    routes = Router([Route("/{*component}", (Rule("yes", conditions=(Condition(("v",), {"a": [1]}),)), Rule("no")))])
    assert (routes.route("/x", {"v": {"a": [value]}}).plugin == "yes") is holds


def test_allowed_and_denied_components_are_heeded_also_for_a_single_rule() -> None:
    routes = Router([Route("/{*component}", (Rule("p", allow=frozenset({"/a", "/b"}), deny=frozenset({"/b"})),))])
    assert routes.route("/a", None) == Target("p", "/a")
    for path in ("/b", "/c"):
        with pytest.raises(ComponentNotFound):
            routes.route(path, None)


def test_a_component_that_no_route_knows_is_answered_with_the_nearest() -> None:
    with pytest.raises(ComponentNotFound, match="did you mean '/python/x'"):
        Router([Route("/python/{*component}", (Rule("p"),))]).route("/pyton/x", None)
    with pytest.raises(ComponentNotFound, match="no routes are configured"):
        Router([]).route("/x", None)


@given(st.sampled_from(["", "/", "//", "/a", "/a/", "/b", "/b/", "/ab/", "/a/b/", "/a/c"]) | st.text("/ab", max_size=5))
def test_what_is_suggested_leads_somewhere(component: str) -> None:
    routes = router("/a/{x}", "/b/{*rest}", "/ab")
    try:
        routes.route(component, None)
    except ComponentNotFound as error:
        for suggested in re.findall("did you mean '(.*)'", error.message):
            assert suggested != component
            routes.route(suggested, None)


def test_nothing_is_suggested_for_a_component_without_a_name() -> None:
    with pytest.raises(ComponentNotFound, match=re.escape("component: / (the routes are: /{*rest})")):
        router("/{*rest}").route("/", None)


def test_components_are_listed_under_the_paths_that_reach_them() -> None:
    routes = Router(
        [
            Route("/py/{*component}", (Rule("py", deny=frozenset({"/hidden"})),)),
            Route("/py/special", (Rule("other", "/s"),)),
            Route("/short", (Rule("py", "/long/name"),)),
            Route("/v/{name}", (Rule("py", "/{name}/latest"),)),
        ]
    )
    assert routes.paths_of("py", "/a/b") == ["/py/a/b"]
    assert routes.paths_of("py", "/hidden") == []
    assert routes.paths_of("py", "/special") == []
    assert routes.paths_of("other", "/s") == ["/py/special"]
    assert set(routes.paths_of("py", "/long/name")) == {"/py/long/name", "/short"}
    assert set(routes.paths_of("py", "/x/latest")) == {"/py/x/latest", "/v/x"}


parts = st.text(st.characters(exclude_characters="/{}", exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(parts, st.lists(parts, min_size=1, max_size=4))
def test_a_pattern_reads_back_the_values_it_was_filled_with(one: str, rest: list[str]) -> None:
    pattern = Pattern("/x/p-{one}/{*rest}")
    values = {"one": one, "rest": "/".join(rest)}
    assert pattern.match(pattern.fill(values)) == values


def test_all_conditions_of_a_rule_must_hold() -> None:
    conditions = (Condition(("a",), 1), Condition(("b", 0), "x"))
    routes = Router([Route("/{*component}", (Rule("both", conditions=conditions), Rule("rest")))])
    assert routes.route("/c", {"a": 1, "b": ["x"]}).plugin == "both"
    assert routes.route("/c", {"a": 2, "b": ["x"]}).plugin == "rest"
    assert routes.route("/c", {"a": 1, "b": ["y"]}).plugin == "rest"
    with pytest.raises(ExpressionError, match=r"\$\.b\[0\]"):
        routes.route("/c", {"a": 1, "b": []})


def _best(routes: list[tuple[str, list[str]]], segments: list[str]) -> str | None:
    """What a trie gives that prefers literal text to ``{x}`` to ``{*x}`` and goes back where that leads nowhere."""
    firsts = {rest[0] for _, rest in routes}

    def order(first: str) -> tuple[int, int, str]:
        prefix, brace, name = first.partition("{")
        return (0 if not brace else 2 if name[0] == "*" else 1, -len(prefix), first)

    for first in sorted(firsts, key=order):
        prefix, brace, name = first.partition("{")
        if brace and name[0] == "*":
            rest = "/".join(segments)
            if rest.startswith(prefix) and len(rest) > len(prefix):
                return next(pattern for pattern, [head, *_] in routes if head == first)
            continue
        matches = segments[0].startswith(prefix) and len(segments[0]) > len(prefix) if brace else segments[0] == first
        if not matches:
            continue
        deeper = [(pattern, rest[1:]) for pattern, rest in routes if rest[0] == first]
        if len(segments) == 1:
            found = next((pattern for pattern, rest in deeper if not rest), None)
        else:
            found = _best([(pattern, rest) for pattern, rest in deeper if rest], segments[1:])
        if found is not None:
            return found
    return None


heads = st.sampled_from(["a", "b", "ab", "{x}", "a{x}", "ab{x}"])
tails = st.sampled_from(["a", "b", "{y}", "a{y}", "{*y}", "a{*y}", "ab{*y}"])
texts = st.builds(lambda first, last: "/" + "/".join([*first, last]), st.lists(heads, max_size=2), tails)
paths = st.lists(st.sampled_from(["a", "b", "ab", "aba", "c", ""]), min_size=1, max_size=4)


@settings(max_examples=300, deadline=None)
@given(st.sets(texts, min_size=1, max_size=6), paths)
def test_the_route_of_a_path_is_the_one_that_a_trie_finds(patterns: set[str], segments: list[str]) -> None:
    # A placeholder's name counts once in a pattern, and says nothing about what it matches.
    named = [text.replace("{x}", "{x1}", 1).replace("{x}", "{x2}") for text in patterns]
    expected = _best([(text, text[1:].replace("x1", "x").replace("x2", "x").split("/")) for text in named], segments)
    try:
        found = router(*named).route("/" + "/".join(segments), None).plugin
    except ComponentNotFound:
        assert expected is None
    else:
        assert found == expected
