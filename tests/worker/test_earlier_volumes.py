"""Raw volumes of earlier time points: kept within a limit, found while they are in memory, else on the disk."""

from __future__ import annotations

import gc

from care_live.images import Volume, VolumeKey
from care_live.worker.earlier_volumes import EarlierVolumes
from tests.make import records
from tests.make.networks import noisy


def at(t: int, p: int = 0) -> Volume:
    return records.volume(noisy((3, 8, 8), seed=t), VolumeKey(t, p))


def test_only_as_many_as_are_read_are_kept_of_each_position() -> None:
    earlier = EarlierVolumes()
    for t in range(6):
        for p in (0, 1):
            earlier.keep(at(t, p), 2)
    gc.collect()
    assert earlier.n_bytes == 4 * at(0).pixels.nbytes
    assert set(earlier.before([VolumeKey(6, 1)], 5)) == {VolumeKey(5, 1), VolumeKey(4, 1)}


def test_positions_and_channels_do_not_mix() -> None:
    earlier = EarlierVolumes()
    for p in (0, 1):
        earlier.keep(at(0, p), 1)
    found = earlier.before([VolumeKey(1, 1, 0), VolumeKey(1, 1, 1)], 1)
    assert list(found) == [VolumeKey(0, 1, 0)]


def test_the_limit_holds_and_what_is_over_it_comes_from_the_disk() -> None:
    earlier, disk = EarlierVolumes(), {VolumeKey(0, p): at(0, p) for p in range(10)}
    earlier.begin_run(3 * at(0).pixels.nbytes)
    for p in range(10):
        earlier.keep(at(0, p), 2)
    gc.collect()
    assert earlier.n_bytes == 3 * at(0).pixels.nbytes
    assert earlier.before([VolumeKey(1, 0)], 2) == {}
    assert earlier.before([VolumeKey(1, 0)], 2, disk.get) == {VolumeKey(0, 0): disk[VolumeKey(0, 0)]}
    earlier.begin_run(at(0).pixels.nbytes - 1)  # not even one fits
    earlier.keep(at(0), 1)
    gc.collect()
    assert (earlier.n_bytes, earlier.before([VolumeKey(1)], 1)) == (0, {})


def test_what_waits_for_the_disk_is_found_though_it_is_not_kept() -> None:
    earlier, waits = EarlierVolumes(), at(0)
    earlier.begin_run(0)
    earlier.keep(waits, 1)
    assert earlier.before([VolumeKey(1)], 1)[VolumeKey(0)] is waits


def test_a_network_of_the_present_alone_keeps_nothing() -> None:
    earlier = EarlierVolumes()
    earlier.keep(at(0), 0)
    gc.collect()
    assert earlier.n_bytes == 0
    assert earlier.before([VolumeKey(1)], 1) == {}


def test_a_network_that_takes_over_finds_what_still_waits_for_the_disk() -> None:
    earlier, waits = EarlierVolumes(), at(0)
    earlier.keep(waits, 0)
    assert earlier.n_bytes == 0
    assert earlier.before([VolumeKey(1)], 1)[VolumeKey(0)] is waits


def test_a_volume_that_comes_once_more_is_counted_once() -> None:
    earlier, again = EarlierVolumes(), at(0)
    earlier.begin_run(again.pixels.nbytes)
    earlier.keep(at(0), 1)
    earlier.keep(again, 1)
    assert earlier.n_bytes == again.pixels.nbytes
    assert earlier.before([VolumeKey(1)], 1)[VolumeKey(0)] is again
    earlier.keep(again, 0)  # by now a network restores it that reads no past
    assert earlier.n_bytes == 0


def test_another_run_sees_nothing_of_the_one_before() -> None:
    earlier, last = EarlierVolumes(), at(0)
    earlier.keep(last, 1)
    earlier.begin_run(2**20)
    assert earlier.before([VolumeKey(1)], 1) == {}
