"""The registry of components: the decorator, inclusion of other routers, and lookup by path."""

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar, overload

from ..errors import ComponentNotFound, DefinitionError, DuplicateComponent
from .definition import Options, define_component
from .paths import join_paths, normalize_path, parse_path
from .spec import ComponentSpec
from .suggestions import nearest
from .trie import Trie

__all__ = ["Router"]

F = TypeVar("F", bound=Callable[..., Any])

_NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})


class Router:
    """A set of components, for a server or to be included in one."""

    def __init__(self) -> None:
        self._specs: list[ComponentSpec] = []
        self._exact: dict[str, ComponentSpec] = {}
        self._patterns = Trie[ComponentSpec]()
        self._parents: list[tuple[Router, str]] = []
        self._frozen = False

    @property
    def specs(self) -> Sequence[ComponentSpec]:
        """The components in the order of their registration."""
        return tuple(self._specs)

    @overload
    def component(self, function: F, /) -> F: ...

    @overload
    def component(
        self,
        path: str | None = None,
        *,
        name: str | None = None,
        description: str | None = None,
        timeout: float | None = None,
        max_concurrency: int | None = None,
        run_in_thread: bool = True,
    ) -> Callable[[F], F]: ...

    def component(
        self,
        path: Any = None,
        *,
        name: str | None = None,
        description: str | None = None,
        timeout: float | None = None,
        max_concurrency: int | None = None,
        run_in_thread: bool = True,
    ) -> Any:
        """Register a function as a component; use it bare, called, or with a path.

        The function itself is returned unchanged.

        Args:
            path: The component's path, by default the function's name. ``{name}`` stands for one segment,
                ``{*name}`` at the end for the rest; each needs a parameter annotated `PathParam`.
            name: A short name for people, by default the function's name.
            description: What it does, by default the function's docstring.
            timeout: The longest time that a call may take, in seconds.
            max_concurrency: How many calls may run at once.
            run_in_thread: Whether a ``def`` runs in a worker thread; without, it must return at once, since
                nothing else runs meanwhile. Means nothing for ``async def``.

        Raises:
            InvalidSignature: The function cannot be served.
            DuplicateComponent: The path is taken.
            DefinitionError: An option is wrong, or the server serves already.
        """
        if path is not None and not isinstance(path, str):
            self._define(path, Options())
            return path
        options = Options(path, name, description, timeout, max_concurrency, run_in_thread)

        def decorate(function: F) -> F:
            self._define(function, options)
            return function

        return decorate

    def include(self, router: "Router", *, prefix: str = "") -> None:
        """Add the components of another router, also those that it gets later.

        Args:
            router: The other router.
            prefix: A literal path that stands before the paths of its components.

        Raises:
            DuplicateComponent: A path is taken; then nothing is added.
            DefinitionError: The prefix is no literal path, a router would include itself, or the server
                serves already.
        """
        if router is self or router in self._ancestors():
            raise DefinitionError("a router cannot include itself")
        added = [_moved(spec, prefix) for spec in router.specs]
        join_paths(prefix, "/x")
        self._check_frozen()
        self._check_all(added)
        for spec in added:
            self._insert(spec)
        router._parents.append((self, prefix))

    def lookup(self, path: str) -> tuple[ComponentSpec, Mapping[str, str]]:
        """Return the component of a path, and the texts of the path's parameters.

        A literal path wins over patterns; among patterns, segment by segment, a literal wins over ``{name}``
        and that over ``{*name}``.

        Raises:
            ComponentNotFound: No component has this path; ``data`` is ``{"component", "did_you_mean"?}``.
        """
        spec = self._exact.get(path)
        if spec is not None:
            return spec, _NO_PARAMETERS
        normal = normalize_path(path)
        spec = self._exact.get(normal)
        if spec is not None:
            return spec, _NO_PARAMETERS
        found = self._patterns.find(normal[1:].split("/"))
        if found is not None:
            spec, values = found
            names = [segment.text for segment in parse_path(spec.path) if segment.form != "literal"]
            return spec, dict(zip(names, values, strict=True))
        raise _not_found(path, normal, [spec.path for spec in self._specs])

    def freeze(self) -> None:
        """Refuse further registrations from now on: the list of components has been given away."""
        self._frozen = True

    def _define(self, function: Callable[..., Any], options: Options) -> None:
        self._check_frozen()
        # The frame is that of whoever calls the decorator; enclosing functions are found from there.
        spec = define_component(function, options, sys._getframe(2))  # noqa: SLF001 - no public way to the caller
        self._add(spec)

    def _add(self, spec: ComponentSpec) -> None:
        self._check_all([spec])
        self._insert(spec)

    def _check_all(self, specs: Sequence[ComponentSpec]) -> None:
        """Raise when any of the paths is taken, here or in a router that includes this one."""
        self._check_frozen()
        for spec in specs:
            taken = self._exact.get(spec.path) or self._patterns.get(parse_path(spec.path))
            if taken is not None:
                raise DuplicateComponent(
                    f"the path {spec.path!r} of {_where(spec)} is taken by {_where(taken)}"
                    + (f" as {taken.path!r}" if taken.path != spec.path else "")
                )
        for parent, prefix in self._parents:
            parent._check_all([_moved(spec, prefix) for spec in specs])

    def _insert(self, spec: ComponentSpec) -> None:
        segments = parse_path(spec.path)
        if all(segment.form == "literal" for segment in segments):
            self._exact[spec.path] = spec
        else:
            self._patterns.add(segments, spec)
        self._specs.append(spec)
        for parent, prefix in self._parents:
            parent._insert(_moved(spec, prefix))

    def _check_frozen(self) -> None:
        if self._frozen:
            raise DefinitionError("the server serves already; register components before it runs")

    def _ancestors(self) -> list["Router"]:
        found: list[Router] = []
        waiting = [parent for parent, _ in self._parents]
        while waiting:
            router = waiting.pop()
            if router not in found:
                found.append(router)
                waiting.extend(parent for parent, _ in router._parents)
        return found


def _moved(spec: ComponentSpec, prefix: str) -> ComponentSpec:
    path = join_paths(prefix, spec.path)
    return spec if path == spec.path else dataclasses.replace(spec, path=path)


def _where(spec: ComponentSpec) -> str:
    function = spec.function
    name = getattr(function, "__qualname__", None) or repr(function)
    return f"{getattr(function, '__module__', '')}.{name}"


def _not_found(path: str, normal: str, paths: Sequence[str]) -> ComponentNotFound:
    shown = path if len(path) <= 200 else f"{path[:199]}…"
    meant = nearest(normal, paths)
    data = {"component": shown, **({"did_you_mean": meant} if meant else {})}
    hint = f"; did you mean {meant!r}?" if meant else ""
    return ComponentNotFound(f"there is no component {shown!r}{hint}", data=data)
