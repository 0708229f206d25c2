"""What a run counts."""

import pytest

from care_live.daemon.run_metrics import Tally
from care_live.images import NotRestored, StateChanged, VolumeKey
from care_live.verdict import Trust
from tests.make.records import restored
from tests.make.scripted import volume


def test_lost_skipped_and_suspect_are_counted_apart():
    tally = Tally(clock_ns=lambda: 50_000_000)
    tally.volume(volume(0))
    tally.not_restored(NotRestored(VolumeKey(0), "skipped", "newer"))
    tally.not_restored(NotRestored(VolumeKey(1), "failed", "killed"))
    for _ in range(2):
        tally.state(StateChanged(VolumeKey(0), "suspect"))
    tally.restored(restored(volume(2, last_plane_ns=20_000_000)))
    tally.restored(restored(volume(3), flags=frozenset({"late"})))
    status = tally.status()
    assert (status.volumes, status.skipped, status.failed, status.suspect) == (1, 1, 1, 1)
    assert (status.restored, status.restored_late) == (2, 1)
    assert status.age_ms_p50 == 30.0  # the late one has no age worth showing


def test_flicker_is_of_the_last_two_volumes_of_any_place() -> None:
    tally = Tally()
    for of, low, high in (
        (volume(0), 0, 100),
        (volume(0, p=1), 50, 150),
        (volume(1), 0, 100),
        (volume(1, p=1), 50, 150),
    ):
        tally.restored(restored(of, low=low, high=high))
    assert tally.status().flicker == 0.0
    tally.restored(restored(volume(2, p=1), low=50, high=250))
    assert tally.status().flicker == pytest.approx(0.5)
    tally.restored(restored(volume(3, p=1), low=50, high=250))
    assert tally.status().flicker == 0.0


def test_acquisitions_that_were_missed_stay_among_the_warnings() -> None:
    tally = Tally()
    tally.begin("evening-2", missed=["mda_2"])
    tally.begin("evening-3")
    assert tally.status().warnings == ("acquisition mda_2 was missed, it is not restored",)


def test_of_many_missed_acquisitions_the_last_ones_are_named() -> None:
    tally = Tally()
    for n in range(500):
        tally.begin(f"evening-{n}", missed=[f"mda_{n}"])
    *named, rest = tally.status().warnings
    assert len(named) < 50
    assert "mda_499" in named[-1]
    assert rest == f"{500 - len(named)} acquisitions before these were missed, too"


def test_of_several_channels_the_worst_light_is_shown_with_its_channel() -> None:
    tally = Tally()
    tally.restored(restored(volume(0), trust=Trust("green")), "DAPI")
    assert tally.status().trust == "green"
    tally.restored(restored(volume(0), trust=Trust("red", ("invented",))), "FITC")
    tally.restored(restored(volume(1), trust=Trust("green")), "DAPI")
    assert tally.status().trust == "FITC: red: invented"
    tally.restored(restored(volume(1), trust=Trust("green")), "FITC")
    assert tally.status().trust.endswith(": green")
    tally.begin("next")
    tally.restored(restored(volume(0), trust=Trust("amber", ("dim",))), "FITC")
    assert tally.status().trust == "amber: dim"
