"""A run goes on only with the acquisition that it began with."""

from __future__ import annotations

from contextlib import closing, nullcontext

import pytest

from care_live.config import StoreConfig
from care_live.errors import StoreError
from care_live.images import Plan, RunStarted, VolumeKey
from care_live.store import check_same_plan, open_run
from tests.make.stored import make_plan, make_volume

TIFF = {"format": "TIFF", "path": "/data/worm.tif", "axes": "TZYX"}
ENGINE = {"engine": "pycromanager", "source": "virtual"}


def go_on(folder, plan: Plan, before: dict[str, object], now: dict[str, object]) -> None:
    for summary, comes in ((before, make_plan(n_t=3)), (now, plan)):
        writer = open_run(StoreConfig(directory=folder), RunStarted("run", comes, summary))
        if not writer.raw_keys():
            writer.write_raw(make_volume())
        writer.close()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"voxel_size_um": (1.0, 0.5, 0.5)}, r"voxel_size_um \(2.0, 0.5, 0.5\), now \(1.0, 0.5, 0.5\)"),
        ({"interval_s": 20.0}, "interval_s 10.0, now 20.0"),
        ({"dtype": "uint8"}, "dtype uint16, now uint8"),
        ({"channels": ("GFP",)}, "channels"),
        ({"positions": ("here",)}, "positions"),
        ({"shape": (4, 20, 24)}, r"planes of volume \(0, 0, 0\) 3 \(z 0 to 2\), now 4 \(z 0 to 3\)"),
        ({"stacks": {VolumeKey(7): (0, 1)}}, r"planes of volume \(7, 0, 0\) 3 .*, now 2"),
        ({"stacks": {VolumeKey(0): (1, 2, 3)}}, r"z 1 to 3"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_another_plan_is_refused(tmp_path, changes, said):
    with pytest.raises(StoreError, match=f"was begun with .*{said}.* comes; use another run_id"):
        go_on(tmp_path, make_plan(**changes), ENGINE, ENGINE)


@pytest.mark.parametrize(
    "stacks",
    [{}, {VolumeKey(2): (0, 1, 2)}, {VolumeKey(t): (0, 1, 2) for t in range(9)}],
    ids=["unknown", "the rest", "more time points"],
)
def test_what_is_left_of_the_plan_and_more_of_the_same_are_welcome(tmp_path, stacks):
    go_on(tmp_path, make_plan(stacks=stacks), ENGINE, ENGINE)


def test_names_that_a_long_plan_left_out_may_be_any(tmp_path):
    go_on(tmp_path, make_plan(channels=(), positions=()), ENGINE, ENGINE)


def test_volumes_of_a_place_that_differ_by_plan_may_go_on():
    planes = {VolumeKey(0): (0, 1, 2), VolumeKey(1): (1,)}
    check_same_plan(make_plan(stacks=planes), make_plan(stacks={VolumeKey(1): (1,), VolumeKey(5): (0, 1, 2)}), "run")


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (TIFF, TIFF | {"path": "/data/fly.tif"}, "source's path /data/worm.tif, now /data/fly.tif"),
        (TIFF, TIFF | {"path": "/other/worm.tif"}, "source's path"),
        (TIFF, TIFF | {"axes": "ZTYX"}, "source's axes TZYX, now ZTYX"),
        (TIFF, ENGINE, "source's format TIFF, now None"),
        (ENGINE, {"engine": "pymmcore-plus"}, "source's engine pycromanager, now pymmcore-plus"),
        (ENGINE, ENGINE | {"source": "micromanager"}, "source's source virtual, now micromanager"),
    ],
)
def test_another_source_is_refused(tmp_path, before, now, said):
    with pytest.raises(StoreError, match=said):
        go_on(tmp_path, make_plan(), before, now)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (TIFF, TIFF),
        (TIFF | {"path": "worm.tif"}, TIFF),
        (ENGINE, ENGINE | {"version": 2}),
        ({"microscope": "a"}, {"microscope": "b", "started": "today"}),
        (ENGINE, {}),
        ({"format": "NDTiff", "path": "d", "sizes": (1, 2)}, {"format": "NDTiff", "path": "d", "sizes": [1, 2]}),
    ],
    ids=["same", "other folder", "says more", "says nothing of its kind", "left out", "as JSON"],
)
def test_the_same_source_goes_on(tmp_path, before, now):
    go_on(tmp_path, make_plan(), before, now)


@pytest.mark.parametrize(
    ("plan", "taps", "refused"),
    [
        (make_plan(n_t=3), ("a", "b"), True),
        (make_plan(stacks={}), ("a", "b"), True),
        (make_plan(stacks={VolumeKey(1): (0, 1, 2)}), ("a", "b"), False),
        (make_plan(n_t=3), ("a", "a"), False),
        (make_plan(n_t=3), ("a", "b", "a"), True),
        (make_plan(n_t=3), ("", ""), False),
    ],
    ids=["again", "no-plan", "the-rest", "the-same", "another-before", "no-tap"],
)
def test_another_acquisition_goes_on_only_with_what_is_left(tmp_path, plan, taps, refused):
    """What it would record again has no place: refused before its first frame, not dropped."""

    def session(tap: str, plan: Plan) -> None:
        with closing(open_run(StoreConfig(directory=tmp_path), RunStarted("run", plan, ENGINE, tap=tap))) as writer:
            if not writer.raw_keys():
                writer.write_raw(make_volume())

    session(taps[0], make_plan(n_t=3))
    with pytest.raises(StoreError, match=r"1 of the volumes .* \(0, 0, 0\)") if refused else nullcontext():
        for tap in taps[1:]:
            session(tap, plan)
    session(taps[0], make_plan(n_t=3))
