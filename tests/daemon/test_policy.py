"""Which volumes are restored next, and what is said of those that are not."""

from care_live.daemon.policy import FromStore, InMemory, Schedule
from care_live.daemon.worklist import Worklist
from care_live.images import Plan, VolumeKey
from care_live.restore.channel_choice import ChannelChoice, ChannelGroup
from tests.make.scripted import volume


def later(schedule, *keys):
    """Put stored volumes on the list."""
    for key in keys:
        schedule.later(key)
        schedule.stored(key)


def live_keys(job):
    assert isinstance(job, InMemory)
    return [v.key for v in job.volumes]


def test_the_newest_volume_takes_the_place_of_the_older_one_which_comes_later():
    schedule = Schedule()
    assert schedule.offer(volume(0)) == []
    (skipped,) = schedule.offer(volume(1))
    assert skipped.volume.key == VolumeKey(0)
    assert live_keys(schedule.next()) == [VolumeKey(1)]
    assert schedule.next() is None  # not on the disk yet
    schedule.stored(VolumeKey(0))
    assert schedule.next() == FromStore((VolumeKey(0),))
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
    schedule = Schedule(channels=ChannelChoice.first(2))
    schedule.offer(volume(0, c=1))
    assert schedule.next() is None
    schedule.offer(volume(0, c=0))
    assert live_keys(schedule.next()) == [VolumeKey(0, 0, 0), VolumeKey(0, 0, 1)]


def test_a_time_point_whose_other_channel_is_missing_is_given_up_by_name():
    schedule = Schedule(channels=ChannelChoice.first(2))
    schedule.offer(volume(0, c=1))
    later(schedule, VolumeKey(7, 0, 0))
    (skipped,), (in_store,) = schedule.give_up_incomplete()
    assert (skipped.volume.key, in_store.key) == (VolumeKey(0, 0, 1), VolumeKey(7, 0, 0))
    assert "channel" in skipped.why
    assert "channel" in in_store.why
    assert (schedule.n_later, schedule.next()) == (0, None)


def test_a_time_point_waits_no_longer_when_its_position_goes_on():
    schedule = Schedule(channels=ChannelChoice.first(2))
    assert schedule.offer(volume(0, p=0, c=0)) == []
    assert schedule.offer(volume(1, p=1, c=0)) == []  # another position says nothing
    (skipped,) = schedule.offer(volume(1, p=0, c=0))
    assert skipped.volume.key == VolumeKey(0, 0, 0)
    assert "time point 1" in skipped.why
    schedule.offer(volume(1, p=0, c=1))
    assert live_keys(schedule.next()) == [VolumeKey(1, 0, 0), VolumeKey(1, 0, 1)]


def test_a_time_point_that_was_given_up_is_restored_later_when_its_other_channel_comes_after_all():
    schedule = Schedule(channels=ChannelChoice.first(2))
    schedule.offer(volume(0, c=0))
    schedule.offer(volume(1, c=0))
    assert len(schedule.offer(volume(0, c=1))) == 1
    assert schedule.next() is None
    for c in range(2):
        schedule.stored(VolumeKey(0, 0, c))
    assert schedule.next() == FromStore((VolumeKey(0, 0, 0), VolumeKey(0, 0, 1)))


def test_what_the_plan_skips_is_known_from_the_first_plane_on():
    planes = tuple(range(4))
    stacks = {VolumeKey(t, 0, c): planes for t in range(4) for c in range(2) if not (t % 2 and c)}
    schedule = Schedule(channels=ChannelChoice.first(2), plan=Plan(stacks, (8, 8)))
    schedule.offer(volume(0, c=0))
    schedule.offer(volume(0, c=1))
    (skipped,) = schedule.offer(volume(1, c=0))
    assert "channel 1 is not planned" in skipped.why
    assert live_keys(schedule.next()) == [VolumeKey(0, 0, 0), VolumeKey(0, 0, 1)]
    assert schedule.n_later == 0


def test_a_channel_that_an_earlier_session_stored_is_no_missing_one():
    schedule = Schedule(channels=ChannelChoice.first(2), plan=Plan({VolumeKey(0, 0, 1): tuple(range(4))}, (8, 8)))
    later(schedule, VolumeKey(0, 0, 0))
    (skipped,) = schedule.offer(volume(0, c=1))
    assert "restored later" in skipped.why
    schedule.stored(VolumeKey(0, 0, 1))
    assert schedule.next() == FromStore((VolumeKey(0, 0, 0), VolumeKey(0, 0, 1)))


def test_a_channel_that_the_network_does_not_read_waits_for_nothing():
    schedule = Schedule(channels=ChannelChoice.first(2))
    schedule.later(VolumeKey(0, 0, 2))
    assert schedule.n_later == 0


def test_channels_go_to_the_network_in_its_order_live_and_later():
    schedule = Schedule(channels=ChannelChoice((ChannelGroup(0, (2, 0)),), None))
    assert schedule.offer(volume(0, c=0)) == []
    assert schedule.offer(volume(0, c=2)) == []
    assert live_keys(schedule.next()) == [VolumeKey(0, 0, 2), VolumeKey(0, 0, 0)]
    later(schedule, VolumeKey(1, 0, 0), VolumeKey(1, 0, 2))
    assert schedule.next() == FromStore((VolumeKey(1, 0, 2), VolumeKey(1, 0, 0)))


def test_what_waits_gives_way_to_raw_volumes_once_it_is_safe():
    schedule = Schedule(channels=ChannelChoice.first(2))
    schedule.offer(volume(0, c=0))
    assert schedule.evict_oldest() == []  # not on the disk yet
    schedule.stored(VolumeKey(0, 0, 0))
    assert [one.volume.key for one in schedule.evict_oldest()] == [VolumeKey(0, 0, 0)]
    single = Schedule()
    single.offer(volume(3))
    single.stored(VolumeKey(3))
    assert [one.volume.key for one in single.evict_oldest()] == [VolumeKey(3)]
    assert single.next() == FromStore((VolumeKey(3),))


def test_the_newer_of_two_time_points_waits_for_the_network_whatever_came_last():
    schedule = Schedule()
    schedule.offer(volume(5))
    (skipped,) = schedule.offer(volume(3))
    assert skipped.volume.key == VolumeKey(3)
    assert live_keys(schedule.next()) == [VolumeKey(5)]


def test_later_volumes_of_two_channels_come_only_together():
    schedule = Schedule(channels=ChannelChoice.first(2))
    later(schedule, VolumeKey(3, 0, 0))
    assert schedule.next() is None
    later(schedule, VolumeKey(3, 0, 1))
    assert schedule.next() == FromStore((VolumeKey(3, 0, 0), VolumeKey(3, 0, 1)))


def test_every_nth_skips_for_good_and_defer_restores_all_later():
    schedule = Schedule("every-nth", nth=2)
    assert [one.volume.key.t for t in range(4) for one in schedule.offer(volume(t))] == [1, 0, 3]
    schedule = Schedule("defer")
    assert len(schedule.offer(volume(0))) == 1
    schedule.stored(VolumeKey(0))
    assert schedule.next(live_only=True) is None
    assert schedule.next() == FromStore((VolumeKey(0),))


def test_volumes_that_are_tried_again_together_are_given_up_or_restored_together():
    worklist = Worklist(Schedule(channels=ChannelChoice.first(2)))
    keys = (VolumeKey(3, 0, 0), VolumeKey(3, 0, 1))
    for key in keys:
        worklist.stored(key)
    worklist.later(*keys)
    assert worklist.intake_over() == ([], [])
    turn = worklist.next()
    assert turn is not None and turn.job == FromStore(keys)
    worklist.finished(turn)
    assert worklist.next() is None
