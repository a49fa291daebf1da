"""Routes: which plugin serves a component of a flow, and under what name (section e.3 of the flow format)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from stepflow_sdk.errors import ComponentNotFound, ExpressionError, InvalidConfig
from stepflow_sdk.flows import MISSING, did_you_mean, follow, format_path
from stepflow_sdk.flows.values import PathParts, is_array, is_object

__all__ = ["Condition", "Pattern", "Route", "Router", "Rule", "Target", "overlap"]

_PLACEHOLDER: Final = re.compile(r"\{(\*?)([^{}]*)\}")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_CACHED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Condition:
    """Holds when the value at ``path`` of the step's input equals ``value``."""

    path: PathParts
    value: Any


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to serve the components of a pattern.

    Attributes:
        plugin: The name of the plugin.
        component: A template of the component's path for the plugin, with ``{name}`` for the parts of the pattern; by
            default ``/{component}``.
        conditions: All of them must hold.
        allow: Only these components, if given; as the plugin knows them.
        deny: Not these.
    """

    plugin: str
    component: str | None = None
    conditions: tuple[Condition, ...] = ()
    allow: frozenset[str] | None = None
    deny: frozenset[str] = frozenset()

    @property
    def template(self) -> str:
        """The template of the component's path."""
        return self.component if self.component is not None else "/{component}"


class Pattern:
    """A pattern of component paths: literal text, ``{x}`` for one part up to the next ``/``, ``{*x}`` for the rest.

    Args:
        text: Such as ``/python/{*component}``.

    Attributes:
        names: Its placeholders.
        rank: Patterns of lower rank are tried first: more literal text before ``{x}`` before ``{*x}``.

    Raises:
        ValueError: The pattern is malformed.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        if not text.startswith("/"):
            raise ValueError("a pattern starts with '/'")
        segments = text[1:].split("/")
        read = [_segment(segment, last=index == len(segments) - 1) for index, segment in enumerate(segments)]
        self.names = tuple(name for _, name, _ in read if name)
        if len(set(self.names)) != len(self.names):
            raise ValueError("a placeholder name stands in it twice")
        self.rank = tuple(rank for rank, _, _ in read)
        self._regex = re.compile("".join(f"/{regex}" for _, _, regex in read), re.DOTALL)

    def match(self, path: str) -> Mapping[str, str] | None:
        """The values of the placeholders, or None when the path does not match."""
        match = self._regex.fullmatch(path)
        return None if match is None else match.groupdict()

    def fill(self, values: Mapping[str, str]) -> str:
        """The path in which the placeholders have these values."""
        return _PLACEHOLDER.sub(lambda match: values[match[2]], self.text)


def _segment(text: str, *, last: bool) -> tuple[tuple[Any, ...], str, str]:
    """The rank, the placeholder's name and the regular expression of one segment."""
    found = _PLACEHOLDER.search(text)
    if found is None:
        if "{" in text or "}" in text:
            raise ValueError(f"a brace in {text!r} has no partner")
        return (0, text), "", re.escape(text)
    prefix, star, name = text[: found.start()], found[1], found[2]
    if "{" in prefix or "}" in prefix or found.end() != len(text):
        raise ValueError(f"nothing may follow the placeholder in {text!r} before the next '/'")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{found[0]!r} is no placeholder; its name is letters, digits and '_'")
    if star and not last:
        raise ValueError(f"{found[0]!r} stands for the rest, so nothing may follow it")
    rank = ((2 if star else 1), -len(prefix), prefix)
    return rank, name, f"{re.escape(prefix)}(?P<{name}>{'.+' if star else '[^/]+'})"


@dataclass(frozen=True)
class Route:
    """A pattern and the rules for what matches it, tried in order.

    Raises:
        InvalidConfig: The pattern or the template of a rule is malformed.
    """

    pattern: str
    rules: tuple[Rule, ...] = field(default=())

    def __post_init__(self) -> None:
        compiled = self.compiled
        for rule in self.rules:
            wanted = [match[2] for match in _PLACEHOLDER.finditer(rule.template)]
            for name in wanted:
                if name not in compiled.names:
                    raise InvalidConfig(_unknown_placeholder(self.pattern, rule, name, compiled.names))

    @cached_property
    def compiled(self) -> Pattern:
        """The pattern, ready to match."""
        try:
            return Pattern(self.pattern)
        except ValueError as error:
            raise InvalidConfig(f"route {self.pattern!r}: {error}") from None


def overlap(one: str, other: str) -> str:
    """What is wrong with two patterns of the same rank."""
    return f"the routes {one!r} and {other!r} match the same components"


def _unknown_placeholder(pattern: str, rule: Rule, name: str, names: Sequence[str]) -> str:
    if rule.component is None:
        return (
            f"route {pattern!r}: no placeholder is called 'component', so the rule for plugin {rule.plugin!r} needs "
            f"a key 'component' that says which component is meant"
        )
    known = ", ".join(map(repr, names)) or "none"
    hint = did_you_mean(name, names) or f"its placeholders are: {known}"
    return (
        f"route {pattern!r}: the component {rule.component!r} names {name!r}, which the pattern does not have; {hint}"
    )


@dataclass(frozen=True, slots=True)
class Target:
    """Where a component is found: the name of the plugin, and the component's path there."""

    plugin: str
    component: str


class Router:
    """Finds the plugin of a component.

    Raises:
        InvalidConfig: Two patterns match the same paths.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(sorted(routes, key=lambda route: _sort_key(route.compiled)))
        for one, other in zip(self.routes, self.routes[1:], strict=False):
            if one.compiled.rank == other.compiled.rank:
                raise InvalidConfig(overlap(one.pattern, other.pattern))
        self._known: dict[str, Target] = {}

    def route(self, component: str, input: Any) -> Target:
        """The plugin and the component's path there.

        Args:
            component: The path in the flow.
            input: The step's input, for the conditions of rules.

        Raises:
            ComponentNotFound: No route matches, or every rule of the one that does refuses the component.
            ExpressionError: A condition looks at a path that the input does not have.
        """
        known = self._known.get(component)
        if known is not None:
            return known
        for route in self.routes:
            values = route.compiled.match(component)
            if values is not None:
                return self._by_rules(route, values, component, input)
        raise self._not_found(component, f"No matching rule found for component: {component}")

    def targets(self, component: str) -> list[Target]:
        """Where a component may be found, whatever its input is: at several places where conditions decide.

        Raises:
            ComponentNotFound: As for `route`.
        """
        for route in self.routes:
            values = route.compiled.match(component)
            if values is not None:
                found = _possible(route.rules, values)
                if found:
                    return found
                raise self._refused(route, component)
        raise self._not_found(component, f"No matching rule found for component: {component}")

    def _by_rules(self, route: Route, values: Mapping[str, str], component: str, input: Any) -> Target:
        for rule in route.rules:
            if not _holds(rule.conditions, input):
                continue
            path = _PLACEHOLDER.sub(lambda match: values[match[2]], rule.template)
            if path in rule.deny or (rule.allow is not None and path not in rule.allow):
                continue
            target = Target(rule.plugin, path)
            # What depends on the path alone is looked up once; the bound keeps generated paths from piling up.
            if not any(rule.conditions for rule in route.rules) and len(self._known) < _MAX_CACHED:
                self._known[component] = target
            return target
        raise self._refused(route, component)

    def _refused(self, route: Route, component: str) -> ComponentNotFound:
        refused = f"every rule of the route {route.pattern!r} refuses it"
        return self._not_found(component, f"No matching rule found for component: {component}", refused)

    def _not_found(self, component: str, message: str, detail: str | None = None) -> ComponentNotFound:
        patterns = [route.pattern for route in self.routes]
        hint = detail or did_you_mean(component, [*self._known, *self._filled(component)])
        if hint is None:
            hint = f"the routes are: {', '.join(patterns[:20])}" if patterns else "no routes are configured"
        return ComponentNotFound(f"{message} ({hint})", data={"component": component})

    def _filled(self, component: str) -> list[str]:
        """The patterns with the end of the component for their placeholders: what may have been meant."""
        given = component.split("/")
        filled: list[str] = []
        for route in self.routes:
            literal = route.pattern.partition("{")[0]
            rest = given[literal.count("/") :] if literal.endswith("/") else []
            filled.append(literal + "/".join(rest))
        # Advice has to lead somewhere, and what was given does not.
        return [path for path in filled if path != component and self._matches(path)]

    def _matches(self, path: str) -> bool:
        return any(route.compiled.match(path) is not None for route in self.routes)

    def paths_of(self, plugin: str, component: str) -> list[str]:
        """The paths in flows under which a component of a plugin can be reached, conditions aside."""
        paths = [
            path
            for route in self.routes
            for rule in route.rules
            if rule.plugin == plugin and (path := _invert(route.compiled, rule, component)) is not None
        ]
        return [path for path in dict.fromkeys(paths) if self._leads_to(path, plugin, component)]

    def _leads_to(self, path: str, plugin: str, component: str) -> bool:
        for route in self.routes:
            values = route.compiled.match(path)
            if values is not None:
                return any(_serves(rule, values, plugin, component) for rule in route.rules)
        return False


def _sort_key(pattern: Pattern) -> tuple[Any, ...]:
    # Padded, so that the tuples of literal, prefixed and catch-all segments compare with each other.
    return tuple((rank[0], rank[1] if rank[0] else 0, rank[-1]) for rank in pattern.rank)


def _holds(conditions: Sequence[Condition], input: Any) -> bool:
    for condition in conditions:
        found = follow(input, condition.path)
        if found is MISSING:
            path = format_path(condition.path)
            raise ExpressionError(f"a route's condition looks at {path}, which the input does not have")
        if not json_equal(found, condition.value):
            return False
    return True


def json_equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same; ``1``, ``1.0`` and ``true`` are three different ones."""
    if is_object(one) and is_object(other):
        return one.keys() == other.keys() and all(json_equal(value, other[key]) for key, value in one.items())
    if is_array(one) and is_array(other):
        return len(one) == len(other) and all(json_equal(a, b) for a, b in zip(one, other, strict=True))
    return type(one) is type(other) and bool(one == other)


def _possible(rules: Sequence[Rule], values: Mapping[str, str]) -> list[Target]:
    found: list[Target] = []
    for rule in rules:
        path = _PLACEHOLDER.sub(lambda match: values[match[2]], rule.template)
        if path not in rule.deny and (rule.allow is None or path in rule.allow):
            found.append(Target(rule.plugin, path))
            if not rule.conditions:
                break
    return list(dict.fromkeys(found))


def _serves(rule: Rule, values: Mapping[str, str], plugin: str, component: str) -> bool:
    path = _PLACEHOLDER.sub(lambda match: values[match[2]], rule.template)
    allowed = path not in rule.deny and (rule.allow is None or path in rule.allow)
    return rule.plugin == plugin and path == component and allowed


def _invert(pattern: Pattern, rule: Rule, component: str) -> str | None:
    """The path from which the rule would make this component, if there is one."""
    regex, at = "", 0
    seen: set[str] = set()
    for match in _PLACEHOLDER.finditer(rule.template):
        regex += re.escape(rule.template[at : match.start()])
        regex += f"(?P={match[2]})" if match[2] in seen else f"(?P<{match[2]}>.+)"
        seen.add(match[2])
        at = match.end()
    found = re.fullmatch(regex + re.escape(rule.template[at:]), component, re.DOTALL)
    if found is None or not set(pattern.names) <= seen:
        return None
    return pattern.fill(found.groupdict())
