"""The REST API of a service, in the three forms that it has (section 11 of the dialects)."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from stepflow_sdk.errors import InvalidFlow, InvalidValue, NotFound, ServerError, ServerLost
from stepflow_sdk.flows import Flow
from stepflow_sdk.flows.old_document import OldFlow
from stepflow_sdk.flows.values import is_array, is_object
from stepflow_sdk.protocol import FlowError, FlowResult, FlowResultFailed

if TYPE_CHECKING:
    from stepflow_sdk.transports.rest_client import RestAnswer, RestClient

__all__ = ["RemoteService", "RunState"]

_POLL_SECONDS: Final = 30
"""How long one request waits for the end of a run."""

_ANSWER_SECONDS: Final = 60.0
_FLOW_RESULT: Final[Any] = FlowResult
_OURS: Final = "stepflow-sdk"
_TOO_NEW: Final = (0, 12)


class RunState(NamedTuple):
    """What a service says of a run."""

    run_id: str
    status: str

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.status not in ("running", "paused")


class RemoteService:
    """A service that answered, and which of the three it is.

    Args:
        client: Sends the requests, below ``/api/v1``.
        health: What it says of itself.

    Raises:
        ServerError: It is none that this library can talk to.
    """

    def __init__(self, client: "RestClient", health: "RestAnswer") -> None:
        self._client = client
        version = health.body.get("version") if health.status == 200 and is_object(health.body) else None
        if not isinstance(version, str):
            told = f"{health.status}: {health.message}"
            raise ServerError(f"{client.url} is no Stepflow service: GET {client.url}/health answered {told}")
        self.version = version
        self.is_ours = health.body.get("service") == _OURS
        number = _number(version)
        if not self.is_ours and number >= _TOO_NEW:
            raise ServerError(
                f"{client.url} is an orchestrator {version}; from 0.12 on they speak gRPC and another REST API, "
                "use one of 0.9 to 0.11"
            )
        self._is_0_9 = not self.is_ours and number < (0, 10)

    async def store(self, flow: Flow) -> str:
        """Store a flow and return its id.

        Raises:
            InvalidFlow: The service refuses it, or would misread it.
        """
        if isinstance(flow, OldFlow) and not self.is_ours:
            raise InvalidFlow(
                f"the flow is in the language of {flow.language}, of which orchestrators from 0.9 on run nothing "
                "without saying so; run it on the local engine, or rewrite it"
            )
        answer = await self._client.call("POST", "/flows", {"flow": flow.to_json()}, timeout=_ANSWER_SECONDS)
        if answer.status != 200 or not is_object(answer.body):
            if answer.status in (400, 422):
                raise InvalidFlow(f"{self._client.url} refuses the flow: {answer.message}")
            raise _refused("the flow", answer)
        if not answer.body.get("stored"):
            raise _invalid(answer.body.get("diagnostics"))
        return str(answer.body["flowId"])

    async def start(
        self,
        flow_id: str,
        inputs: Sequence[Any],
        *,
        variables: Mapping[str, Any] | None,
        overrides: Mapping[str, Any] | None,
        max_concurrency: int,
    ) -> RunState:
        """Start a run; 0.9 answers when it is over.

        Raises:
            InvalidValue: The service refuses what the run is given.
        """
        body: dict[str, Any] = {"flowId": flow_id, "input": list(inputs), "maxConcurrency": max_concurrency}
        if variables:
            body["variables"] = dict(variables)
        if overrides:
            steps = overrides.get("steps")
            named = steps if len(overrides) == 1 and is_object(steps) and "value" not in steps else dict(overrides)
            body["overrides"] = named if self._is_0_9 else {"steps": named}
        answer = await self._client.call("POST", "/runs", body, timeout=None if self._is_0_9 else _ANSWER_SECONDS)
        return _state(answer, "the run")

    async def wait(self, state: RunState) -> RunState:
        """Wait for the end of a run."""
        query = {"wait": "true", "timeoutSecs": str(_POLL_SECONDS)}
        while not state.is_over:
            answer = await self._client.call(
                "GET", f"/runs/{state.run_id}", query=query, timeout=_POLL_SECONDS + _ANSWER_SECONDS
            )
            state = _state(answer, "the wait")
        return state

    async def outcomes(self, state: RunState, count: int) -> list[FlowResult]:
        """The outcomes of a run that is over, one for each of its inputs."""
        answer = await self._client.call("GET", f"/runs/{state.run_id}/items", timeout=_ANSWER_SECONDS)
        listed = answer.body.get("items") if answer.status == 200 and is_object(answer.body) else None
        if not is_array(listed):
            raise _refused("the items of the run", answer)
        try:
            results: dict[int, FlowResult] = {
                item["itemIndex"]: msgspec.convert(item["result"], _FLOW_RESULT)
                for item in listed
                if is_object(item) and item.get("result") is not None
            }
        except (msgspec.ValidationError, KeyError) as error:
            raise ServerLost(f"{self._client.url} told the items of a run in another form: {error}") from None
        missing = FlowError(-32202, f"the run {state.run_id} is {state.status}, without an outcome of this item")
        return [results.get(index) or FlowResultFailed(missing) for index in range(count)]

    async def cancel(self, run_id: str) -> None:
        """End a run, if it has not ended."""
        await self._client.call("POST", f"/runs/{run_id}/cancel", timeout=_ANSWER_SECONDS)


def _number(version: str) -> tuple[int, int]:
    # More than digits is a digit to `isdigit`, and any number of them.
    found = re.match(r"([0-9]{1,6})\.([0-9]{1,6})(?![0-9])", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _state(answer: "RestAnswer", what: str) -> RunState:
    body = answer.body
    if answer.status not in (200, 202) or not is_object(body):
        raise _refused(what, answer)
    run_id, status = body.get("runId"), body.get("status")
    if not isinstance(run_id, str) or not isinstance(status, str):
        raise ServerLost(f"the service told of {what} in another form: {answer.message}")
    return RunState(run_id, status)


def _refused(what: str, answer: "RestAnswer") -> Exception:
    said = f"the service refused {what} with {answer.status}: {answer.message}"
    if answer.status == 413:
        return InvalidValue(f"{said}; the orchestrators take no request above 2 MiB")
    if answer.status in (400, 422):
        return InvalidValue(said)
    return NotFound(said) if answer.status == 404 else ServerError(said)


def _invalid(diagnostics: Any) -> InvalidFlow:
    listed = diagnostics.get("diagnostics") if is_object(diagnostics) else None
    found = [finding for finding in listed if is_object(finding)] if is_array(listed) else []
    fatal = [finding for finding in found if finding.get("level") == "fatal"]
    told = "; ".join(f"{finding.get('path', '$')}: {finding.get('formatted')}" for finding in fatal[:20])
    return InvalidFlow(f"the service refuses the flow: {told or 'it does not say why'}", diagnostics=found)
