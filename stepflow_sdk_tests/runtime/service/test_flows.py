from typing import Any

from stepflow_sdk.flows import load_flow
from stepflow_sdk_tests.runtime.service.api import Api, flow_of


async def test_a_flow_is_stored_under_the_id_of_its_normal_form(api: Api) -> None:
    flow = flow_of("/echo", {"$input": "x"}, name="one", unknown=1)
    stored = await api.ask("POST", "/flows", {"flow": flow})
    assert stored["flowId"] == load_flow(flow).id
    assert stored["stored"] is True
    found = await api.ask("GET", f"/flows/{stored['flowId']}")
    assert found["flow"] == load_flow(flow).to_json()


async def test_a_dry_run_stores_nothing(api: Api) -> None:
    stored = await api.ask("POST", "/flows", {"flow": flow_of("/echo"), "dryRun": True})
    assert stored["stored"] is False
    assert (await api.call("GET", f"/flows/{stored['flowId']}")).status == 404


async def test_a_flow_with_a_fatal_finding_is_not_stored_and_the_finding_is_told(api: Api) -> None:
    stored = await api.ask("POST", "/flows", {"flow": flow_of("/echo", {"$step": "later"})})
    diagnostics = stored["diagnostics"]
    assert (stored["stored"], diagnostics["numFatal"]) == (False, 1)
    (fatal,) = [finding for finding in diagnostics["diagnostics"] if finding["level"] == "fatal"]
    assert (fatal["kind"], fatal["code"], fatal["path"]) == ("undefinedStepReference", 3003, "$.steps[0].input.$step")


async def test_what_is_no_flow_is_refused_with_every_problem_and_its_path(api: Api) -> None:
    refused = await api.call("POST", "/flows", {"flow": {"steps": [{"id": 1}, 2]}})
    assert refused.status == 422
    paths = {finding["path"] for finding in refused.json["diagnostics"]}
    assert {"$.steps[0]", "$.steps[0].id", "$.steps[1]"} <= paths


async def test_a_path_in_the_place_of_a_flow_opens_no_file(api: Api) -> None:
    refused = await api.call("POST", "/flows", {"flow": "/etc/hostname"})
    assert refused.status == 422
    assert refused.message == "the field 'flow': expected `object`, got `str`"


async def test_all_examples_are_those_of_the_flow_and_the_inputs_of_its_tests(api: Api) -> None:
    cases = [{"name": "a", "input": 2}, {"name": "b", "description": "the other", "input": 3}]
    flow = flow_of("/echo", examples=[{"name": "a", "input": 1}], test={"cases": cases})
    found = await api.ask("GET", f"/flows/{await api.store(flow)}")
    assert found["allExamples"] == [
        {"name": "a", "input": 1},
        {"name": "b", "description": "the other", "input": 3},
    ]


async def test_the_variables_of_a_flow_are_told_with_their_schema_and_environment(api: Api) -> None:
    schema: Any = {"type": "object", "properties": {"key": {"type": "string", "env_var": "API_KEY"}, "n": {}}}
    flow = flow_of("/echo", schemas={"type": "object", "properties": {"variables": schema}})
    flow_id = await api.store(flow)
    found = await api.ask("GET", f"/flows/{flow_id}/variables")
    assert found == {"flowId": flow_id, "schema": schema, "envVars": {"key": "API_KEY"}}
    bare = await api.store(flow_of("/echo"))
    assert await api.ask("GET", f"/flows/{bare}/variables") == {"flowId": bare, "schema": None, "envVars": {}}


async def test_a_flow_is_never_deleted_and_the_answer_says_so(api: Api) -> None:
    flow_id = await api.store(flow_of("/echo"))
    refused = await api.call("DELETE", f"/flows/{flow_id}")
    assert refused.status == 409
    assert "blobs are not deleted" in refused.message
    assert (await api.call("GET", f"/flows/{flow_id}")).status == 200


async def test_components_have_their_own_names_and_the_paths_of_flows(api: Api) -> None:
    listed = {entry["component"]: entry for entry in (await api.ask("GET", "/components"))["components"]}
    assert list(listed) == sorted(listed)
    assert (listed["/echo"]["paths"], listed["/echo"]["plugin"]) == (["/echo"], "server")
    assert listed["/put_blob"]["paths"] == ["/builtin/put_blob"]
    assert listed["/fail"]["input_schema"]["required"] == ["message"]
    bare = await api.ask("GET", "/components?includeSchemas=false")
    assert not any("input_schema" in entry for entry in bare["components"])
