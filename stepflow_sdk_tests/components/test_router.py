"""Inclusion of routers, and lookup of components by path."""

from typing import Any

import pytest

from stepflow_sdk.components import PathParam, Router
from stepflow_sdk.errors import ComponentNotFound, DefinitionError, DuplicateComponent, InvalidInput, InvalidSignature

from .helpers import run, spec_of


def _noop() -> None: ...


def _one(name: PathParam[str]) -> str:
    return name


def _two(first: PathParam[str], second: PathParam[str]) -> str:
    return f"{first} {second}"


def _router_of(*paths: str) -> Router:
    router = Router()
    for path in paths:
        router.component(path)(_noop)
    return router


def test_an_included_router_is_found_below_its_prefix() -> None:
    router = Router()
    router.include(_router_of("add", "sub"), prefix="/math")
    router.include(_router_of("top"))
    assert [spec.path for spec in router.specs] == ["/math/add", "/math/sub", "/top"]
    assert router.lookup("/math/add")[0].path == "/math/add"


def test_a_component_registered_after_the_inclusion_is_there_too() -> None:
    inner, middle, outer = Router(), Router(), Router()
    middle.include(inner, prefix="b/")
    outer.include(middle, prefix="a")
    inner.component("late")(_noop)
    assert outer.lookup("/a/b/late")[0].function is _noop


def test_an_inclusion_that_fails_adds_nothing() -> None:
    outer = _router_of("x/b")
    with pytest.raises(DuplicateComponent):
        outer.include(_router_of("a", "b"), prefix="x")
    assert [spec.path for spec in outer.specs] == ["/x/b"]


def test_a_late_component_whose_path_is_taken_outside_is_added_nowhere() -> None:
    inner, outer = Router(), _router_of("a/late")
    outer.include(inner, prefix="a")
    with pytest.raises(DuplicateComponent):
        inner.component("late")(_noop)
    assert not inner.specs


def test_a_router_cannot_include_itself_not_even_by_a_detour() -> None:
    one, two = Router(), Router()
    one.include(two)
    with pytest.raises(DefinitionError, match="itself"):
        one.include(one)
    with pytest.raises(DefinitionError, match="itself"):
        two.include(one)


def test_a_path_is_found_with_and_without_its_leading_slash() -> None:
    router = _router_of("text/echo")
    assert router.lookup("text/echo") == router.lookup("/text/echo")


def test_literals_win_over_segments_and_segments_over_the_rest() -> None:
    router = Router()
    router.component("/{*name}")(_one)
    router.component("/m/{name}")(_one)
    router.component("/m/{first}/{*second}")(_two)
    router.component("/m/fixed")(_noop)
    router.component("/m/fixed/{name}")(_one)
    found = {
        path: (router.lookup(path)[0].path, dict(router.lookup(path)[1]))
        for path in ("/m/fixed", "/m/x", "/m/x/y/z", "/m/fixed/y", "/m/fixed/y/z", "/other/x", "/m")
    }
    assert found == {
        "/m/fixed": ("/m/fixed", {}),
        "/m/x": ("/m/{name}", {"name": "x"}),
        "/m/x/y/z": ("/m/{first}/{*second}", {"first": "x", "second": "y/z"}),
        "/m/fixed/y": ("/m/fixed/{name}", {"name": "y"}),
        "/m/fixed/y/z": ("/m/{first}/{*second}", {"first": "fixed", "second": "y/z"}),
        "/other/x": ("/{*name}", {"name": "other/x"}),
        "/m": ("/{*name}", {"name": "m"}),
    }


def test_a_parameter_is_never_empty() -> None:
    router = Router()
    router.component("/m/{name}")(_one)
    router.component("/r/{*name}")(_one)
    for path in ("/m/", "/m", "/r/", "/r"):
        with pytest.raises(ComponentNotFound):
            router.lookup(path)


def test_patterns_of_one_shape_are_duplicates_whatever_their_names() -> None:
    router = Router()
    router.component("/m/{name}")(_one)

    def other(model: PathParam[str]) -> None: ...

    with pytest.raises(DuplicateComponent, match=r"/m/\{name\}"):
        router.component("/m/{model}")(other)


def test_an_unknown_component_is_named_with_the_nearest_one() -> None:
    with pytest.raises(ComponentNotFound) as caught:
        _router_of("greet", "other").lookup("/gret")
    assert caught.value.data == {"component": "/gret", "did_you_mean": "/greet"}
    with pytest.raises(ComponentNotFound) as caught:
        _router_of("greet").lookup("/" + "x" * 10_000)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "path",
    ["", "/", "//a", "a//b", "a/", "a/{b", "a/x{b}", "{*a}/b", "{a}/{a}", "{1}", " a", "a\n", "{}"],
)
def test_a_malformed_path_is_refused(path: str) -> None:
    with pytest.raises(DefinitionError, match="path"):
        Router().component(path)(_noop)


def test_a_prefix_has_no_parameters() -> None:
    with pytest.raises(DefinitionError, match="prefix"):
        Router().include(_router_of("a"), prefix="/{x}")


def test_a_path_parameter_and_the_path_must_name_each_other() -> None:
    with pytest.raises(InvalidSignature, match=r"'name'.*PathParam"):
        Router().component("/fixed")(_one)
    with pytest.raises(InvalidSignature, match=r"name: PathParam"):
        Router().component("/{name}")(_noop)


def test_a_path_parameter_is_converted_to_its_type() -> None:
    def typed(number: PathParam[int], flag: PathParam[bool], factor: float = 1.0) -> list[Any]:
        return [number, flag, factor]

    spec = spec_of(typed, path="/{number}/{flag}")
    assert run(spec, {"factor": 2}, path_params={"number": "12", "flag": "true"}) == [12, True, 2.0]
    with pytest.raises(InvalidInput, match=r"'number'.*an integer.*\"x\""):
        run(spec, {}, path_params={"number": "x", "flag": "true"})


def test_a_path_parameter_of_text_stays_text_also_when_it_looks_like_a_number() -> None:
    assert run(spec_of(_one, path="/{name}"), path_params={"name": "12"}) == "12"


def test_a_path_parameter_cannot_be_an_object() -> None:
    def wrong(name: PathParam[dict[str, int]]) -> None: ...

    with pytest.raises(InvalidSignature, match="plain type"):
        spec_of(wrong, path="/{name}")


def test_a_pattern_is_found_among_thousands_of_components() -> None:
    router = _router_of(*(f"/models/m{number}" for number in range(2_000)))
    router.component("/models/{*name}")(_one)
    for number in range(2_000, 4_000):
        assert router.lookup(f"/models/m{number}")[1] == {"name": f"m{number}"}
