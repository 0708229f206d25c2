"""Pairs on the disk: whole or not there; what moved is left out; what is held out is never learnt from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from care_live.errors import TrainingError
from care_live.prepare.exposed_pairs import PairFolder, checked, fault_of, is_same_specimen, split
from tests.prepare.conftest import Pixels, electrons, exposed


def pair(seed: int, specimen: int | None = None) -> tuple[Pixels, Pixels]:
    shown = electrons(seed if specimen is None else specimen)
    return exposed(shown, seed=seed), exposed(shown, light=30.0, seed=seed)


def filled(folder: Path, *pairs: tuple[Pixels, Pixels]) -> PairFolder:
    there = PairFolder(folder / "exposed")
    for number, (first, second) in enumerate(pairs):
        there.put(f"t{number}", first, second)
    return there


def moved(by: int) -> tuple[Pixels, Pixels]:
    first, second = pair(5)
    return first, np.roll(second, by, axis=-1)


FIRST, SECOND = pair(1)
FAULTS = {
    "good": (FIRST, SECOND, ""),
    "half a pixel is allowed": (FIRST, np.roll(SECOND, 1, axis=-1), ""),
    "moved": (*moved(4), "moved by"),
    "another place": (FIRST, pair(2)[1], "do not look like the same place"),
    "saturated": (FIRST, np.where(SECOND > 1000, 4095, SECOND).astype(np.uint16), "saturated; lower prepare.light"),
    "dark": (FIRST, np.full_like(SECOND, 100), "second exposure is 100 everywhere; is the light on"),
}


@pytest.mark.parametrize(("first", "second", "words"), FAULTS.values(), ids=FAULTS)
def test_a_pair_that_would_teach_something_false_is_found(first: Pixels, second: Pixels, words: str) -> None:
    fault = fault_of(first, second, max_shift_px=1.5)
    assert bool(fault) == bool(words)
    assert words in fault


def test_pairs_that_moved_are_left_out_and_too_few_are_refused(tmp_path: Path) -> None:
    there = filled(tmp_path, *(pair(seed) for seed in range(4)), moved(4))
    good, left_out = checked(there, max_shift_px=1.5)
    assert good == ("t0", "t1", "t2", "t3")
    assert [one.name for one in left_out] == ["t4"]
    (there.first / "t0.tif").unlink()
    with pytest.raises(TrainingError, match=r"3 of 4 pairs are good, training needs 4: t4 is left out: it moved by"):
        checked(there, max_shift_px=1.5)


def test_a_pair_of_which_one_file_is_there_is_no_pair(tmp_path: Path) -> None:
    there = filled(tmp_path, pair(0), pair(1))
    (there.second / "t1.tif").unlink()
    assert there.names == ("t0",)
    first, second = there.read("t0")
    np.testing.assert_array_equal(first, pair(0)[0])
    np.testing.assert_array_equal(second, pair(0)[1])


def test_several_channels_stay_together(tmp_path: Path) -> None:
    there = PairFolder(tmp_path)
    both = np.concatenate([FIRST, SECOND])
    there.put("t0", both, both)
    assert there.read("t0")[0].shape == (2, 8, 64, 64)


def test_a_specimen_that_moves_has_whole_volumes_held_out(tmp_path: Path) -> None:
    there = filled(tmp_path, *(pair(seed) for seed in range(5)))
    parts = split(tmp_path, there, there.names, 2)
    assert not parts.by_rows
    assert (parts.learn.names, parts.held_out.names) == (("t0", "t1", "t2"), ("t3", "t4"))
    again = split(tmp_path, there, there.names[1:], 2)
    assert again.learn.names == ("t1", "t2")


def test_of_a_specimen_that_stands_still_rows_are_held_out(tmp_path: Path) -> None:
    there = filled(tmp_path, *(pair(seed, specimen=7) for seed in range(4)))
    parts = split(tmp_path, there, there.names, 2)
    assert parts.by_rows
    assert "stands still" in parts.describe()
    learn, held_out = parts.learn.read("t3")[0], parts.held_out.read("t3")[0]
    np.testing.assert_array_equal(np.concatenate([learn, held_out], axis=-2), there.read("t3")[0])
    assert parts.held_out.names == ("t2", "t3")


def test_bright_volumes_tell_whether_the_specimen_moved() -> None:
    assert is_same_specimen(pair(3)[1], pair(4, specimen=3)[1])
    assert not is_same_specimen(pair(3)[1], pair(4)[1])
