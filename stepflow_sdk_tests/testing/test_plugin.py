"""The pytest plugin, as its users use it."""

import pytest

pytest_plugins = ["pytester"]

CONFTEST = 'pytest_plugins = ["stepflow_sdk.testing.plugin"]'
SUITE = """
import threading

from stepflow_sdk import StepflowServer

server = StepflowServer("greeter")

@server.component
def greet(name: str) -> str:
    return f"Hello, {name}!"

def test_a_component(stepflow_runtime):
    runtime = stepflow_runtime(server)
    assert runtime.execute("/greet", {"name": "you"}) == "Hello, you!"

def test_two_servers_in_a_flow(stepflow_runtime):
    runtime = stepflow_runtime({"one": server, "two": server})
    step = {"id": "s", "component": "/two/greet", "input": {"name": {"$input": "$"}}}
    outcome = runtime.run({"steps": [step], "output": {"$step": "s"}}, "me")
    assert outcome.unwrap() == "Hello, me!"

def test_the_runtime_is_gone_after_a_test():
    assert not [t.name for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()]
"""


def test_the_fixture_runs_servers_for_the_time_of_a_test(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(SUITE)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=3)
