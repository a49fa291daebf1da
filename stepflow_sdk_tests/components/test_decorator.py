"""The decorator: its three forms, what it refuses, and what it leaves alone."""

import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from stepflow_sdk.components import Router
from stepflow_sdk.errors import DefinitionError, DuplicateComponent, InvalidSignature

from .helpers import run, spec_of


def test_all_three_forms_register_the_function_and_return_it_unchanged() -> None:
    router = Router()

    def bare(name: str) -> str:
        return name

    def called(name: str) -> str:
        return name

    def with_path(name: str) -> str:
        return name

    before = [dict(vars(function)) for function in (bare, called, with_path)]
    assert router.component(bare) is bare
    assert router.component()(called) is called
    assert router.component("text/echo")(with_path) is with_path
    assert [spec.path for spec in router.specs] == ["/bare", "/called", "/text/echo"]
    assert [dict(vars(function)) for function in (bare, called, with_path)] == before
    assert bare("x") == "x"


def test_options_reach_the_spec() -> None:
    def echo(name: str) -> str:
        """Documented."""
        return name

    spec = spec_of(echo, path="/e", name="Echo", description="Says it again.", timeout=2, max_concurrency=3)
    assert (spec.path, spec.name, spec.description) == ("/e", "Echo", "Says it again.")
    assert (spec.timeout, spec.max_concurrency) == (2, 3)
    assert spec.function is echo


def test_def_runs_in_a_thread_unless_told_otherwise_and_async_def_never_does() -> None:
    def blocking() -> None: ...
    async def waiting() -> None: ...

    assert spec_of(blocking).in_thread
    assert not spec_of(blocking, run_in_thread=False).in_thread
    assert (spec_of(waiting).is_async, spec_of(waiting).in_thread) == (True, False)


def test_bound_methods_partials_and_callable_objects_are_components() -> None:
    class Greeter:
        def __init__(self, word: str) -> None:
            self.word = word

        def greet(self, name: str) -> str:
            return f"{self.word}, {name}"

        async def __call__(self, name: str) -> str:
            return self.greet(name)

    greeter = Greeter("Hello")
    assert run(spec_of(greeter.greet), {"name": "you"}) == "Hello, you"
    spec = spec_of(functools.partial(greeter.greet, name="us"), path="us")
    assert run(spec, {}) == "Hello, us"
    assert spec_of(greeter, path="call").is_async


def test_a_static_method_is_a_component() -> None:
    router = Router()

    class Tools:
        @router.component
        @staticmethod
        def double(number: int) -> int:
            return 2 * number

    assert Tools.double(2) == 4
    assert run(router.specs[0], {"number": 4}) == 8


def test_a_wrapped_function_keeps_the_signature_that_wraps_shows() -> None:
    def plain(name: str) -> str:
        return name

    @functools.wraps(plain)
    def loud(*args: Any, **kwargs: Any) -> Any:
        return plain(*args, **kwargs).upper()

    assert run(spec_of(loud), {"name": "a"}) == "A"


def _generator(name: str) -> Iterator[str]:
    yield name


async def _async_generator(name: str) -> AsyncIterator[str]:
    yield name


def _variadic(*names: str) -> None: ...


def _keywords(**names: str) -> None: ...


class _Class:
    def method(self, name: str) -> None: ...


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (_generator, ["generator", "list"]),
        (_async_generator, ["generator", "list"]),
        (_variadic, ["_variadic()", "'*names'", "input: dict"]),
        (_keywords, ["_keywords()", "'**names'", "input: dict"]),
        (_Class, ["class", "function"]),
        (_Class.method, ["'self'", "bound method"]),
        (lambda name: name, ["name", "path"]),
        (3, ["callable"]),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_fix(function: Any, words: list[str]) -> None:
    with pytest.raises(InvalidSignature) as caught:
        Router().component()(function)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"timeout": 0}, {"timeout": float("nan")}, {"max_concurrency": 0}, {"timeout": "3"}]
)
def test_senseless_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match=next(iter(options))):
        spec_of(lambda: None, path="x", **options)


def test_nothing_is_registered_after_freeze() -> None:
    router = Router()
    router.freeze()
    with pytest.raises(DefinitionError, match="before it runs"):
        router.component(_noop)
    with pytest.raises(DefinitionError, match="before it runs"):
        router.include(_router_of("a"))
    assert not router.specs


def _router_of(*paths: str) -> Router:
    router = Router()
    for path in paths:
        router.component(path)(_noop)
    return router


def _noop() -> None: ...


def test_two_components_under_one_path_are_refused_and_both_are_named() -> None:
    router = _router_of("greet")
    with pytest.raises(DuplicateComponent) as caught:
        router.component("/greet")(_other)
    assert "_noop" in str(caught.value)
    assert "_other" in str(caught.value)
    assert len(router.specs) == 1


def _other() -> None: ...
