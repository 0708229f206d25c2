"""Which volumes a recorder should have, by the plan and by what was said."""

from __future__ import annotations

from care_live.images import Plan, VolumeKey
from care_live.viewer.announced import AnnouncedVolumes


def test_a_resumed_run_that_announces_its_rest_is_asked_for_from_its_beginning() -> None:
    rest = AnnouncedVolumes(Plan({VolumeKey(t, 0, c): (0,) for t in (3, 4) for c in (0, 1)}, (8, 8)), 1, 2)
    have = {VolumeKey(1, 0, 0), VolumeKey(3, 0, 1)}
    every = {VolumeKey(t, 0, c) for t in range(4) for c in (0, 1)}
    assert rest.begin == 3
    assert set(rest.earlier(4, have)) == every - have
    assert set(rest.following(have)) == {VolumeKey(3, 0, 0), VolumeKey(4, 0, 1)}
    assert rest.after(VolumeKey(4, 0, 1)) is None
    assert set(AnnouncedVolumes(Plan({}, (8, 8)), 1, 2).following(set())) == {VolumeKey(0, 0, 0), VolumeKey(0, 0, 1)}


def test_only_what_must_exist_is_due() -> None:
    plan = Plan({VolumeKey(t): (0,) for t in range(5)}, (8, 8))
    announced = AnnouncedVolumes(plan, 1, 1)
    newest = {(0, 0): 2}
    assert announced.is_due(VolumeKey(1), newest) and not announced.is_due(VolumeKey(3), newest)
    assert not announced.is_due(VolumeKey(1, 0, 1), newest)
    announced.named.add(VolumeKey(3))
    assert announced.is_due(VolumeKey(3), newest)
