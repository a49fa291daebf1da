"""Components of ours that fail under published orchestrators."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from stepflow_sdk_tests.interop.orchestrator import Told, told
from stepflow_sdk_tests.interop.stages import FAIL, Stage, flow_of

pytestmark = pytest.mark.interop

RETRY = {"action": "retry", "maxRetries": 3}


def refusing(onError: Any = None, **input: Any) -> dict[str, Any]:
    keys = {} if onError is None else {"onError": onError}
    return flow_of("refuse", {"message": "no", "name": uuid4().hex, **input}, **keys)


def test_an_exception_fails_the_flow_with_its_type_and_message_only(stage: Stage) -> None:
    error = stage.orchestrator.error(FAIL, "keine Lösung 😀")
    code = -32004 if stage.version == "0.9.0" else -32100
    assert told(error) == Told(code, "ValueError: keine Lösung 😀")
    assert "Traceback" not in json.dumps(error)
    assert "cases.py" not in json.dumps(error)


def test_an_error_of_the_component_keeps_message_and_data(stage: Stage, known_limit: Callable[[str], None]) -> None:
    error = stage.orchestrator.error(refusing())
    if stage.wraps_errors:
        known_limit("the data of a component's error are dropped")
        assert told(error).message == "no"
    else:
        assert error == {"code": -32000, "message": "no", "data": {"why": "no"}}


def test_a_failure_becomes_the_default_where_the_step_has_one(stage: Stage) -> None:
    flow = flow_of("fail", {"message": "gone"}, onError={"action": "useDefault", "defaultValue": {"n": 7}})
    assert stage.orchestrator.result(flow) == {"n": 7}


def test_a_retryable_error_is_tried_again(stage: Stage, known_limit: Callable[[str], None]) -> None:
    flow = refusing(onError=RETRY, retryable=True, until=3)
    if stage.version == "0.9.0" and stage.mode == "url":
        known_limit("0.9 never tries again what a remote server refused")
        assert told(stage.orchestrator.error(flow)).message == "no"
    else:
        assert stage.orchestrator.result(flow) == 3


def test_an_error_that_is_not_retryable_is_not_tried_again(stage: Stage, known_limit: Callable[[str], None]) -> None:
    name = uuid4().hex
    error = stage.orchestrator.error(refusing(onError=RETRY, name=name))
    calls = len((stage.directory / f"tally-{name}").read_text())
    if stage.wraps_errors and not (stage.version == "0.9.0" and stage.mode == "url"):
        known_limit("three attempts, whatever the error")
        assert calls == 3
    else:
        assert calls == 1
    assert told(error).message == "no"


def test_sys_exit_fails_the_step_and_not_the_process(stage: Stage, known_limit: Callable[[str], None]) -> None:
    before = stage.orchestrator.result(flow_of("pid"))
    assert told(stage.orchestrator.error(flow_of("leave", {"code": 3}))).message == "SystemExit: 3"
    after = stage.orchestrator.result(flow_of("pid"))
    if stage.restarts_at_errors:
        known_limit("the runtime starts our server anew at any error")
    else:
        assert after == before
