"""What the report says of a run, as numbers."""

from __future__ import annotations

import contextlib
from pathlib import Path

from care_live.images import REFERENCE, RunEnded, VolumeKey
from care_live.store import RunReader
from care_live.viewer.run_report.run_facts import gather
from tests.make.stored import make_plan, make_restored, make_volume, open_writer


def test_the_numbers_are_those_of_the_journal(run: Path) -> None:
    tally = gather(RunReader(run)).tally
    assert (tally.planned, tally.stored, tally.never_came) == (4, 3, 1)
    assert (tally.planes_expected, tally.planes_lost, tally.incomplete) == (9, 2, 1)
    assert (tally.restored, tally.skipped, tally.failed, tally.waiting) == (1, 1, 0, 1)


def test_every_volume_in_trouble_is_named_with_its_reason(run: Path) -> None:
    troubles = {trouble.key.t: trouble.reason for trouble in gather(RunReader(run)).troubles}
    assert troubles[1] == "of its planes 2 are missing: 1, 3"
    assert "skipped" in troubles[2]
    assert troubles[3] == "the microscope never delivered it"
    assert troubles[0].startswith("the restoration shows something")


def test_reference_planes_are_no_volumes_that_wait(tmp_path: Path) -> None:
    plan = make_plan(n_t=1, n_c=2, channels=("GFP", f"GFP{REFERENCE}"))
    with contextlib.closing(open_writer(tmp_path, plan)) as writer:
        for c in range(2):
            writer.write_raw(make_volume(VolumeKey(0, 0, c)))
    tally = gather(RunReader(tmp_path / "run")).tally
    assert (tally.planned, tally.stored, tally.waiting) == (1, 1, 1)


def test_volumes_of_a_channel_that_is_left_out_do_not_wait(tmp_path: Path) -> None:
    with contextlib.closing(open_writer(tmp_path, make_plan(n_t=1, n_c=2, channels=("GFP", "BF")))) as writer:
        volumes = [make_volume(VolumeKey(0, 0, c)) for c in range(2)]
        for volume in volumes:
            writer.write_raw(volume)
        writer.write_restored(make_restored(volumes[0]), age_s=1.5)
        writer.note(RunEnded("finished", n_delivered=4))
        before = gather(RunReader(tmp_path / "run")).tally
        writer.complete()
    tally = gather(RunReader(tmp_path / "run")).tally
    assert (before.waiting, before.left_out) == (1, 0)
    assert (tally.restored, tally.waiting, tally.left_out) == (1, 0, 1)


def test_volumes_whose_raw_planes_are_kept_elsewhere_came(tmp_path: Path) -> None:
    plan = make_plan(n_t=2, n_c=2, channels=("GFP", f"GFP{REFERENCE}"))
    with contextlib.closing(open_writer(tmp_path, plan)) as writer:
        writer.write_restored(make_restored(make_volume()))
        writer.note(RunEnded("finished", n_delivered=4))
    facts = gather(RunReader(tmp_path / "run"))
    assert (facts.tally.restored, facts.tally.never_came) == (1, 1)
    assert [trouble.key for trouble in facts.troubles] == [VolumeKey(1)]
