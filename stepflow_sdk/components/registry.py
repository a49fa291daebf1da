"""Where components are kept: unique paths, inclusion, and lookup."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from stepflow_sdk.errors import ComponentNotFound, DefinitionError, DuplicateComponent

from .paths import join_paths, normalize_path, parse_path
from .spec import ComponentSpec
from .suggestions import nearest
from .trie import Trie

__all__ = ["Registry"]

_NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})
_LONGEST_SHOWN = 200


class Registry:
    """Components by path; what is added here is added to the registries that include this one, too."""

    def __init__(self) -> None:
        self.specs: list[ComponentSpec] = []
        self.including: list[tuple[Registry, str]] = []
        self._exact: dict[str, ComponentSpec] = {}
        self._patterns = Trie[ComponentSpec]()
        self._frozen = False

    def freeze(self) -> None:
        """Refuse further components."""
        self._frozen = True

    def add(self, spec: ComponentSpec) -> None:
        """Add a component here and wherever this registry is included; or nowhere, when that fails.

        Raises:
            DuplicateComponent: The path is taken.
            DefinitionError: The registry is frozen.
        """
        # Everything is checked before anything is added, so that a failure leaves no half.
        self.check([spec])
        self.insert(spec)

    def include(self, other: "Registry", prefix: str) -> None:
        """Add all components of another registry, now and in future; see `Router.include`."""
        if other is self or other in self._includers():
            raise DefinitionError("a router cannot include itself")
        join_paths(prefix, "/")
        added = [_moved(spec, prefix) for spec in other.specs]
        self.check(added)
        for spec in added:
            self.insert(spec)
        other.including.append((self, prefix))

    def check(self, specs: Sequence[ComponentSpec]) -> None:
        """Raise when one of the components could not be added, here or in an including registry."""
        if self._frozen:
            raise DefinitionError("the server serves already; register components before it runs")
        for spec in specs:
            taken = self._exact.get(spec.path) or self._patterns.get(parse_path(spec.path))
            if taken is not None:
                written = f" as {taken.path!r}" if taken.path != spec.path else ""
                raise DuplicateComponent(
                    f"the path {spec.path!r} of {_where(spec)} is taken by {_where(taken)}{written}; "
                    "give one of them another path"
                )
        for registry, prefix in self.including:
            registry.check([_moved(spec, prefix) for spec in specs])

    def insert(self, spec: ComponentSpec) -> None:
        """Add a component that was checked."""
        segments = parse_path(spec.path)
        if all(segment.form == "literal" for segment in segments):
            self._exact[spec.path] = spec
        else:
            self._patterns.add(segments, spec)
        self.specs.append(spec)
        for registry, prefix in self.including:
            registry.insert(_moved(spec, prefix))

    def lookup(self, path: str) -> tuple[ComponentSpec, Mapping[str, str]]:
        """Return the component of a path and its parameters; see `Router.lookup`."""
        # Nearly all lookups end here; patterns are tried only for paths that are no component's own.
        spec = self._exact.get(path) or self._exact.get(normalize_path(path))
        if spec is not None:
            return spec, _NO_PARAMETERS
        found = self._patterns.find(normalize_path(path)[1:].split("/"))
        if found is not None:
            spec, values = found
            # The tree knows where parameters stand; their names are each component's own.
            names = [segment.text for segment in parse_path(spec.path) if segment.form != "literal"]
            return spec, dict(zip(names, values, strict=True))
        raise self._not_found(path)

    def _not_found(self, path: str) -> ComponentNotFound:
        shown = path if len(path) <= _LONGEST_SHOWN else f"{path[: _LONGEST_SHOWN - 1]}…"
        meant = nearest(normalize_path(path), (spec.path for spec in self.specs))
        data = {"component": shown, **({"did_you_mean": meant} if meant else {})}
        hint = f"; did you mean {meant!r}?" if meant else ""
        return ComponentNotFound(f"there is no component {shown!r}{hint}", data=data)

    def _includers(self) -> list["Registry"]:
        found: list[Registry] = []
        waiting: list[Registry] = [self]
        while waiting:
            for registry, _ in waiting.pop().including:
                if registry not in found:
                    found.append(registry)
                    waiting.append(registry)
        return found


def _moved(spec: ComponentSpec, prefix: str) -> ComponentSpec:
    path = join_paths(prefix, spec.path)
    return spec if path == spec.path else msgspec.structs.replace(spec, path=path)


def _where(spec: ComponentSpec) -> str:
    function = spec.function
    name = getattr(function, "__qualname__", None) or repr(function)
    return f"{getattr(function, '__module__', '')}.{name}"
