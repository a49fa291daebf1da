"""Both run stores against a model: whatever is written in whatever order, and after every crash, it is there."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from stepflow_sdk.errors import InvalidValue
from stepflow_sdk.flows import Failure
from stepflow_sdk.protocol import FlowError, FlowResultFailed, FlowResultSkipped, FlowResultSuccess
from stepflow_sdk.runtime import ItemRecord, MemoryRunStore, RunQuery, RunRecord, StepRecord
from stepflow_sdk.runtime.stores.sqlite import SqliteState
from stepflow_sdk_tests.runtime.state_tools import crash_image

json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
results = st.one_of(
    st.builds(FlowResultSuccess, json),
    st.builds(FlowResultSkipped, st.none() | st.text(max_size=3)),
    st.builds(FlowResultFailed, st.builds(FlowError, st.integers(-40000, 40000), st.text(max_size=5), json)),
)


class _Known:
    """What the model knows of a run."""

    def __init__(self, record: RunRecord, inputs: list[Any]) -> None:
        self.record = record
        self.inputs = inputs
        self.steps: dict[tuple[int, str], StepRecord] = {}
        self.items: list[ItemRecord] = []

    def shown(self) -> RunRecord:
        failed = sum(item.status == "failed" for item in self.items)
        completed = len(self.items) - failed
        return msgspec.structs.replace(self.record.shown(), completed=completed, failed=failed)


class _Machine(RuleBasedStateMachine):
    store: Any
    clock = 0.0
    made = 0

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[str, _Known] = {}
        self.runner = asyncio.Runner()

    def now(self) -> float:
        self.clock += 1.0
        return self.clock

    def synced(self) -> None:
        async def sync() -> None:
            waiting = self.store.sync()
            if waiting is not None:
                await waiting

        self.runner.run(sync())

    def active(self) -> list[_Known]:
        return [known for known in self.model.values() if known.record.completed_at is None]

    @rule(data=st.data(), inputs=st.lists(json, max_size=3), name=st.sampled_from([None, "a", "b"]), lazy=st.booleans())
    def create(self, data: st.DataObject, inputs: list[Any], name: str | None, lazy: bool) -> None:
        self.made += 1
        run_id = f"run-{self.made}"
        parent = data.draw(st.sampled_from([None, *self.model.values()]))
        secret = data.draw(st.booleans())
        record = RunRecord(
            run_id,
            "flow",
            name,
            None,
            self.now(),
            variables={"k": "hush", "v": 1} if secret else None,
            secrets=("k",) if secret else (),
            parent_run_id=None if parent is None else parent.record.run_id,
            root_run_id=run_id if parent is None else parent.record.root_run_id,
            depth=0 if parent is None else parent.record.depth + 1,
        )
        given = iter(inputs) if lazy and self.store.durable else inputs
        assert self.runner.run(self.store.create(record, given)) == len(inputs)
        with pytest.raises(InvalidValue, match=run_id):
            self.runner.run(self.store.create(record, [1]))
        self.model[run_id] = _Known(msgspec.structs.replace(record, items=len(inputs)), inputs)

    @precondition(lambda self: any(known.inputs for known in self.active()))
    @rule(data=st.data(), value=json, ends=st.booleans(), attempt=st.integers(1, 3))
    def step(self, data: st.DataObject, value: Any, ends: bool, attempt: int) -> None:
        known = data.draw(st.sampled_from([known for known in self.active() if known.inputs]))
        item = data.draw(st.integers(0, len(known.inputs) - 1))
        name = data.draw(st.sampled_from(["s", "é"]))
        if (known.steps.get((item, name)) or _NOTHING).status != "running":
            ends = False
        if (item, name) in known.steps and not ends:
            return
        status = data.draw(st.sampled_from(["completed", "failed", "skipped"])) if ends else "running"
        outcome = {"completed": value, "failed": Failure(7, "no", value)}.get(status)
        started = known.steps[item, name].started_at if ends else self.now()
        record = StepRecord(item, name, status, outcome, attempt, None, "/c", started, self.now() if ends else None)
        self.store.write_step(known.record.run_id, record)
        known.steps[item, name] = record

    @precondition(lambda self: any(len(known.items) < len(known.inputs) for known in self.active()))
    @rule(data=st.data(), result=results)
    def end_item(self, data: st.DataObject, result: Any) -> None:
        known = data.draw(st.sampled_from([known for known in self.active() if len(known.items) < len(known.inputs)]))
        left = set(range(len(known.inputs))) - {item.item for item in known.items}
        item = data.draw(st.sampled_from(sorted(left)))
        status = "failed" if isinstance(result, FlowResultFailed) else "completed"
        record = ItemRecord(item, status, result, self.now())
        self.store.end_item(known.record.run_id, record)
        known.items.append(record)

    @precondition(lambda self: self.active())
    @rule(data=st.data())
    def end_run(self, data: st.DataObject) -> None:
        known = data.draw(st.sampled_from(self.active()))
        whole = len(known.items) == len(known.inputs)
        status = data.draw(st.sampled_from(["completed", "failed"] if whole else ["cancelled"]))
        now = self.now()
        self.store.end_run(known.record.run_id, status, now)
        known.record = msgspec.structs.replace(known.record, status=status, completed_at=now)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.model)))
        self.synced()
        self.runner.run(self.store.delete(run_id))
        if self.model[run_id].record.completed_at is not None:
            del self.model[run_id]

    @invariant()
    def has_what_was_written(self) -> None:
        self.synced()
        run = self.runner.run
        for run_id, known in self.model.items():
            assert run(self.store.get(run_id)) == known.shown()
            assert list(run(self.store.items(run_id))) == known.items
            assert list(run(self.store.inputs(run_id))) == known.inputs
            assert list(run(self.store.inputs(run_id, first=1, limit=1))) == known.inputs[1:2]
            steps = run(self.store.steps(run_id))
            assert {(step.item, step.step_id): step for step in steps} == known.steps
            assert {step.step_id: step for step in run(self.store.steps(run_id, item=0))} == {
                name: step for (item, name), step in known.steps.items() if item == 0
            }
        assert run(self.store.get("none")) is None

    @rule(
        status=st.sampled_from([None, "running", "completed", "failed"]),
        name=st.sampled_from([None, "a"]),
        depth=st.sampled_from([None, 0, 1]),
        roots=st.booleans(),
        limit=st.integers(1, 5),
        offset=st.integers(0, 2),
        data=st.data(),
    )
    def find(self, data: st.DataObject, **wanted: Any) -> None:
        related = st.sampled_from([None, *self.model])
        root, parent = data.draw(related), data.draw(related)
        query = RunQuery(
            wanted["status"],
            wanted["name"],
            root,
            parent,
            wanted["depth"],
            wanted["roots"],
            wanted["limit"],
            wanted["offset"],
        )
        self.synced()
        fitting = [
            known.shown()
            for known in reversed(self.model.values())
            if query.status in (None, known.record.status)
            and query.flow_name in (None, known.record.flow_name)
            and root in (None, known.record.root_run_id)
            and parent in (None, known.record.parent_run_id)
            and (query.max_depth is None or known.record.depth <= query.max_depth)
            and not (query.roots_only and known.record.depth)
        ]
        found = self.runner.run(self.store.find(query))
        assert list(found) == fitting[query.offset : query.offset + query.limit]

    def teardown(self) -> None:
        self.runner.close()


_NOTHING = StepRecord(0, "", "", None, 0)


class MemoryMachine(_Machine):
    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryRunStore(keep_steps=True)


class SqliteMachine(_Machine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.crashes = 0
        self.open(self.folder / "state.db")

    def open(self, path: Path) -> None:
        self.state = self.runner.run(SqliteState.open(path))
        self.store = self.state.runs

    @rule(crash=st.booleans())
    def restart(self, crash: bool) -> None:
        path = self.state.path
        if crash:
            self.crashes += 1
            self.synced()
            path = crash_image(path, f"crashed-{self.crashes}.db")
        self.runner.run(self.state.close())
        self.open(path)
        self.begin_again()

    def begin_again(self) -> None:
        """As a resumption does: what has not ended is found, and gone on with."""
        run = self.runner.run
        expected = [known for known in self.model.values() if known.record.completed_at is None]
        found: list[RunRecord] = []
        after = None
        while some := run(self.store.unfinished(after=after, limit=2)):
            found += some
            after = some[-1].run_id
        assert [record.run_id for record in found] == [known.record.run_id for known in expected]
        assert [record.variables for record in found] == [known.record.variables for known in expected]
        for known in expected:
            ended = {item.item for item in known.items}
            pending: list[Any] = []
            while more := run(
                self.store.pending(known.record.run_id, after=pending[-1].item if pending else -1, limit=1)
            ):
                pending += more
            assert [item.item for item in pending] == [i for i in range(len(known.inputs)) if i not in ended]
            for item in pending:
                assert item.input == known.inputs[item.item]
                assert {step.step_id: step for step in item.steps} == {
                    name: step for (index, name), step in known.steps.items() if index == item.item
                }

    def teardown(self) -> None:
        self.runner.run(self.state.close())
        super().teardown()
        shutil.rmtree(self.folder)


def test_the_store_in_memory_is_like_the_model() -> None:
    run_state_machine_as_test(MemoryMachine, settings=settings(max_examples=15, stateful_step_count=20, deadline=None))


def test_the_state_file_is_like_the_model() -> None:
    run_state_machine_as_test(SqliteMachine, settings=settings(max_examples=10, stateful_step_count=20, deadline=None))


@pytest.mark.slow
def test_the_state_file_is_like_the_model_for_long() -> None:
    run_state_machine_as_test(SqliteMachine, settings=settings(max_examples=30, stateful_step_count=30, deadline=None))
