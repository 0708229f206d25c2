"""Pairs on the disk: two files of one name, written whole; which of them are good, and how they are split.

The folder: ``exposed/first`` and ``exposed/second`` as they were acquired; ``learn`` and ``held-out``, the same files
again, without the pairs that were left out.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from care_live.errors import TrainingError
from care_live.training.data import volumes
from care_live.training.data.pairs import split_point
from care_live.trust import registration
from care_live.trust.saturation import saturated_share

Pixels: TypeAlias = NDArray[Any]

FEWEST = 4
"""Pairs to learn from, to validate with, and two that are held out."""
_MOST_SATURATED = 1e-3
_SMOOTH_PX = 2.0
_SAME_SPECIMEN = 0.9
"""Correlation of two smooth volumes above which they show the same specimen at the same place."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A pair that is not used."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} is left out: {self.reason}"


@dataclass(frozen=True, slots=True)
class PairFolder:
    """Two folders with files of the same names."""

    path: Path

    @property
    def first(self) -> Path:
        return self.path / "first"

    @property
    def second(self) -> Path:
        return self.path / "second"

    @property
    def names(self) -> tuple[str, ...]:
        """Return the pairs of which both files are there, sorted."""
        first, second = ({one.stem for one in folder.glob("*.tif")} for folder in (self.first, self.second))
        return tuple(sorted(first & second))

    def put(self, name: str, first: Pixels, second: Pixels) -> None:
        """Write a pair, (c, z, y, x) each; a pair that is there is whole."""
        for folder, pixels in ((self.second, second), (self.first, first)):
            folder.mkdir(parents=True, exist_ok=True)
            volumes.write(folder / f"{name}.tif", pixels[0] if len(pixels) == 1 else pixels)

    def read(self, name: str) -> tuple[Pixels, Pixels]:
        """Return a pair, (c, z, y, x) each."""
        first, second = (volumes.open_tiff(folder / f"{name}.tif") for folder in (self.first, self.second))
        return (first, second) if first.ndim == 4 else (first[None], second[None])

    def take(self, other: PairFolder, names: Sequence[str]) -> None:
        """Show pairs of another folder in this one, and no others; a file that is large is not copied where it can."""
        shutil.rmtree(self.path, ignore_errors=True)
        for mine, theirs in ((self.first, other.first), (self.second, other.second)):
            mine.mkdir(parents=True)
            for name in names:
                _link(theirs / f"{name}.tif", mine / f"{name}.tif")


def _link(file: Path, to: Path) -> None:
    try:
        os.link(file, to)
    except OSError:  # a disk without links
        shutil.copyfile(file, to)


def fault_of(first: Pixels, second: Pixels, *, max_shift_px: float) -> str:
    """Return why a pair cannot teach; empty: it can.

    Parameters
    ----------
    first, second : (c, z, y, x) counts
    """
    if (share := saturated_share(second)) > _MOST_SATURATED:
        return f"{share:.1%} of the second exposure is saturated; lower prepare.light"
    for name, image in (("first", first), ("second", second)):
        if image.min() == image.max():
            return f"the {name} exposure is {int(image.min())} everywhere; is the light on?"
    shift = registration.measure(registration.middle(first), registration.middle(second))
    if not shift.is_certain:
        return "the two exposures do not look like the same place; is it in focus, and is the light on?"
    if shift.length_px > max_shift_px:
        return (
            f"it moved by {shift.length_px:.1f} px between the two exposures (prepare.max_shift_px = {max_shift_px:g})"
        )
    return ""


def checked(exposed: PairFolder, *, max_shift_px: float) -> tuple[tuple[str, ...], tuple[LeftOut, ...]]:
    """Return the good pairs and the others, each with its reason.

    Raises
    ------
    TrainingError
        Too few are good.
    """
    faults = {name: fault_of(*exposed.read(name), max_shift_px=max_shift_px) for name in exposed.names}
    good = tuple(name for name, fault in faults.items() if not fault)
    left_out = tuple(LeftOut(name, fault) for name, fault in faults.items() if fault)
    if len(good) < FEWEST:
        why = "; ".join(map(str, left_out)) or "no more came"
        raise TrainingError(f"{len(good)} of {len(faults)} pairs are good, training needs {FEWEST}: {why}")
    return good, left_out


def is_same_specimen(one: Pixels, other: Pixels) -> bool:
    """Tell whether two volumes, (c, z, y, x), show the same specimen at the same place: it stands still."""
    if one.shape != other.shape:
        return False
    width = (0.0, min(1.0, one.shape[1] / 8), _SMOOTH_PX, _SMOOTH_PX)
    smooth = [ndimage.gaussian_filter(np.asarray(image, np.float32), width).ravel() for image in (one, other)]
    return float(np.corrcoef(*smooth)[0, 1]) > _SAME_SPECIMEN


@dataclass(frozen=True, slots=True)
class PairSplit:
    """What the network learns from, and what it is judged by and never learns from."""

    learn: PairFolder
    held_out: PairFolder
    by_rows: bool
    """The specimen stands still, so that all volumes are alike: rows of them are held out."""

    def describe(self) -> str:
        n_learn, n_held_out = len(self.learn.names), len(self.held_out.names)
        if self.by_rows:
            return (
                f"the specimen stands still, so the last rows of {n_held_out} volumes are held out, and the network "
                f"learns from the other rows of {n_learn}. Several prepare.positions would show it more"
            )
        return f"the network learns from {n_learn} volumes; {n_held_out} others are held out"


def split(folder: Path, exposed: PairFolder, names: Sequence[str], n_held_out: int) -> PairSplit:
    """Hold out the last volumes; or rows of them, where they show what the others show."""
    kept = list(names[-n_held_out:])
    learn, held_out = PairFolder(folder / "learn"), PairFolder(folder / "held-out")
    shown = [exposed.read(name)[1] for name in kept]
    by_rows = any(is_same_specimen(exposed.read(name)[1], one) for name in names[:-n_held_out] for one in shown)
    if not by_rows:
        learn.take(exposed, names[:-n_held_out])
        held_out.take(exposed, kept)
        return PairSplit(learn, held_out, False)
    for part in (learn, held_out):
        shutil.rmtree(part.path, ignore_errors=True)
    for name in names:
        first, second = exposed.read(name)
        rows = split_point(first.shape[-2])
        learn.put(name, first[..., :rows, :], second[..., :rows, :])
        if name in kept:
            held_out.put(name, first[..., rows:, :], second[..., rows:, :])
    return PairSplit(learn, held_out, True)
