"""OME-Zarr images: metadata with hostile values, chunks cut and flipped."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from fuzzing.damage import Case, Files, damage_bytes, damage_json, remove
from fuzzing.datasets import there
from fuzzing.recordings import RecordingReader
from fuzzing.target import Target, read_files

_PLATE = "ome_zarr_hcs_plate/single-plane-hcs.zarr"
_METADATA = (".zattrs", ".zgroup", ".zarray", "zarr.json")


class OmeZarrFolders:
    """Damages metadata as JSON, and any file as bytes."""

    def __init__(self) -> None:
        self._reader = RecordingReader()

    def originals(self, folder: Path) -> Sequence[Files]:
        return [*(_full_resolution(path) for path in there(_PLATE)), *_written(folder)]

    def damaged(self, sound: Files, chance: random.Random) -> Case:
        metadata = [name for name in sound if name.endswith(_METADATA)]
        match chance.randrange(8):
            case 0 | 1 | 2 | 3:
                return damage_json(sound, chance, chance.choice(metadata))
            case 4:
                return remove(sound, chance.choice(metadata))
            case _:
                return damage_bytes(sound, chance, chance.choice(tuple(sound)))

    def read(self, case: Case, folder: Path) -> None:
        self._reader.read(case, folder)


def _full_resolution(plate: Path) -> Files:
    """Leave the coarser levels out: nothing here reads them."""
    return {name: data for name, data in read_files(plate).items() if name.split("/")[3:4] not in (["1"], ["2"], ["3"])}


def _written(folder: Path) -> Iterator[Files]:
    pixels = np.random.default_rng(3).integers(0, 65535, (2, 2, 5, 24, 32)).astype(np.uint16)
    for name, zarr_format, options in (
        ("v2", 2, {}),
        ("v3", 3, {}),
        ("v3-plain", 3, {"compressors": None}),
        ("v3-shards", 3, {"shards": (1, 1, 4, 32, 32)}),
    ):
        group = zarr.open_group(folder / name, mode="w", zarr_format=zarr_format)
        array = group.create_array("0", shape=pixels.shape, dtype=pixels.dtype, chunks=(1, 1, 2, 16, 16), **options)
        array[:] = pixels
        group.attrs.update(_image() if zarr_format == 2 else {"ome": {"version": "0.5", **_image()}})
        yield read_files(folder / name)


def _image() -> dict[str, Any]:
    axes = [{"name": "t", "type": "time", "unit": "millisecond"}, {"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    scale = {"type": "scale", "scale": [250, 1, 2000, 200, 100]}
    dataset = {"path": "0", "coordinateTransformations": [scale]}
    channels = [{"label": "DAPI"}, {"label": "FITC"}]
    return {"multiscales": [{"axes": axes, "datasets": [dataset]}], "omero": {"channels": channels}}


def target() -> Target:
    return OmeZarrFolders()
