"""Where each parameter comes from: the input rule, injection, defaults, and annotations as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, NotRequired, TypedDict, TypeVar

import msgspec
import pytest

from stepflow_sdk.components import Input, Router
from stepflow_sdk.errors import InvalidInput, InvalidSignature

from .helpers import problems, run, spec_of

if TYPE_CHECKING:
    from collections import OrderedDict as NotThere

S = TypeVar("S")


class AsyncContext(Generic[S]):
    __stepflow_injectable__: ClassVar[Literal["async", "thread"]] = "async"


class ThreadContext(Generic[S]):
    __stepflow_injectable__: ClassVar[Literal["async", "thread"]] = "thread"


class Document(msgspec.Struct):
    text: str


def test_each_parameter_is_a_field_of_an_object() -> None:
    def greet(name: str, punctuation: str = "!") -> str:
        return f"Hello, {name}{punctuation}"

    spec = spec_of(greet)
    assert run(spec, {"name": "you"}) == "Hello, you!"
    assert run(spec, {"name": "you", "punctuation": "?", "more": 1}) == "Hello, you?"
    assert spec.input_schema["required"] == ["name"]


def test_a_single_plain_parameter_is_a_field_too() -> None:
    def double(number: int) -> int:
        return 2 * number

    assert run(spec_of(double), {"number": 2}) == 4


def test_a_single_object_like_parameter_is_the_whole_input() -> None:
    def struct(request: Document) -> str:
        return request.text

    def optional(request: Document | None) -> str:
        return "none" if request is None else request.text

    def free(request: dict[str, Any]) -> str:
        return str(request["text"])

    def untyped(request) -> str:  # type: ignore[no-untyped-def]  # the point of this case
        return str(request["text"])

    for function in (struct, optional, free, untyped):
        assert run(spec_of(function), {"text": "abc"}) == "abc"
    assert run(spec_of(optional), None) == "none"


def test_a_single_parameter_named_input_is_the_whole_input_whatever_its_type() -> None:
    def length(input: list[int]) -> int:
        return len(input)

    assert run(spec_of(length), [1, 2, 3]) == 3


def test_the_mark_makes_any_parameter_the_whole_input() -> None:
    def shout(words: Input[str]) -> str:
        return words.upper()

    assert run(spec_of(shout), "abc") == "ABC"


def test_two_object_like_parameters_are_two_fields() -> None:
    def join(left: Document, right: Document) -> str:
        return left.text + right.text

    assert run(spec_of(join), {"left": {"text": "a"}, "right": {"text": "b"}}) == "ab"


def test_beside_a_whole_input_there_is_nothing_left() -> None:
    def wrong(words: Input[str], more: int) -> None: ...

    with pytest.raises(InvalidSignature, match=r"wrong\(\): parameter 'words'.*'more'"):
        spec_of(wrong)


def test_without_parameters_the_input_is_ignored() -> None:
    def nothing() -> int:
        return 7

    spec = spec_of(nothing)
    assert spec.input_schema == {}
    assert [run(spec, value) for value in (None, {}, 5, {"a": 1})] == [7, 7, 7, 7]


def test_a_default_is_the_functions_own_object() -> None:
    shared: list[int] = [1]

    def append(number: int, to: list[int] = shared) -> bool:
        return to is shared

    assert run(spec_of(append), {"number": 1})
    assert not run(spec_of(append), {"number": 1, "to": [1]})


def test_a_whole_input_with_a_default_takes_null_for_absent() -> None:
    def optional(input: Document = Document("default")) -> str:  # noqa: B008 - the point of this case
        return input.text

    spec = spec_of(optional)
    assert (run(spec, None), run(spec, {"text": "given"})) == ("default", "given")


def test_keyword_only_and_positional_only_parameters_are_passed_as_they_must_be() -> None:
    def mixed(first: int, /, second: int, *, third: int = 3) -> list[int]:
        return [first, second, third]

    assert run(spec_of(mixed), {"first": 1, "second": 2}) == [1, 2, 3]
    assert run(spec_of(mixed), {"first": 1, "second": 2, "third": 0}) == [1, 2, 0]


def test_a_context_is_injected_by_its_annotation_wherever_it_stands() -> None:
    async def first(ctx: AsyncContext[int], name: str) -> None: ...
    async def last(request: Document, anything: AsyncContext) -> None: ...  # type: ignore[type-arg]
    async def maybe(request: Document, *, ctx: AsyncContext[int] | None = None) -> None: ...

    for function in (first, last, maybe):
        assert spec_of(function).injected == (AsyncContext,)
    assert "ctx" not in spec_of(first).input_schema["properties"]
    assert spec_of(last).input_schema["title"] == "Document"

    def blocking(request: Document, ctx: ThreadContext[int]) -> bool:
        return ctx is context

    context = ThreadContext[int]()
    assert run(spec_of(blocking), {"text": "a"}, inject={ThreadContext: context})


def test_a_context_of_the_wrong_kind_is_refused_with_the_fix() -> None:
    def plain(ctx: AsyncContext[int]) -> None: ...
    async def waiting(ctx: ThreadContext[int]) -> None: ...
    def inline(ctx: ThreadContext[int]) -> None: ...

    with pytest.raises(InvalidSignature, match=r"plain\(\): parameter 'ctx'.*`async def`"):
        spec_of(plain)
    with pytest.raises(InvalidSignature, match=r"waiting\(\): parameter 'ctx'.*StepflowContext"):
        spec_of(waiting)
    with pytest.raises(InvalidSignature, match=r"inline\(\): parameter 'ctx'.*run_in_thread"):
        spec_of(inline, run_in_thread=False)


def test_an_annotation_that_is_only_there_for_type_checkers_is_refused_with_the_fix() -> None:
    def wrong(value: NotThere[str, str]) -> None: ...

    with pytest.raises(InvalidSignature, match=r"wrong\(\): parameter 'value'.*'NotThere'.*TYPE_CHECKING"):
        spec_of(wrong)


def test_types_local_to_the_function_are_found_also_through_each_other() -> None:
    class Leaf(msgspec.Struct):
        size: int

    @dataclass
    class Branch:
        leaves: list[Leaf]
        next: Branch | None = None

    class Options(TypedDict):
        branch: NotRequired[Branch]

    router = Router()

    @router.component
    def total(options: Options) -> Leaf:
        branch = options.get("branch")
        return Leaf(sum(leaf.size for leaf in branch.leaves) if branch else 0)

    value = {"branch": {"leaves": [{"size": 1}, {"size": 2}], "next": {"leaves": []}}}
    assert run(router.specs[0], value) == {"size": 3}
    with pytest.raises(InvalidInput) as caught:
        run(router.specs[0], {"branch": {"leaves": [{"size": "1"}], "next": {}}})
    assert problems(caught.value) == ["$.branch.leaves[0].size", "$.branch.next.leaves"]


def test_types_of_an_enclosing_function_are_found_from_a_nested_one() -> None:
    class Outer(msgspec.Struct):
        text: str

    def make() -> Router:
        router = Router()

        @router.component
        def echo(value: Outer) -> str:
            return value.text

        return router

    assert run(make().specs[0], {"text": "a"}) == "a"


def test_a_failing_field_is_named_with_its_class_and_parameter() -> None:
    class Inner(msgspec.Struct):
        broken: complex

    def wrong(value: list[Inner], other: int) -> None: ...

    with pytest.raises(InvalidSignature, match=r"wrong\(\): parameter 'value': field 'broken' of Inner: complex"):
        spec_of(wrong)
