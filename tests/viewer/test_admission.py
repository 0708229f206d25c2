"""Whether a volume that a publisher sent can belong to the run that is recorded."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from care_live.images import Plan, VolumeKey
from care_live.publish import delivery
from care_live.publish.delivery import Delivery
from care_live.viewer.admission import MAX_TIME_POINT, ExpectedShapes, merged
from care_live.wire import cl1
from tests.make import messages

SENT, BUFFERS = messages.volume()
STACKS = {VolumeKey(SENT.key[0], SENT.key[1], SENT.c_in): tuple(SENT.expected)}


def came(**changes: Any) -> Delivery:
    message = msgspec.structs.replace(SENT, **changes)
    return delivery.of_volume(message, cl1.decode(cl1.encode(message, BUFFERS))[1], 0.0, 0)


@pytest.fixture
def expected() -> ExpectedShapes:
    _, rows, columns = messages.RAW.shape
    return ExpectedShapes.of(str(SENT.run), Plan(STACKS, (rows, columns), dtype=messages.RAW.dtype.name))


def test_what_the_plan_says_is_taken(expected: ExpectedShapes) -> None:
    assert expected.misfit(came()) == ""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"run": "another"}, "it is of run another"),
        ({"key": (MAX_TIME_POINT + 1, 0, 0)}, "positions"),
        ({"key": (SENT.key[0], 9, SENT.key[2])}, "positions"),
        ({"c_in": 40}, "channels"),
        ({"sources": (VolumeKey(SENT.key[0] + 1, SENT.key[1], 0),)}, "other time points"),
        ({"model": None}, "no network"),
    ],
)
def test_what_cannot_be_of_the_run_says_why(expected: ExpectedShapes, changes: dict[str, Any], why: str) -> None:
    assert why in expected.misfit(came(**changes))


def test_planes_of_another_size_are_refused(expected: ExpectedShapes) -> None:
    other = ExpectedShapes.of(expected.run_id, Plan(STACKS, (64, 64)))
    assert "its raw planes are" in other.misfit(came())


def test_without_raw_planes_it_is_refused(expected: ExpectedShapes) -> None:
    whole = came()
    assert whole.volume is not None
    unsent = msgspec.structs.replace(whole.volume, pixels=np.empty((0, 0, 0), np.uint16))
    bare = Delivery(whole.restored, unsent, whole.seq, 0.0, 0, whole.sent)
    assert expected.misfit(bare) == "it came without its raw planes"


def test_a_resumed_run_has_the_volumes_of_both_plans() -> None:
    first = Plan({VolumeKey(0): (0, 1)}, (4, 4), endless=True)
    both = merged(first, Plan({VolumeKey(1): (0, 1)}, (4, 4)))
    assert (set(both.stacks), both.endless) == ({VolumeKey(0), VolumeKey(1)}, True)
