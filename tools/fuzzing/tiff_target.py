"""TIFF files: as ImageJ, as tifffile and as microscopes write them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tifffile

from fuzzing.damage import Case, Files, damage_bytes
from fuzzing.datasets import there
from fuzzing.recordings import RecordingReader
from fuzzing.target import Target

_REAL = ("droplet_4d/ExampleTifSequence.tif", "faim_bead_repeat_stacks/E07_s1_w1_z01.tif")
_LONG = ("telomeres_lowlight_stream/timelapse_telomeres_2d.tif", "mitosis_5d_crop/xyzct-mitosis.tif")


class TiffFiles:
    """Opens each file with axes where it does not name them itself."""

    def __init__(self) -> None:
        self._reader = RecordingReader("image.tif")

    def originals(self, folder: Path) -> Sequence[Files]:
        files = [*there(*_REAL), *_shortened(folder), *_written(folder)]
        return [_input(path) for path in files]

    def damaged(self, sound: Files, chance: random.Random) -> Case:
        return damage_bytes(sound, chance, "image.tif")

    def read(self, case: Case, folder: Path) -> None:
        self._reader.read(case, folder, axes=case.files["axes"].decode() or None)


def _input(path: Path) -> Files:
    """Return a file and the axes that a user gives with it."""
    axes = "TZYX" if path.name.startswith("plain") else ""
    return {"image.tif": path.read_bytes(), "axes": axes.encode()}


def _shortened(folder: Path) -> Iterator[Path]:
    """Cut the corner and the first planes out of long real movies, with what ImageJ noted of them."""
    for path in there(*_LONG):
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            pixels = file.asarray(series=0)[..., :40, :48]
            metadata = {"axes": series.axes, **{key: file.imagej_metadata[key] for key in ("spacing", "unit")
                                                 if key in (file.imagej_metadata or {})}}  # fmt: skip
        tifffile.imwrite(folder / path.name, pixels[:6], imagej=True, metadata=metadata)
        yield folder / path.name


def _written(folder: Path) -> Iterator[Path]:
    """Write the kinds that real ones do not cover: compressed, tiled, big-endian, BigTIFF."""
    pixels = np.random.default_rng(0).integers(0, 65535, (3, 4, 32, 48)).astype(np.uint16)
    kinds: dict[str, dict[str, object]] = {
        "plain": {},
        "plain-big-endian": {"byteorder": ">"},
        "plain-bigtiff": {"bigtiff": True},
        "plain-zlib": {"compression": "zlib"},
        "plain-tiles": {"tile": (16, 16), "compression": "zlib"},
        "plain-strips": {"rowsperstrip": 7, "compression": "zlib", "predictor": True},
    }
    for name, options in kinds.items():
        path = folder / f"{name}.tif"
        tifffile.imwrite(path, pixels, photometric="minisblack", **options)  # type: ignore[arg-type]
        yield path
    tifffile.imwrite(folder / "imagej.tif", pixels[:, :, np.newaxis], imagej=True, metadata={"axes": "TZCYX"})
    yield folder / "imagej.tif"


def target() -> Target:
    return TiffFiles()
