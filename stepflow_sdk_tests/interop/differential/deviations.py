"""Where a published orchestrator of 0.11 is known to end otherwise, and why the bundled runtime does not."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from stepflow_sdk_tests.interop.differential.cases import Case
from stepflow_sdk_tests.interop.differential.lateness import Trouble
from stepflow_sdk_tests.interop.differential.twins import Answer

_NESTING = {"/builtin/eval", "/builtin/map", "/builtin/iterate", "/py/nested", "/py/nested_or_why", "/py/batch"}

_PY_LOST = re.compile(r"Component: /(echo|typed|fail|patient|keep|nested|nested_or_why|batch)\b")


class Difference(NamedTuple):
    """One case that ended otherwise."""

    case: Case
    trouble: Trouble
    ours: Answer
    upstream: Answer


class Deviation(NamedTuple):
    """A known defect.

    Attributes:
        name: What the counts call it.
        reason: What upstream does, and what this runtime does.
        explains: Whether a difference may be due to it.
    """

    name: str
    reason: str
    explains: Callable[[Difference], bool]


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _objects(item)
    elif isinstance(value, list):
        for item in value:
            yield from _objects(item)


def _paths(case: Case) -> Iterator[str]:
    for found in _objects([case.flow, case.overrides]):
        yield from (found[key] for key in ("$input", "$variable", "path") if isinstance(found.get(key), str))


def _components(case: Case) -> set[str]:
    return {found["component"] for found in _objects([case.flow, case.overrides]) if "component" in found}


def _has_quoted_dot(difference: Difference) -> bool:
    return any(re.search(r"""\[(["']).*[.\[].*\1\]""", path) for path in _paths(difference.case))


def _has_leading_bracket(difference: Difference) -> bool:
    same = difference.ours.value[1:] == difference.upstream.value[1:]
    return same and any(path.startswith("[") for path in _paths(difference.case))


def _nests_bare_dot(difference: Difference) -> bool:
    nests = any(component in _NESTING for component in _components(difference.case))
    return nests and any(re.match(r"\s*[^$\s].*[.\[]|\[", path) for path in _paths(difference.case))


def _gives_list(difference: Difference) -> bool:
    given = (found.get(key) for found in _objects([difference.case.flow]) for key in ("workflow", "flow"))
    return any(
        isinstance(flow, list) or (isinstance(flow, dict) and isinstance(flow.get("$literal"), list)) for flow in given
    )


LATE_OUTPUT = Deviation(
    "late step in an output",
    "a step that the output needs only once a condition, an earlier operand or a missing variable is known is never "
    "run, and the item fails with 'Step … not completed'; here it runs (section c.1, defect 1)",
    lambda difference: difference.trouble.late.output,
)
FORGOTTEN_DEFAULT = Deviation(
    "step in the default of a variable",
    "a step that has to wait for one in the default of a variable does not, and fails with 'Step … not completed'; "
    "here it waits",
    lambda difference: difference.trouble.late.default,
)
LATE_INPUT = Deviation(
    "late step in an input",
    "the same in the input of a step stalls the run until recovery takes it up again; here it runs "
    "(section c.1, defect 2)",
    lambda difference: difference.trouble.late.input,
)
LISTS = Deviation(
    "allow and deny lists",
    "they are ignored where a pattern has one rule without conditions; here they count (section e.3)",
    lambda difference: bool(_components(difference.case) & {"/limited/of", "/denied/of"}),
)
QUOTED_DOT = Deviation(
    "quoted name with a dot",
    'a field written $["a.b"] is stored as $.a.b and read back as two fields; here it stays one (section b.2)',
    _has_quoted_dot,
)
BRACKET = Deviation(
    "id of a bare path that starts with a bracket",
    "the id of the flow is that of a text which is not the one that is stored; here it is that of the normal form",
    _has_leading_bracket,
)
BARE_DOT = Deviation(
    "bare name with a dot in a nested flow",
    "a.b is two fields in a flow that was stored over REST, and one in a flow that a step starts; here it is "
    "always two (section b.2)",
    _nests_bare_dot,
)
LIST_AS_FLOW = Deviation(
    "list as a flow",
    "map and iterate take a list for a flow, with the name first; here it is refused (section d)",
    _gives_list,
)
RESTART = Deviation(
    "server restarted for the failure of another step",
    "a step whose input refers to one that failed with a transport's code counts as failed that way itself: its "
    "server, which did nothing, is killed with all calls that it has; here servers are left alone",
    lambda difference: difference.trouble.transport and bool(_PY_LOST.search(difference.upstream.text)),
)
DEVIATIONS = (LATE_OUTPUT, FORGOTTEN_DEFAULT, LATE_INPUT, LISTS, QUOTED_DOT, BRACKET, BARE_DOT, LIST_AS_FLOW, RESTART)


def explanation(difference: Difference) -> Deviation | None:
    """The known defect that a difference is due to, if it is."""
    if "refused" in (difference.ours.kind, difference.upstream.kind):
        return None
    return next((known for known in DEVIATIONS if known.explains(difference)), None)
