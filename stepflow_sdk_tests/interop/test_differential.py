"""Random flows end alike on the bundled runtime and on a published orchestrator, but for its known defects."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from stepflow_sdk.protocol import FlowResultFailed
from stepflow_sdk.runtime import LocalRuntime
from stepflow_sdk_tests.interop.differential.cases import Case, cases
from stepflow_sdk_tests.interop.differential.comparison import Comparison
from stepflow_sdk_tests.interop.differential.deviations import (
    BARE_DOT,
    BRACKET,
    DEVIATIONS,
    FORGOTTEN_DEFAULT,
    LATE_INPUT,
    LATE_OUTPUT,
    LIST_AS_FLOW,
    LISTS,
    QUOTED_DOT,
    RESTART,
    Deviation,
    Difference,
    explanation,
)
from stepflow_sdk_tests.interop.differential.twins import Answer, Twins, open_twins
from stepflow_sdk_tests.interop.network import Network
from stepflow_sdk_tests.interop.orchestrator import running_orchestrator

pytestmark = pytest.mark.interop

VERSION = "0.11.1"


@pytest.fixture(scope="module")
def twins(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    with open_twins(VERSION, network, tmp_path_factory.mktemp("twins"), sys.executable) as opened:
        yield opened


def test_random_flows_end_alike(twins: Twins, record_property: Any) -> None:
    comparison = Comparison(twins)

    @settings(
        max_examples=600,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
    @given(cases())
    def compare(case: Case) -> None:
        comparison.check(case)

    compare()
    record_property("counts", list(comparison.table()))
    # Flows that are refused, or that fail early, say little.
    assert comparison.ends["success"] > comparison.cases / 3
    assert comparison.ends["refused"] < comparison.cases / 10
    assert len(comparison.ends) > 8


def say(id: str, what: Any, **keys: Any) -> dict[str, Any]:
    return {"id": id, "component": "/mock/say", "input": what, **keys}


def echo(id: str, input: Any) -> dict[str, Any]:
    return {"id": id, "component": "/py/echo", "input": input}


def case_of(flow: dict[str, Any], input: Any = None) -> Case:
    return Case(flow, [input], {}, {}, None)


def outcome_of(answer: Answer) -> Any:
    assert answer.kind == "outcomes"
    (_, outcome) = answer.value
    return outcome


def success(result: Any) -> Any:
    return {"outcome": "success", "result": result}


def failed(message: str, code: int = -32202) -> Any:
    return {"outcome": "failed", "error": {"code": code, "message": message}}


A: dict[str, Any] = {"$step": "a"}


def nesting(flow: Any) -> dict[str, Any]:
    input = {"flow": {"$literal": flow}, "input": {"$input": "$"}}
    return {"steps": [{"id": "a", "component": "/py/nested", "input": input}], "output": A}


def mapping(flow: Any, *items: Any) -> dict[str, Any]:
    input = {"workflow": {"$literal": flow}, "items": list(items)}
    return {"steps": [{"id": "a", "component": "/builtin/map", "input": input}], "output": A}


N: dict[str, Any] = {"$step": "n"}
BOTH = [say("n", "null"), say("a", "one")]
TRULY = [say("n", "one"), say("a", "one")]
LATE: list[tuple[Any, Any, Any]] = [
    (BOTH, {"$coalesce": [N, A]}, 1),
    (TRULY, {"$if": N, "then": A}, 1),
    (BOTH, {"$if": N, "then": 2, "else": [A]}, [1]),
    (BOTH, {"$variable": "nobody", "default": A}, 1),
    (BOTH, [N, {"$variable": "nobody", "default": {"x": A}}], [None, {"x": 1}]),
]


@pytest.mark.parametrize(("steps", "output", "result"), LATE)
def test_upstream_forgets_a_step_that_the_output_needs_late(
    twins: Twins, steps: list[Any], output: Any, result: Any
) -> None:
    case = case_of({"steps": steps, "output": output})
    assert outcome_of(twins.ours(case)) == success(result)
    assert twins.trouble().late.output
    assert outcome_of(twins.upstream(case)) == failed("Step a not completed")


@pytest.mark.parametrize(("steps", "input", "result"), LATE[:3])
def test_upstream_does_not_forget_a_late_step_that_is_needed_elsewhere(
    twins: Twins, steps: list[Any], input: Any, result: Any
) -> None:
    steps = [steps[0], {**steps[1], "mustExecute": True}]
    for flow in ({"steps": steps, "output": input}, {"steps": [*steps, echo("b", input)], "output": {"$step": "b"}}):
        case = case_of(flow)
        assert outcome_of(twins.ours(case)) == outcome_of(twins.upstream(case)) == success(result)


@pytest.mark.parametrize(("steps", "input", "result"), LATE[:3])
def test_upstream_stalls_on_a_step_that_another_one_needs_late(
    twins: Twins, steps: list[Any], input: Any, result: Any
) -> None:
    case = case_of({"steps": [*steps, echo("b", input)], "output": {"$step": "b"}})
    assert outcome_of(twins.ours(case)) == success(result)
    assert twins.trouble().late.input
    # Recovery takes it up again after a second here; the default is half a minute.
    assert outcome_of(twins.upstream(case)) == success(result)


def test_upstream_never_ends_a_nested_run_with_such_a_step(twins: Twins) -> None:
    inner = {"steps": [*BOTH, echo("b", {"$coalesce": [N, A]})], "output": {"$step": "b"}}
    case = case_of(mapping(inner, 1))
    assert outcome_of(twins.ours(case)) == success({"results": [success(1)], "successful": 1, "failed": 0})
    assert twins.trouble().late.input
    # Recovery had two turns in this time.
    assert twins.upstream(case, seconds=3) == Answer("stalled", ["running", "running"])


def test_upstream_forgets_a_step_that_only_the_default_of_a_variable_needs(twins: Twins) -> None:
    case = case_of({"steps": [say("a", "one"), echo("b", {"$variable": "v", "default": A})], "output": {"$step": "b"}})
    assert outcome_of(twins.ours(case)) == success(1)
    assert twins.trouble().late.default
    assert outcome_of(twins.upstream(case)) == failed("Step a not completed")


@pytest.mark.parametrize("component", ["/limited/of", "/denied/of"])
def test_upstream_ignores_allow_and_deny_lists_of_a_single_rule(twins: Twins, component: str) -> None:
    case = case_of({"steps": [{"id": "a", "component": component, "input": 1}], "output": A})
    refused = outcome_of(twins.ours(case))["error"]
    assert (refused["code"], refused["message"]) == (-32202, "error routing component")
    assert outcome_of(twins.upstream(case)) == success("integer")


def test_upstream_takes_a_quoted_name_with_a_dot_for_two_fields(twins: Twins) -> None:
    case = case_of({"output": {"$input": '$["a.b"]'}}, {"a.b": 1, "a": {"b": 2}})
    assert outcome_of(twins.ours(case)) == success(1)
    assert outcome_of(twins.upstream(case)) == success(2)


def test_upstream_gives_a_flow_with_a_bare_index_the_id_of_another_text(twins: Twins) -> None:
    case = case_of({"output": {"$input": "[0]"}}, [5])
    here, there = twins.ours(case), twins.upstream(case)
    assert outcome_of(here) == outcome_of(there) == success(5)
    assert here.value[0] == twins.ours(case_of({"output": {"$input": "$[0]"}}, [5])).value[0] != there.value[0]


def test_upstream_reads_a_bare_name_with_a_dot_in_two_ways(twins: Twins) -> None:
    plain: dict[str, Any] = {"output": {"$input": "a.b"}}
    input = {"a.b": 1, "a": {"b": 2}}
    case = case_of(plain, input)
    assert outcome_of(twins.ours(case)) == outcome_of(twins.upstream(case)) == success(2)
    nested = case_of(nesting(plain), input)
    assert outcome_of(twins.ours(nested)) == success(2)
    assert outcome_of(twins.upstream(nested)) == success(1)


def test_upstream_takes_a_list_for_a_flow(twins: Twins) -> None:
    case = case_of(mapping([]), None)
    assert outcome_of(twins.ours(case))["error"]["message"] == 'step "a" failed'
    assert outcome_of(twins.upstream(case)) == success({"results": [], "successful": 0, "failed": 0})


def test_upstream_kills_a_server_for_the_failure_of_another_step(twins: Twins) -> None:
    pid = case_of({"steps": [{"id": "a", "component": "/py/pid"}], "output": A})
    failing = case_of({"steps": [say("a", "transport"), echo("b", A)], "output": {"$step": "b"}})
    for run, stays in ((twins.ours, True), (twins.upstream, False)):
        before = outcome_of(run(pid))
        assert outcome_of(run(failing)) == failed("of the transport", -32300)
        assert (outcome_of(run(pid)) == before) is stays


def test_upstream_takes_the_dash_of_a_default_for_a_part_of_it(twins: Twins) -> None:
    steps = [{"id": "a", "component": "/py/variable", "input": {"name": "DEFAULTED"}}]
    case = case_of({"steps": steps, "output": A})
    assert outcome_of(twins.ours(case)) == success("default")
    assert outcome_of(twins.upstream(case)) == success("-default")


def test_upstream_takes_the_language_of_0_7_for_data(twins: Twins) -> None:
    old = {"$from": {"workflow": "input"}, "path": "$.x"}
    case = case_of({"steps": [echo("a", old)], "output": {"$from": {"step": "a"}}}, {"x": 1})
    with pytest.warns(DeprecationWarning, match="0.7"):
        here = twins.ours(case)
    assert outcome_of(here) == success(1)
    assert outcome_of(twins.upstream(case)) == success({"$from": {"step": "a"}})


def test_upstream_tries_a_wrong_input_of_a_builtin_component_again(network: Network, tmp_path: Path) -> None:
    hour = {"transportMaxRetries": 3, "backoff": {"type": "constant", "delayMs": 3_600_000}}
    config = {
        "plugins": {"builtin": {"type": "builtin"}},
        "routes": {"/builtin/{*component}": [{"plugin": "builtin"}]},
        "retry": hour,
    }
    flow = {"steps": [{"id": "a", "component": "/builtin/get_blob", "input": {}}], "output": A}
    with LocalRuntime.from_config(config) as runtime:
        assert isinstance(runtime.run(flow), FlowResultFailed)
    with running_orchestrator(VERSION, config, network, tmp_path) as orchestrator:
        request = {"flowId": orchestrator.store(flow), "input": [None], "wait": True, "timeoutSecs": 2}
        assert orchestrator.ask("POST", "/runs", request)["status"] == "running"


EXAMPLES: dict[str, Case] = {
    LATE_OUTPUT.name: case_of({"steps": BOTH, "output": {"$coalesce": [N, A]}}),
    FORGOTTEN_DEFAULT.name: case_of(
        {"steps": [say("a", "one"), echo("b", {"$variable": "v", "default": A})], "output": [A, {"$step": "b"}]}
    ),
    LATE_INPUT.name: case_of({"steps": [*BOTH, echo("b", {"$coalesce": [N, A]})], "output": {"$step": "b"}}),
    LISTS.name: case_of({"steps": [{"id": "a", "component": "/limited/of", "input": 1}], "output": A}),
    QUOTED_DOT.name: case_of({"output": {"$input": '$["a.b"]'}}, {"a.b": 1}),
    RESTART.name: case_of({"steps": [say("a", "transport"), echo("b", A)], "output": {"$step": "b"}}),
    BARE_DOT.name: case_of(nesting({"output": {"$input": "a.b"}}), {"a.b": 1}),
    LIST_AS_FLOW.name: case_of(mapping([])),
    BRACKET.name: case_of({"output": {"$input": "[0]"}}, [5]),
}


@pytest.mark.parametrize("deviation", DEVIATIONS, ids=lambda deviation: deviation.name)
def test_a_known_defect_explains_its_example_and_no_plain_flow(twins: Twins, deviation: Deviation) -> None:
    case = EXAMPLES[deviation.name]
    here = twins.ours(case)
    there = Answer("outcomes", ["", *here.value[1:], *(["Component: /echo"] if deviation is RESTART else [])])
    assert explanation(Difference(case, twins.trouble(), here, there)) is deviation
    plain = case_of({"steps": BOTH, "output": {"$coalesce": [{"$input": "$.x"}, N]}}, {"x": None})
    here = twins.ours(plain)
    assert explanation(Difference(plain, twins.trouble(), here, Answer("outcomes", [here.value[0], None]))) is None
