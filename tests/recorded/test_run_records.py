"""What the journal says of a run comes back as it was, also from lines of older versions."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from care_live.errors import StoreError
from care_live.images import Plan, RunStarted, VolumeKey
from care_live.recorded.run_records import RunBegan, StateNoted, from_json, to_json
from tests.make.stored import make_plan

KEYS = st.builds(VolumeKey, st.integers(0, 40), st.integers(0, 2), st.integers(0, 2))
PLANES = st.sampled_from([(0,), (0, 1, 2), (3, 5)])
PAST = {"stacks": [[[0, 1], [[0, 0, 0], [1, 0, 0]]], [[4], [[2, 0, 1]]]], "groups": []}
"""A plan as 0.1 wrote it."""


def began(plan: Plan) -> RunBegan:
    return RunBegan.of(RunStarted("worm-7", plan, {"objective": "40x"}), care_live="0.1", at_us=1)


@given(st.dictionaries(KEYS, PLANES, max_size=60), st.booleans())
def test_a_plan_comes_back_as_it_was(stacks: dict[VolumeKey, tuple[int, ...]], endless: bool) -> None:
    plan = Plan(stacks, (16, 24), "uint8", (2.0, 0.5, 0.5), ("a" * 300, "b"), ("p",), 1.5, endless)
    record = from_json(to_json(began(plan)))
    assert isinstance(record, RunBegan) and record.plan() == plan


def test_a_long_run_has_a_short_plan() -> None:
    plan = make_plan(n_t=10_000, n_p=2, n_c=2)
    assert len(to_json(began(plan))) < 1000


def test_a_plan_of_an_older_version_is_read() -> None:
    record = from_json(json.dumps(json.loads(to_json(began(make_plan()))) | PAST).encode())
    assert isinstance(record, RunBegan)
    assert record.plan().stacks == {VolumeKey(0): (0, 1), VolumeKey(1): (0, 1), VolumeKey(2, 0, 1): (4,)}


def test_numbers_of_numpy_are_written_and_fields_of_a_later_version_are_left_out() -> None:
    key = VolumeKey(*np.arange(3))
    text = to_json(StateNoted(key=key, state="suspect", detail="lost a frame"))
    later = json.loads(text) | {"since": 3}
    assert from_json(json.dumps(later).encode()) == from_json(text)
    assert json.loads(text) == {"kind": "state", "key": [0, 1, 2], "state": "suspect", "detail": "lost a frame"}


@pytest.mark.parametrize("state", ["lost", 3])
def test_what_cannot_be_read_back_is_not_written(state: object) -> None:
    with pytest.raises(StoreError, match="state"):
        to_json(StateNoted(key=VolumeKey(0), state=state, detail=""))  # type: ignore[arg-type]
