"""Which volumes are restored next, and what is said of those that are not."""

from care_live.daemon.schedule import Later, Live, Schedule
from care_live.images import VolumeKey
from tests.daemon.volumes import volume


def later(schedule, *keys):
    """Put stored volumes on the list."""
    for key in keys:
        schedule.later(key)
        schedule.stored(key)


def live_keys(job):
    assert isinstance(job, Live)
    return [v.key for v in job.volumes]


def test_the_newest_volume_takes_the_place_of_the_older_one_which_comes_later():
    schedule = Schedule()
    assert schedule.offer(volume(0)) == []
    (skipped,) = schedule.offer(volume(1))
    assert skipped.volume.key == VolumeKey(0)
    assert live_keys(schedule.next()) == [VolumeKey(1)]
    assert schedule.next() is None  # not on the disk yet
    schedule.stored(VolumeKey(0))
    assert schedule.next() == Later((VolumeKey(0),))
    assert schedule.next() is None


def test_every_position_and_channel_keeps_its_own_newest_volume():
    schedule = Schedule()
    for t in range(3):
        for p in range(2):
            for c in range(2):
                schedule.offer(volume(t, p, c))
    newest = [live_keys(schedule.next(live_only=True))[0] for _ in range(4)]
    assert newest == [VolumeKey(2, p, c) for p in range(2) for c in range(2)]
    assert schedule.next(live_only=True) is None
    assert schedule.n_later == 8


def test_a_network_with_two_input_channels_gets_both_of_one_time_point():
    schedule = Schedule(channels_in=2)
    schedule.offer(volume(0, c=1))
    assert schedule.next() is None
    schedule.offer(volume(0, c=0))
    assert live_keys(schedule.next()) == [VolumeKey(0, 0, 0), VolumeKey(0, 0, 1)]


def test_a_time_point_whose_other_channel_is_missing_is_given_up_by_name():
    schedule = Schedule(channels_in=2)
    schedule.offer(volume(0, c=1))
    (skipped,) = schedule.forget_incomplete()
    assert skipped.volume.key == VolumeKey(0, 0, 1)
    assert "channels" in skipped.why


def test_later_volumes_of_two_channels_come_only_together():
    schedule = Schedule(channels_in=2)
    later(schedule, VolumeKey(3, 0, 0))
    assert schedule.next() is None
    later(schedule, VolumeKey(3, 0, 1))
    assert schedule.next() == Later((VolumeKey(3, 0, 0), VolumeKey(3, 0, 1)))


def test_every_nth_skips_for_good_and_defer_restores_all_later():
    schedule = Schedule("every-nth", nth=2)
    assert [one.volume.key.t for t in range(4) for one in schedule.offer(volume(t))] == [1, 0, 3]
    schedule = Schedule("defer")
    assert len(schedule.offer(volume(0))) == 1
    schedule.stored(VolumeKey(0))
    assert schedule.next(live_only=True) is None
    assert schedule.next() == Later((VolumeKey(0),))
