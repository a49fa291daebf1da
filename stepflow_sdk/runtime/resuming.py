"""Finishes the runs that the end of another process interrupted."""

import logging
from collections.abc import AsyncIterator, Callable, Collection
from typing import Final

import anyio
from msgspec import Struct

from stepflow_sdk.errors import NotFound, StepflowError
from stepflow_sdk.runtime.engine import Engine
from stepflow_sdk.runtime.runs import RunRecord

__all__ = ["ResumedRun", "resume_runs"]

_log = logging.getLogger("stepflow_sdk.runtime")

_AT_ONCE: Final = 100
_CHUNK: Final = 100


class ResumedRun(Struct, frozen=True):
    """A run that was resumed.

    Attributes:
        run_id: Its id.
        flow_name: The name of its flow.
        status: ``completed`` or ``failed``; ``cancelled`` for one that a step of another run had started and waited
            for, since the step starts it again; ``running`` for one that could not be resumed.
        error: Why it could not.
    """

    run_id: str
    flow_name: str | None
    status: str
    error: str | None = None


async def resume_runs(
    engine: Engine,
    run_ids: Collection[str] | None = None,
    on_end: Callable[[ResumedRun], None] | None = None,
) -> list[ResumedRun]:
    """Finish runs that have not ended, a hundred at a time and the oldest first.

    Steps whose ends are stored do not run again. Those that were under way do, as a further attempt: they may have
    done their work, but nobody knows.

    Args:
        engine: Runs them.
        run_ids: Only these; those that have ended are passed over.
        on_end: Told of each run when it has ended.

    Returns:
        The runs in the order in which they ended. One that cannot be resumed does not hold up the others.

    Raises:
        NotFound: One of ``run_ids`` is not known.
    """
    for run_id in run_ids or ():
        if await engine.runs.get(run_id) is None:
            raise NotFound(f"there is no run with the id {run_id[:80]!r}", data={"kind": "run", "id": run_id})
    ended: list[ResumedRun] = []
    room = anyio.Semaphore(_AT_ONCE)

    async def resume(record: RunRecord) -> None:
        try:
            run = ResumedRun(record.run_id, record.flow_name, await engine.resume(record))
        except StepflowError as error:
            run = ResumedRun(record.run_id, record.flow_name, "running", str(error))
        except Exception as error:
            _log.exception("the run %s cannot be resumed", record.run_id)
            run = ResumedRun(record.run_id, record.flow_name, "running", f"{type(error).__name__}: {error}")
        finally:
            room.release()
        ended.append(run)
        if on_end is not None:
            on_end(run)

    with engine.resuming():
        async with anyio.create_task_group() as tasks:
            async for record in _interrupted(engine, run_ids):
                await room.acquire()
                if await _is_left(engine, record.run_id):
                    tasks.start_soon(resume, record)
                else:
                    room.release()
    return ended


async def _is_left(engine: Engine, run_id: str) -> bool:
    """Whether a run has not ended and nobody is at it.

    Since it was read, a run of this process may have ended, or been cancelled: what is stored is looked at when it is
    sure that nobody is at it. Nothing may come between the last look and its start.
    """
    if engine.is_active(run_id):
        return False
    stored = await engine.runs.get(run_id)
    return stored is not None and stored.status == "running" and not engine.is_active(run_id)


async def _interrupted(engine: Engine, run_ids: Collection[str] | None) -> AsyncIterator[RunRecord]:
    after: str | None = None
    while found := await engine.runs.unfinished(after=after, limit=_CHUNK):
        after = found[-1].run_id
        for record in found:
            if run_ids is None or record.run_id in run_ids:
                yield record
