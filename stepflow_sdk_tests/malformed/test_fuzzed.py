"""The targets of the fuzzer of `scripts/soak` on what it begins with, on changes of that, and on what it has found."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepflow_sdk_tests.malformed.mutations import PIECES
from stepflow_sdk_tests.soak.fuzzing.target import Wrong
from stepflow_sdk_tests.soak.fuzzing.targets import TARGETS

FOUND: dict[str, list[bytes]] = {
    # A document of 0.7 that refers to a step that it does not have.
    "upgrades": [b"schema: https://stepflow.org/schemas/v1/flow.json\nsteps: []\noutput: {$from: {step: b}}\n"],
}
"""Inputs that a target did not survive once."""


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_what_it_begins_with_and_what_was_found(name: str) -> None:
    for data in (b"", *TARGETS[name].seeds, *FOUND.get(name, ())):
        TARGETS[name].check(data)


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_target_takes_changed_inputs(name: str, data: st.DataObject) -> None:
    target = TARGETS[name]
    seed = data.draw(st.sampled_from(target.seeds))
    at = data.draw(st.integers(0, len(seed)))
    piece = data.draw(st.binary(max_size=6) | st.sampled_from([piece.encode() for piece in PIECES]))
    target.check(seed[:at] + piece + seed[at + data.draw(st.integers(0, 6)) :])


def test_a_target_notices_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepflow_sdk_tests.soak.fuzzing.documents.parse_path", lambda text: (text,))
    with pytest.raises(Wrong):
        TARGETS["paths"].check(b"$.a")
