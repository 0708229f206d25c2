"""OME-TIFF files: Micro-Manager's own, and some with positions, channels and times; bytes and XML damaged."""

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

_WINDOW = "micromanager_window/image_stack_files/mp_1_MMStack_worm-a.ome.tif"
_HOSTILE = ("0", "-1", "1e999", "nan", "", "4294967296", "10000000", "x" * 3000, "&lt;", "XYZTC", "uint64", "TiffData")


class OmeTiffFiles:
    """Damages the XML header as text as often as the file as bytes."""

    def __init__(self) -> None:
        self._reader = RecordingReader("image.ome.tif")

    def originals(self, folder: Path) -> Sequence[Files]:
        return [{"image.ome.tif": path.read_bytes()} for path in (*_shortened(folder), *_written(folder))]

    def damaged(self, sound: Files, chance: random.Random) -> Case:
        if chance.random() < 0.5:
            return damage_bytes(sound, chance, "image.ome.tif")
        data = sound["image.ome.tif"]
        return Case(sound, {"image.ome.tif": _with_other_xml(data, chance)}, "xml image.ome.tif")

    def read(self, case: Case, folder: Path) -> None:
        self._reader.read(case, folder)


def _with_other_xml(data: bytes, chance: random.Random) -> bytes:
    """Change one attribute of the OME-XML; the text keeps its length, so that only its meaning is damaged."""
    start, end = data.find(b"<OME"), data.find(b"</OME>")
    quotes = [i for i in range(start, end) if data[i] == ord('"')]
    if len(quotes) < 2:
        return data
    n = chance.randrange(len(quotes) // 2)
    first, last = quotes[2 * n] + 1, quotes[2 * n + 1]
    value = chance.choice(_HOSTILE).encode()[: last - first]
    return data[:first] + value.ljust(last - first, b"0" if value.isdigit() else b" ") + data[last:]


def _shortened(folder: Path) -> Iterator[Path]:
    """Write the first planes of Micro-Manager's own file anew, small; the whole one is 4 MiB."""
    for path in there(_WINDOW):
        with tifffile.TiffFile(path) as file:
            planes = np.stack([page.asarray()[:40, :48] for page in file.pages[:8]])
        tifffile.imwrite(folder / path.name, planes.reshape(2, 4, 40, 48), ome=True, metadata={"axes": "TZYX"})
        yield folder / path.name


def _written(folder: Path) -> Iterator[Path]:
    pixels = np.random.default_rng(1).integers(0, 4095, (2, 3, 2, 4, 20, 24)).astype(np.uint16)  # P T C Z Y X
    plane = {"DeltaT": [0.5 * i for i in range(24)], "DeltaTUnit": ["s"] * 24,
             "ExposureTime": [10.0] * 24, "ExposureTimeUnit": ["ms"] * 24}  # fmt: skip
    metadata = {
        "axes": "TCZYX", "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.2, "PhysicalSizeZ": 1.5,
        "Channel": {"Name": ["DAPI", "FITC"]}, "Plane": plane,
    }  # fmt: skip
    for name, options in {"plain": {}, "zlib": {"compression": "zlib"}}.items():
        path = folder / f"{name}.ome.tif"
        with tifffile.TiffWriter(path, ome=True) as writer:
            for position in pixels:
                writer.write(position, photometric="minisblack", metadata=metadata, **options)
        yield path


def target() -> Target:
    return OmeTiffFiles()
