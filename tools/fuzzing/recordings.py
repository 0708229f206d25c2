"""Recorded data sets under attack: what every format's target does with a damaged one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from care_live.images import PlaneIndex
from care_live.recorded import open_recording
from fuzzing.damage import Case, Files
from fuzzing.target import WrongError, write_files

_LARGEST = 400
"""Planes that are read of one data set: damage may make them millions."""

Planes = Mapping[PlaneIndex, NDArray[np.generic]]


class RecordingReader:
    """Reads whole data sets, and compares those of which only the end is missing with the sound one.

    Parameters
    ----------
    name : of the data set in an input's folder; empty: the folder itself
    may_be_shorter : a cut data set may honestly have fewer planes, as one of an acquisition that was killed
    """

    def __init__(self, name: str = "", *, may_be_shorter: bool = False) -> None:
        self._name = name
        self._may_be_shorter = may_be_shorter
        self._sound: dict[int, Planes] = {}

    def read(self, case: Case, folder: Path, *, axes: str | None = None) -> None:
        """Read a case; see `Target.read`."""
        found = self._planes(case.files, folder / "damaged", axes)
        if case.is_cut:
            self._compare(found, self._sound_planes(case.sound, folder / "sound", axes))

    def _planes(self, files: Files, folder: Path, axes: str | None) -> Planes:
        write_files(files, folder)
        recording = open_recording(folder / self._name, axes=axes)
        try:
            order = recording.contents.order[:_LARGEST]
            planes = {index: np.array(recording.read_plane(index)) for index in order}
            for index in order:
                recording.stamp(index)
        finally:
            recording.close()
        return planes

    def _sound_planes(self, sound: Files, folder: Path, axes: str | None) -> Planes:
        known = self._sound.get(id(sound))
        if known is None:
            known = self._sound[id(sound)] = self._planes(sound, folder, axes)
        return known

    def _compare(self, found: Planes, sound: Planes) -> None:
        if len(found) < len(sound) and not self._may_be_shorter:
            raise WrongError(f"{len(found)} planes came of a cut data set that had {len(sound)}")
        for index, plane in found.items():
            if index not in sound or not np.array_equal(plane, sound[index]):
                raise WrongError(f"plane {tuple(index)} of a cut data set is not what was recorded")
