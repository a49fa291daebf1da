"""The packages that users of the package get, as they are installed here."""

from collections.abc import Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = ("cli", "otel", "mcp", "speed")
"""The extras that run in production; `testing` brings weaker permissive licences into tests alone."""


def runtime_packages() -> Mapping[str, Distribution]:
    """The dependencies of the package and of `EXTRAS`, with theirs, as far as they are installed."""
    found: dict[str, Distribution] = {}
    waiting = [("stepflow-sdk", extra) for extra in ("", *EXTRAS)]
    seen = set(waiting)
    while waiting:
        name, extra = waiting.pop()
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue  # for another platform, or an extra that is not installed
        found[name] = package
        for line in package.requires or ():
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                wanted = {(canonicalize_name(needed.name), extra) for extra in ("", *needed.extras)} - seen
                seen |= wanted
                waiting += wanted
    del found["stepflow-sdk"]
    return found
