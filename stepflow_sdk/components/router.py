"""What a user registers components with: the decorator, and inclusion of other routers."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, overload

from .definition import Options, define_component
from .registry import Registry
from .spec import ComponentSpec

__all__ = ["Router"]

F = TypeVar("F", bound=Callable[..., Any])


class Router:
    """A set of components, for a server or to be included in one."""

    def __init__(self) -> None:
        self._registry = Registry()

    @property
    def registry(self) -> Registry:
        """Where the components are kept."""
        return self._registry

    @property
    def specs(self) -> Sequence[ComponentSpec]:
        """The components in the order of their registration."""
        return tuple(self._registry.specs)

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
        self._registry.include(router.registry, prefix)

    def lookup(self, path: str) -> tuple[ComponentSpec, Mapping[str, str]]:
        """Return the component of a path, and the texts of the path's parameters.

        A literal path wins over patterns; among patterns, segment by segment, a literal wins over ``{name}``
        and that over ``{*name}``. The leading slash may be left out.

        Raises:
            ComponentNotFound: No component has this path; ``data`` is ``{"component", "did_you_mean"?}``.
        """
        return self._registry.lookup(path)

    def freeze(self) -> None:
        """Refuse further registrations from now on: the list of components has been given away."""
        self._registry.freeze()

    def _define(self, function: Callable[..., Any], options: Options) -> None:
        # The decorator's surroundings are found from this frame: annotations may name local types there.
        self._registry.add(define_component(function, options, inspect.currentframe()))
