"""Ids of requests of ours."""

import itertools
import os
import uuid

import pytest

from stepflow_sdk.protocol.ids import ids_in_sequence, unguessable_id


def test_ids_are_uuids_of_version_4_and_all_different() -> None:
    ids = [unguessable_id() for _ in range(1000)] + list(itertools.islice(ids_in_sequence(), 1000))
    assert len(set(ids)) == 2000
    assert {uuid.UUID(id).version for id in ids} == {4}
    assert all(str(uuid.UUID(id)) == id for id in ids)


def test_one_unguessable_id_says_nothing_of_the_next() -> None:
    ids = [unguessable_id() for _ in range(500)]
    assert len({id[:8] for id in ids}) == 500
    assert len({id[-12:] for id in ids}) == 500


def test_two_sequences_have_nothing_in_common() -> None:
    assert next(ids_in_sequence())[:23] != next(ids_in_sequence())[:23]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_draws_ids_of_its_own() -> None:
    unguessable_id()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, "\n".join(unguessable_id() for _ in range(64)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        theirs = set(pipe.read(100_000).decode().split("\n"))
    os.close(writing)
    assert len(theirs) == 64
    assert not theirs & {unguessable_id() for _ in range(64)}
