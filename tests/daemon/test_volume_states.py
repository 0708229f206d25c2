"""A result gets the newest state of its volume."""

from __future__ import annotations

from care_live.daemon.volume_states import VolumeStates
from care_live.images import StateChanged, VolumeKey
from tests.make.samples import restored


def test_the_last_state_holds_and_other_volumes_keep_theirs() -> None:
    states, one, other = VolumeStates(), restored(0), restored(1)
    assert states.up_to_date(one) is one
    for state in ("confirmed", "suspect"):
        states.note(StateChanged(one.volume.key, state))
    assert states.up_to_date(one).volume.state == "suspect"
    assert states.up_to_date(other) is other


def test_a_result_of_another_channel_follows_its_raw_volume() -> None:
    states, one = VolumeStates(), restored(0)
    states.note(StateChanged(VolumeKey(0, 0, one.volume.key.c), "suspect"))
    assert states.up_to_date(one).volume.state == "suspect"
