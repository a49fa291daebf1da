import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepflow_sdk.errors import InvalidValue
from stepflow_sdk.flows import Failure, canonical_json
from stepflow_sdk.protocol import BlobType, FlowResultSuccess
from stepflow_sdk.runtime import ItemRecord, LocalRuntime, MemoryBlobStore, MemoryRunStore, RunRecord, StepRecord
from stepflow_sdk.runtime.overrides import merge_patch
from stepflow_sdk_tests.runtime.components import server

STEPS: list[Any] = [
    {"id": "a", "component": "/echo", "input": {"$input": "$.x"}},
    {"id": "b", "component": "/echo", "input": {"$step": "a"}},
    {"id": "c", "component": "/skip", "input": {"reason": "idle"}, "mustExecute": True},
]
FLOW = {"steps": STEPS, "output": {"$step": "b"}}


async def test_a_blob_store_keeps_a_value_once_under_the_hash_of_its_text() -> None:
    store = MemoryBlobStore()
    value = {"a": [1.0, "é"]}
    blob_id = await store.put(value)
    assert blob_id == hashlib.sha256(canonical_json(value)).hexdigest()
    assert await store.put({"a": [1.0, "é"]}, BlobType.flow) == blob_id
    blob = await store.get(blob_id)
    assert blob is not None
    assert blob.data() == value
    assert blob.blob_type is BlobType.flow
    assert await store.get(blob_id.upper()) is None
    with pytest.raises(InvalidValue):
        await store.put(float("inf"))


async def test_a_stored_blob_does_not_change_with_the_value_it_was_made_of() -> None:
    store = MemoryBlobStore()
    value = [1]
    blob_id = await store.put(value)
    value.append(2)
    blob = await store.get(blob_id)
    assert blob is not None
    assert blob.data() == [1]


async def test_the_run_store_has_what_happened() -> None:
    store = MemoryRunStore(keep_steps=True)
    async with LocalRuntime(server, runs=store) as runtime:
        await runtime.run_batch(FLOW, [{"x": 1}, {}], run_id="run", variables={"v": 1}, max_concurrency=1)
    run = await store.get("run")
    assert run is not None
    assert (run.status, run.items, run.variables, run.max_concurrency) == ("failed", 2, {"v": 1}, 1)
    assert run.completed_at is not None
    assert [(item.item, item.status) for item in await store.items("run")] == [(0, "completed"), (1, "failed")]
    steps = {(step.item, step.step_id): step for step in await store.steps("run")}
    assert (steps[0, "b"].status, steps[0, "b"].outcome, steps[0, "b"].attempt) == ("completed", 1, 1)
    assert (steps[0, "c"].status, steps[0, "c"].outcome, steps[0, "c"].reason) == ("skipped", None, "idle")
    failed = steps[1, "b"]
    assert (failed.status, failed.attempt) == ("failed", 0)
    assert isinstance(failed.outcome, Failure)


@pytest.mark.promise("D1")
async def test_a_result_is_stored_before_a_dependant_starts() -> None:
    story: list[str] = []

    class Store(MemoryRunStore):
        def write_step(self, run_id: str, step: StepRecord) -> None:
            super().write_step(run_id, step)
            if step.status != "running":
                story.append(f"stored {step.step_id}")

    def observer(event: Any) -> None:
        if type(event).__name__ == "StepStarted":
            story.append(f"started {event.step_id}")

    async with LocalRuntime(server, runs=Store(keep_steps=True), on_event=observer) as runtime:
        await runtime.run({"steps": STEPS[:2], "output": {"$step": "b"}}, {"x": 1})
    assert story == ["started a", "stored a", "started b", "stored b"]


async def test_a_store_that_fails_fails_the_run_with_its_own_error() -> None:
    class Full(MemoryRunStore):
        def write_step(self, run_id: str, step: StepRecord) -> None:
            raise OSError("no space left")

    async with LocalRuntime(server, runs=Full(keep_steps=True)) as runtime:
        with pytest.raises(OSError, match="no space left"):
            await runtime.run(FLOW, {"x": 1})


async def test_a_run_id_is_used_once() -> None:
    async with LocalRuntime(server) as runtime:
        await runtime.run({}, run_id="mine")
        with pytest.raises(InvalidValue, match="mine"):
            await runtime.run({}, run_id="mine")


async def test_only_so_many_ended_runs_are_remembered() -> None:
    store = MemoryRunStore(max_ended=2)
    for name in "abc":
        await store.create(RunRecord(name, "f", None, None, 0.0), [1])
        store.end_item(name, ItemRecord(0, "completed", FlowResultSuccess(1), 0.0))
        store.end_run(name, "completed", 1.0)
    assert await store.get("a") is None
    assert list(await store.items("a")) == []
    assert [(await store.get(name)) is not None for name in "bc"] == [True, True]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_patches_merge_as_in_the_appendix_of_the_rfc(target: Any, patch: Any, merged: Any) -> None:
    assert merge_patch(target, patch) == merged


@given(values, values)
def test_a_patch_applied_twice_is_a_patch_applied_once(target: Any, patch: Any) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once
