"""NDTiff folders: the index and the TIFF files of Micro-Manager's Java and Python writers, damaged."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fuzzing.damage import Case, Files, also, damage_bytes
from fuzzing.datasets import there
from fuzzing.recordings import RecordingReader
from fuzzing.target import Target, read_files

_REAL = (
    "ndtiff_micromanager/v3/ndtiffv3.0_test",
    "ndtiff_micromanager/v3/12_bit_pycromanager_mda",
    "ndtiff_micromanager/v2/ndtiffv2.0_test",
)
_LARGEST_BYTES = 2**20


class NDTiffFolders:
    """Damages the index twice as often as the pixels' file, sometimes both."""

    def __init__(self) -> None:
        self._reader = RecordingReader(may_be_shorter=True)

    def originals(self, folder: Path) -> Sequence[Files]:
        real = [read_files(path) for path in there(*_REAL)]
        small = [files for files in real if sum(map(len, files.values())) < _LARGEST_BYTES]
        return [*small, *_written(folder)]

    def damaged(self, sound: Files, chance: random.Random) -> Case:
        index = [name for name in sound if name.endswith(".index")]
        pixels = [name for name in sound if name.endswith(".tif")]
        case = damage_bytes(sound, chance, chance.choice(index if chance.random() < 0.67 else pixels))
        return also(case, damage_bytes, chance, chance.choice(pixels)) if chance.random() < 0.1 else case

    def read(self, case: Case, folder: Path) -> None:
        self._reader.read(case, folder)


def _written(folder: Path) -> Iterator[Files]:
    """Write a data set as pycromanager does."""
    from ndstorage import NDTiffDataset

    path = folder / "written"
    writer = NDTiffDataset(str(folder), name="written", summary_metadata={"z-step_um": 1.5}, writable=True)
    pixels = np.random.default_rng(2).integers(0, 4095, (2, 3, 24, 32)).astype(np.uint16)
    for t, z in np.ndindex(2, 3):
        metadata = {"Exposure": 10.0, "PixelSizeUm": 0.5, "ElapsedTime-ms": 50 * t}
        writer.put_image({"time": int(t), "z": int(z)}, pixels[t, z], metadata)
    writer.finish()
    writer.close()
    yield read_files(path if path.is_dir() else next(folder.glob("written*")))


def target() -> Target:
    return NDTiffFolders()
