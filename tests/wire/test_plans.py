"""A plan on the wire: what goes in comes out, and a few bytes never become gigabytes."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from care_live.errors import ConfigError, ProtocolError
from care_live.images import Plan, VolumeKey
from care_live.wire import cl1, plans
from care_live.wire.messages import Start
from care_live.wire.plans import StackGroup, Stacks
from tests.make import samples

KEYS = st.builds(VolumeKey, st.integers(0, 40), st.integers(0, 2), st.integers(0, 2))
PLANES = st.sampled_from([(0,), (0, 1, 2), (3, 5)])


@drawn(st.dictionaries(KEYS, PLANES, max_size=60), st.booleans())
def test_a_plan_comes_back_as_it_was(stacks: dict[VolumeKey, tuple[int, ...]], endless: bool) -> None:
    plan = Plan(stacks, (16, 24), "uint8", (2.0, 0.5, 0.5), ("a", "b", "c"), ("p", "q", "r"), 1.5, endless)
    assert plans.plan_of(plans.plan_header(plan)) == plan


def test_a_plan_of_10_000_volumes_is_said_in_few_words() -> None:
    header = plans.plan_header(samples.started(10_000, n_channels=2).plan)
    assert len(header.stacks) == 2 and len(msgspec.json.encode(header)) < 1000


@pytest.mark.parametrize("t", [((0, 2**52),), ((5, 3),), ((0, 999_999), (0, 5))])
def test_a_few_bytes_do_not_become_a_plan_of_gigabytes(t: tuple[tuple[int, int], ...]) -> None:
    header = msgspec.structs.replace(
        plans.plan_header(samples.started(1).plan), stacks=(Stacks(p=0, c=0, z=(0,), t=t),)
    )
    said = Start(run="r", session="0" * 16, model=None, seq=0, plan=header)
    decoded, _ = cl1.decode(cl1.encode(said))
    with pytest.raises(ProtocolError, match="at most 1000000 are taken"):
        plans.plan_of(decoded.plan)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "plan",
    [
        Plan({VolumeKey(t): (0,) for t in range(1_000_001)}, (6, 7)),
        Plan({VolumeKey(0): tuple(range(65_537))}, (6, 7)),
        Plan({}, (6, 7), positions=("p",) * 65_537),
        Plan({}, (6, 7), channels=("c",) * 1025),
    ],
    ids=["volumes", "planes", "positions", "channels"],
)
def test_a_plan_that_no_message_takes_is_refused_before_the_first_exposure(plan: Plan) -> None:
    with pytest.raises(ConfigError, match="plan a shorter one"):
        plans.check(plan)
    with pytest.raises(ProtocolError, match="are taken"):
        plans.plan_of(plans.plan_header(plan))


@pytest.mark.parametrize("z", [[(0, 65_536)], [(0, 2**52)]])
def test_planes_of_a_group_are_counted_before_they_are_made(z: list[tuple[int, int]]) -> None:
    group = StackGroup(p=((0, 0),), c=((0, 0),), z=tuple(z), t=((0, 0),))
    header = msgspec.structs.replace(plans.plan_header(samples.started(1).plan), stacks=(), groups=(group,))
    with pytest.raises(ProtocolError, match="at most 65536 are taken"):
        plans.plan_of(header)
