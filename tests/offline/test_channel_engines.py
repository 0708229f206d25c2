"""Several open networks as one engine: which volumes each of them takes, and what it has learned."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from care_live.config import ChannelConfig, RestoreConfig
from care_live.errors import RestoreError
from care_live.images import NetworkInUse, Volume, VolumeKey
from care_live.offline.channel_engines import (
    ChannelEngines,
    card_of,
    inputs,
    most_past,
    networks_of,
    with_past,
)
from care_live.restore.channel_choice import ChannelChoice, ChannelGroup
from care_live.restore.engine import Engine
from care_live.restore.network_set import NetworkSet
from tests.make.networks import noisy, save_network, volume

BRIGHTFIELD, NUCLEI, MEMBRANE, VESSELS = range(4)
CHOICE = ChannelChoice((ChannelGroup(0, (NUCLEI, MEMBRANE), (4,)), ChannelGroup(1, (VESSELS,))), None)
"""Two channels give three, one is read with an earlier time point, one passes through."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RestoreConfig:
    folder = tmp_path_factory.mktemp("networks")
    joint = save_network(folder / "joint.onnx", filters=2, seed=3, c_in=2, c_out=3)
    single = save_network(folder / "single.onnx", filters=2, seed=2, past=1)
    entries = (ChannelConfig(name=("Nuclei", "Membrane"), model=joint), ChannelConfig(name="Vessels", model=single))
    return RestoreConfig(channel=entries, provider="cpu", threads=1)


@pytest.fixture
def engines(config: RestoreConfig) -> ChannelEngines:
    return ChannelEngines(NetworkSet(config), CHOICE)


def time_point(t: int = 0) -> list[Volume]:
    return [volume(noisy((4, 16, 18), seed=9 * t + c), t=t, c=c) for c in range(4)]


def keys_of(groups: list[tuple[Volume, ...]]) -> list[list[int]]:
    return [[one.key.c for one in group] for group in groups]


def test_each_group_is_what_one_network_reads_and_a_lacking_channel_is_said(engines: ChannelEngines) -> None:
    volumes = time_point()
    assert keys_of(engines.inputs(volumes)) == [[BRIGHTFIELD], [NUCLEI, MEMBRANE], [VESSELS]]
    assert keys_of(inputs(volumes, engines)) == keys_of(engines.inputs(volumes))
    with pytest.raises(RestoreError, match=f"time point 0 has no channel {MEMBRANE}, which a network reads with"):
        engines.inputs([one for one in volumes if one.key.c != MEMBRANE])


def test_each_group_gives_what_its_network_alone_gives(engines: ChannelEngines, config: RestoreConfig) -> None:
    (through,), joint, (vessels,) = engines.inputs(time_point())
    assert engines.restore([through]) == ()
    made = engines.restore(joint)
    assert [one.key.c for one in made] == [NUCLEI, MEMBRANE, 4]
    assert {one.model for one in made} == {engines.engines[0].identity}
    both = with_past([vessels], engines, {})
    (alone,) = Engine(config.networks[1].model, config.only(1)).restore(both)
    (ours,) = engines.restore(both)
    assert ours.key.c == VESSELS
    np.testing.assert_array_equal(ours.mean, alone.mean)
    assert card_of(engines, ours.model).past == 1 and card_of(engines, made[0].model).channels_out[-1] == "out2"


def test_only_a_network_that_reads_earlier_time_points_gets_them(engines: ChannelEngines) -> None:
    before, now = time_point(0), time_point(1)
    earlier = {one.key: one for one in before}
    assert [engines.n_past(one.key) for one in now] == [0, 0, 0, 1] and most_past(engines) == 1
    assert with_past([now[VESSELS]], engines, earlier) == (now[VESSELS], before[VESSELS])
    assert with_past(now[NUCLEI : MEMBRANE + 1], engines, earlier) == tuple(now[NUCLEI : MEMBRANE + 1])
    assert with_past([now[BRIGHTFIELD]], engines, earlier) == (now[BRIGHTFIELD],)


def test_ranges_are_learned_and_forgotten_by_the_network_of_their_channel(engines: ChannelEngines) -> None:
    volumes, keys = time_point(), [VolumeKey(0, 0, VESSELS)]
    assert engines.has_measured([VolumeKey(0, 0, BRIGHTFIELD)]), "what passes through has no range to wait for"
    assert not engines.has_measured(keys)
    engines.learn([volumes[BRIGHTFIELD]])
    assert engines.memories == {}
    engines.learn([volumes[VESSELS]])
    assert set(engines.memories) == {(0, VESSELS)} and engines.has_measured(keys)
    assert [len(one.memories) for one in engines.engines] == [0, 1]
    learned = dict(engines.memories)
    for t in range(1, 9):
        engines.learn([replace(volumes[VESSELS], key=VolumeKey(t, 0, VESSELS))])
    assert engines.knows_range(keys) and not engines.knows_range([VolumeKey(0, 0, NUCLEI)])
    engines.forget_ranges(0)
    assert not engines.has_measured(keys)
    engines.memories = learned
    assert engines.memories == learned


def test_a_run_says_which_channels_each_network_makes(engines: ChannelEngines, config: RestoreConfig) -> None:
    joint, single = engines.engines
    made = {one.identity: one.channels for one in networks_of(engines)}
    assert made == {joint.identity: (NUCLEI, MEMBRANE, 4), single.identity: (VESSELS,)}
    assert networks_of(single) == (NetworkInUse(single.identity, single.card.model_dump(mode="json")),)
    vessels = config.channel[1]
    same = config.model_copy(update={"channel": (vessels, ChannelConfig(name="Other", model=vessels.model))})
    twice = ChannelChoice((ChannelGroup(0, (VESSELS,)), ChannelGroup(1, (BRIGHTFIELD,))), None)
    (once,) = networks_of(ChannelEngines(NetworkSet(same), twice))
    assert once.channels == (BRIGHTFIELD, VESSELS), "one file stands there once"


def test_one_network_takes_each_channel_alone_or_all_that_it_knows(engines: ChannelEngines) -> None:
    joint, single = engines.engines
    volumes = time_point()
    assert keys_of(inputs(volumes, single)) == [[0], [1], [2], [3]]
    assert keys_of(inputs(volumes[:2], joint)) == [[0, 1]]
    with pytest.raises(RestoreError, match=r"network joint takes 2 channels \(in0, in1\) but time point 0 has 4"):
        inputs(volumes, joint)
    assert (most_past(joint), most_past(single)) == (0, 1)
    assert card_of(single, single.identity) is single.card
