"""The test cases and examples that a flow document carries (section a.5 of the flow format)."""

from collections.abc import Mapping
from typing import Any, Final

from stepflow_sdk.flows.shapes import Shape
from stepflow_sdk.flows.values import Json, is_integer

_TEST_KEYS: Final = ("configFile", "config", "stepflow_config", "cases")
_CASE_KEYS: Final = ("name", "description", "input", "output")
_EXAMPLE_KEYS: Final = ("name", "description", "input")
_TEST_HINTS: Final = {"servers": "since 0.9 servers are plugins of the configuration"}
_NO_SERVERS: Final = "'servers' are not started for tests any more; make each a plugin under test.config.plugins"
_NEVER_SKIPPED: Final = "only flows of 0.7 and 0.8 are skipped; since 0.9 a skipped step is null"


def read_test(flow: Shape, *, is_old: bool = False) -> dict[str, Json] | None:
    """Check the ``test`` section; its normal form has ``config`` for ``stepflow_config`` and no nulls.

    Args:
        flow: The document.
        is_old: Whether it is one of 0.7 or 0.8, which may expect the outcome ``skipped``.
    """
    shape = flow.inner("test", "test")
    if shape is None:
        return None
    shape.warn_of_unknown(_TEST_KEYS, _TEST_HINTS, reported=("servers",) if is_old else ())
    if is_old and shape.fields.get("servers"):
        # There it was obeyed, so that passing over it would run the tests against something else.
        shape.reporter.invalid((*shape.path, "servers"), _NO_SERVERS)
    test: dict[str, Json] = {}
    _keep(test, "configFile", shape.string("configFile"))
    given = [key for key in ("configFile", "config", "stepflow_config") if shape.fields.get(key) is not None]
    if len(given) > 1:
        shape.reporter.invalid(shape.path, f"test has {' and '.join(map(repr, given))}; only one of them can count")
    _keep(test, "config", shape.object("config") or shape.object("stepflow_config"))
    _keep(test, "cases", [_case(case, is_old) for case in shape.inner_list("cases", "a test case")] or None)
    return test


def read_examples(flow: Shape) -> tuple[Mapping[str, Json], ...]:
    """Check the ``examples`` of a flow."""
    return tuple(_named_input(shape, _EXAMPLE_KEYS) for shape in flow.inner_list("examples", "an example"))


def _case(shape: Shape, is_old: bool) -> dict[str, Json]:
    case = _named_input(shape, _CASE_KEYS)
    if output := shape.inner("output", "the output of a test case"):
        _check_result(output, is_old)
        case["output"] = dict(output.fields)
    return case


def _named_input(shape: Shape, keys: tuple[str, ...]) -> dict[str, Any]:
    shape.warn_of_unknown(keys)
    document: dict[str, Json] = {"name": shape.required_string("name", "name: simple")}
    _keep(document, "description", shape.string("description"))
    if "input" not in shape.fields:
        shape.missing("input", "input: null")
    document["input"] = shape.fields.get("input")
    return document


def _check_result(shape: Shape, is_old: bool) -> None:
    match shape.fields.get("outcome"):
        case None:
            shape.missing("outcome", "outcome: success")
        case "success":
            if "result" not in shape.fields:
                shape.missing("result", "result: null")
        case "failed":
            if shape.fields.get("error") is None:
                shape.missing("error", "error: {code: -32200, message: text}")
            elif error := shape.inner("error", "the error of a test case"):
                if not is_integer(error.fields.get("code")):
                    error.wrong("code", "an integer")
                error.required_string("message", "message: text")
        case "skipped" if is_old:
            shape.string("reason")
        case "skipped":
            shape.wrong("outcome", f"'success' or 'failed' ({_NEVER_SKIPPED})")
        case _:
            shape.wrong("outcome", "'success', 'skipped' or 'failed'" if is_old else "'success' or 'failed'")


def _keep(document: dict[str, Json], key: str, value: Json) -> None:
    if value is not None:
        document[key] = value
