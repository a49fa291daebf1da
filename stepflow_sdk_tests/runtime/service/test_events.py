import gc
from typing import Any

import anyio

from stepflow_sdk.protocol import FlowResultSuccess
from stepflow_sdk.runtime.events import ItemEnded, RunEnded, RunStarted
from stepflow_sdk.runtime.service import EventHub, events
from stepflow_sdk_tests.runtime.service.api import INPUT, Api, Told, flow_of, serving


async def all_of(api: Api, run_id: str, last: str | None = None) -> list[Told]:
    async with api.events(run_id, last) as stream:
        return [event async for event in stream]


async def test_what_happens_in_a_run_is_told_in_its_order_and_the_stream_ends_with_it(api: Api) -> None:
    run_id = (await api.start(flow_of("/fail", {"message": INPUT}, name="sad"), "é", wait=True))["runId"]
    told = await all_of(api, run_id)
    assert [event.name for event in told] == ["runStarted", "stepStarted", "stepEnded", "itemEnded", "runEnded"]
    assert all(event.data["runId"] == run_id and event.data["at"].endswith("Z") for event in told)
    started, _, step, item, ended = (event.data for event in told)
    assert (started["flowName"], started["items"]) == ("sad", 1)
    assert (step["stepId"], step["component"], step["status"], step["attempt"]) == ("s", "/fail", "failed", 1)
    assert step["error"]["message"] == item["error"]["message"] == "ValueError: é"
    assert (item["itemIndex"], item["status"], ended["status"]) == (0, "failed", "failed")


async def test_events_come_while_the_run_goes_on_and_to_every_follower(api: Api) -> None:
    run_id = await api.held()
    async with api.events(run_id) as one, api.events(run_id) as other:
        assert [(await anext(one)).name, (await anext(other)).name] == ["runStarted"] * 2
        assert [(await anext(one)).name, (await anext(other)).name] == ["stepStarted"] * 2
        api.gate.set()
        assert [event.name async for event in one] == ["stepEnded", "itemEnded", "runEnded"]
        assert [event.name async for event in other] == ["stepEnded", "itemEnded", "runEnded"]


async def test_who_comes_back_with_the_last_id_gets_what_came_behind_it(api: Api) -> None:
    run_id = (await api.start(flow_of("/echo"), 1, 2, wait=True))["runId"]
    told = await all_of(api, run_id)
    assert len({event.id for event in told}) == len(told)
    for index, event in enumerate(told[:-1]):
        assert await all_of(api, run_id, event.id) == told[index + 1 :]
    over = await api.call("GET", f"/runs/{run_id}/events", headers={"Last-Event-ID": told[-1].id})
    assert (over.status, over.text) == (204, b"")
    by_parameter = await api.call("GET", f"/runs/{run_id}/events?lastEventId={told[-1].id}")
    assert by_parameter.status == 204


async def test_an_id_that_is_none_is_refused_and_one_of_another_process_begins_at_the_beginning(api: Api) -> None:
    run_id = (await api.start(flow_of("/echo"), 1, wait=True))["runId"]
    refused = await api.call("GET", f"/runs/{run_id}/events", headers={"Last-Event-ID": "7"})
    assert refused.status == 400
    assert "looks like" in refused.message
    assert await all_of(api, run_id, "00000000-3") == await all_of(api, run_id)


async def test_a_client_that_goes_away_leaves_nothing(api: Api) -> None:
    run_id = await api.held()
    gc.collect()
    before = len(anyio.get_running_tasks())
    for _ in range(20):
        async with api.events(run_id) as stream:
            await anext(stream)
    while len(anyio.get_running_tasks()) > before + 1:  # the library for event streams keeps one task for all
        await anyio.lowlevel.checkpoint()


async def test_streams_end_with_the_service(api: Api) -> None:
    run_id = await api.held()
    async with api.events(run_id) as stream:
        assert [(await anext(stream)).name, (await anext(stream)).name] == ["runStarted", "stepStarted"]
        api.service.stop()
        assert [event async for event in stream] == []


async def test_a_run_that_another_process_began_is_told_from_what_is_stored(tmp_path: Any) -> None:
    with anyio.fail_after(60):
        async with serving(state=tmp_path / "state.db") as api:
            run_id = (await api.start(flow_of("/echo"), 1, wait=True))["runId"]
            told = await all_of(api, run_id)
        async with serving(state=tmp_path / "state.db") as api:
            stored = await all_of(api, run_id, told[1].id)
    names = [event.name for event in told if event.name != "stepStarted"]
    assert [event.name for event in stored] == names == ["runStarted", "stepEnded", "itemEnded", "runEnded"]
    for event in stored:
        known = next(other.data for other in told if other.name == event.name)
        assert {key: known[key] for key in event.data if key != "at"} == {
            key: value for key, value in event.data.items() if key != "at"
        }
        assert event.id == ""


# ---- the hub ----------------------------------------------------------------------------------------------------


def happen(hub: EventHub, run_id: str, items: int) -> None:
    hub(RunStarted(run_id, "f", items=items))
    for item in range(items):
        hub(ItemEnded(run_id, item, FlowResultSuccess("x" * 1000)))


async def test_a_follower_that_is_behind_is_told_how_many_events_it_missed() -> None:
    hub = EventHub()
    happen(hub, "r", 5000)
    hub(RunEnded("r", "completed", 1.0))
    told = [event async for event in hub.follow("r")]
    assert (told[0].name, told[0].fields["missed"]) == ("gap", 5002 - 1000)
    assert [event.number for event in told] == list(range(5002 - 1000, 5003))
    assert told[-1].name == "runEnded"


async def test_of_runs_that_have_ended_a_bounded_number_of_events_is_kept() -> None:
    hub = EventHub()
    count = events._KEPT_OF_ENDED // 1000 + 20
    for number in range(count):
        happen(hub, str(number), 998)
        hub(RunEnded(str(number), "completed", 1.0))
    assert not any(hub.knows(str(number)) for number in range(20))
    assert all(hub.knows(str(number)) for number in range(20, count))
    assert hub.running() == []


async def test_outcomes_are_not_kept_with_the_events() -> None:
    hub = EventHub()
    happen(hub, "r", 1)
    hub(RunEnded("r", "completed", 1.0))
    assert "x" * 100 not in str([event async for event in hub.follow("r")])
