"""The operations on flows."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from stepflow_sdk.errors import NotFound
from stepflow_sdk.flows import Flow, check_flow, parse_flow
from stepflow_sdk.flows.values import is_array, is_object
from stepflow_sdk.runtime.engine import Engine
from stepflow_sdk.runtime.service.messages import (
    Diagnostics,
    FlowAnswer,
    FlowVariables,
    StoredFlow,
    StoreFlow,
)
from stepflow_sdk.runtime.service.operations import API, JSON, Answer, Asked, Operation, json_answer
from stepflow_sdk.runtime.service.problems import Conflict

if TYPE_CHECKING:
    from starlette.responses import Response

__all__ = ["FlowOperations"]


class FlowOperations:
    """Flows are blobs under the hash of their normal form (section f of the flow format)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def operations(self) -> list[Operation]:
        """What is offered."""
        return [
            Operation(
                "POST",
                f"{API}/flows",
                "storeFlow",
                "Check a flow and store it, or only check it",
                self.store,
                {200: Answer("The flow's id and what the checks found", {JSON: StoredFlow})},
                body={JSON: StoreFlow},
                tag="flows",
            ),
            Operation(
                "GET",
                f"{API}/flows/{{flow_id}}",
                "getFlow",
                "A stored flow",
                self.get,
                {200: Answer("The flow", {JSON: FlowAnswer})},
                errors=[404],
                tag="flows",
            ),
            Operation(
                "GET",
                f"{API}/flows/{{flow_id}}/variables",
                "getFlowVariables",
                "The variables that a flow declares",
                self.variables,
                {200: Answer("Their schema", {JSON: FlowVariables})},
                errors=[404],
                tag="flows",
            ),
            Operation(
                "DELETE",
                f"{API}/flows/{{flow_id}}",
                "deleteFlow",
                "Refused: a flow is kept as long as the blobs are, for runs and components refer to it",
                self.delete,
                {},
                errors=[404, 409],
                tag="flows",
            ),
        ]

    async def store(self, asked: Asked) -> "Response":
        """Diagnostics that are fatal keep a flow from being stored, errors do not (section c.9)."""
        body: StoreFlow = asked.body
        flow = parse_flow(body.flow)
        findings = [*flow.warnings, *check_flow(flow)]
        levels = Counter(finding.level for finding in findings)
        stored = not (levels["fatal"] or body.dry_run)
        if stored:
            await self._engine.store_flow(flow)
        told = [finding.to_json() for finding in findings]
        counts = Diagnostics(told, levels["fatal"], levels["error"], levels["warning"])
        return json_answer(StoredFlow(flow.id, stored, counts))

    async def get(self, asked: Asked) -> "Response":
        """The document is the stored one, in normal form where it came as a flow."""
        flow_id = asked.path["flow_id"]
        return json_answer(await flow_answer(self._engine, flow_id))

    async def variables(self, asked: Asked) -> "Response":
        """As ``schemas.properties.variables`` says."""
        flow_id = asked.path["flow_id"]
        flow = await stored_flow(self._engine, flow_id)
        named = {name: variable.env_var for name, variable in flow.variables.items() if variable.env_var}
        properties = (flow.schemas or {}).get("properties")
        schema = properties.get("variables") if is_object(properties) else None
        return json_answer(FlowVariables(flow_id, schema, named))

    async def delete(self, asked: Asked) -> "Response":
        """Upstream answers with 200 and deletes nothing; this says so."""
        flow_id = asked.path["flow_id"]
        await stored_flow(self._engine, flow_id)
        raise Conflict(f"the flow {flow_id} is a blob, which runs and components may refer to; blobs are not deleted")


async def stored_flow(engine: Engine, flow_id: str) -> Flow:
    """The flow with an id.

    Raises:
        NotFound: There is none.
    """
    try:
        return await engine.flow(flow_id)
    except NotFound:
        message = f"there is no flow {flow_id[:80]!r}; POST /api/v1/flows stores one and tells its id"
        raise NotFound(message, data={"kind": "flow"}) from None


async def flow_answer(engine: Engine, flow_id: str) -> FlowAnswer:
    """A flow with all its examples: those that it has, and the test cases with other names (section a.5)."""
    flow = await stored_flow(engine, flow_id)
    examples: list[dict[str, Any]] = [dict(example) for example in flow.examples]
    names = {example.get("name") for example in examples}
    cases = (flow.test or {}).get("cases")
    examples += [
        {key: case[key] for key in ("name", "description", "input") if key in case}
        for case in (cases if is_array(cases) else [])
        if is_object(case) and case.get("name") not in names
    ]
    return FlowAnswer(flow.to_json(), flow_id, examples)
