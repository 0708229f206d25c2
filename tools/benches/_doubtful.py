"""Volumes to trust and volumes to doubt, for the bench *truth*: objects of known photons put in and taken out.

A false object is added to the restored mean. An erased one is added to the photons of the raw volume, with their shot
noise, as if the network had left it out. Objects are nuclei, Gaussians of σ 1.5 planes and 2.5 pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from care_live.images import Restored, read_only
from care_live.restore.engine import Engine
from care_live.simulate import Sensor, noise, sensor
from care_live.training.data.data_recipe import SpecimenName
from care_live.training.data.simulated import expected_electrons
from care_live.training.evaluation.inference import as_volume
from care_live.trust.camera import CameraModel
from care_live.trust.photon_transfer import camera_from_frames
from care_live.trust.smooth import smooth

Image = NDArray[Any]
Shape = tuple[int, int, int]
SHAPE, VOXEL_UM = (32, 256, 256), (1.0, 0.5, 0.5)
SIGMA_PX = (1.5, 2.5, 2.5)
CAMERA = 8101
"""Serial number of the camera that takes all of these volumes."""
_HELD_OUT = 5_000_000
"""Seeds of specimens that no training and no calibration saw."""
_PLACES, _PLACES_IN_SMALL = 5, 2
_MARGIN_PX = (5, 15, 15)


class Shot(NamedTuple):
    """One volume, its truth and its restoration."""

    electrons: Image
    """(z, y, x) expected photo-electrons."""
    restored: Restored

    @property
    def shape_px(self) -> Shape:
        nz, ny, nx = self.electrons.shape
        return nz, ny, nx


@dataclass(frozen=True, slots=True)
class Scene:
    """What is in front of the camera."""

    specimen: SpecimenName
    power: float = 1.0
    voxel_um: tuple[float, float, float] = VOXEL_UM
    """True size, whatever is written in the metadata."""
    blur_px: float = 0.0
    gain: float = 1.0
    """Of another camera, in gains of this one."""
    shape_px: Shape = SHAPE

    def electrons(self, number: int) -> Image:
        seed = _HELD_OUT + number
        seen = expected_electrons(self.specimen, seed, shape_px=self.shape_px, voxel_size_um=self.voxel_um)
        blur = (self.blur_px / 2, self.blur_px, self.blur_px)
        return np.asarray(
            smooth(seen, blur) * np.float32(self.power) if self.blur_px else seen * np.float32(self.power)
        )


def exposed(electrons: Image, number: int, *, gain: float = 1.0) -> Image:
    """Return one stack of camera counts."""
    plain = the_sensor(electrons.shape[1:])
    camera = replace(plain, gain=plain.gain * np.float32(gain))
    return np.stack([camera.expose(plane, noise.generator(0x7261, number, z)) for z, plane in enumerate(electrons)])


def shot(engine: Engine, scene: Scene, number: int) -> Shot:
    """Expose a scene once and restore it."""
    electrons = scene.electrons(number)
    raw = exposed(electrons, number, gain=scene.gain)
    return Shot(electrons, engine.restore([msgspec.structs.replace(as_volume(raw), voxel_size_um=VOXEL_UM)])[0])


def the_sensor(field_px: tuple[int, ...] = SHAPE[1:]) -> Sensor:
    return sensor((field_px[0], field_px[1]), CAMERA)


@cache
def the_camera(field_px: tuple[int, ...] = SHAPE[1:]) -> CameraModel:
    """Return the camera as 100 dark and 40 flat frames show it."""
    dark, flat = (
        np.stack([the_sensor(field_px).expose(light, noise.generator(3, n, frame)) for frame in range(n)])
        for n, light in ((100, np.zeros(field_px, np.float32)), (40, np.full(field_px, 300.0, np.float32)))
    )
    return camera_from_frames(dark, flat, "100 dark and 40 flat frames")


def places(number: int, sign: int, shape_px: Shape = SHAPE) -> list[tuple[float, ...]]:
    """Return where objects go in one volume, at random, none near another; fewer in a small one."""
    rng = np.random.default_rng((number, sign + 1))
    margins = [min(margin, side / 4) for margin, side in zip(_MARGIN_PX, shape_px, strict=True)]
    n_places = _PLACES if shape_px == SHAPE else _PLACES_IN_SMALL
    found: list[tuple[float, ...]] = []
    while len(found) < n_places:
        place = tuple(rng.uniform(margin, side - margin) for margin, side in zip(margins, shape_px, strict=True))
        if all(np.linalg.norm(np.subtract(place, one) / SIGMA_PX) > 12 for one in found):
            found.append(place)
    return found


def nucleus(place: tuple[float, ...], electrons: float, shape_px: Shape = SHAPE) -> Image:
    """Return one object, (z, y, x) photo-electrons."""
    sides = zip(shape_px, place, SIGMA_PX, strict=True)
    z, y, x = (np.exp(-0.5 * ((np.arange(n) - at) / sigma) ** 2) for n, at, sigma in sides)
    return np.asarray(electrons * z[:, None, None] * y[:, None] * x, np.float32)


def implanted(one: Shot, where: list[tuple[float, ...]], electrons: float) -> Shot:
    """Let the restoration show objects that are not there."""
    gain = float(the_sensor().gain.mean())
    false = sum(nucleus(place, electrons, one.shape_px) for place in where) * np.float32(gain)
    mean = read_only(one.restored.maps["mean"] + false)
    return one._replace(restored=msgspec.structs.replace(one.restored, maps={**one.restored.maps, "mean": mean}))


def erased(one: Shot, where: list[tuple[float, ...]], electrons: float, number: int) -> Shot:
    """Let the camera count objects that the restoration does not show."""
    more = np.asarray(sum(nucleus(place, electrons, one.shape_px) for place in where), np.float32)
    counted = np.random.default_rng((number, 0xE5)).poisson(more) * the_sensor(one.shape_px[1:]).gain
    raw = read_only((one.restored.volume.pixels + np.rint(counted)).clip(0, 65535).astype(np.uint16))
    volume = msgspec.structs.replace(one.restored.volume, pixels=raw)
    return Shot(one.electrons + more, msgspec.structs.replace(one.restored, raw=volume))


def scenes(n: int) -> Iterator[tuple[str, Scene, int]]:
    """Give what a network for worms does not know: name, scene and number."""
    foreign: tuple[SpecimenName, ...] = ("tubules", "granules", "nuclei", "beads")
    kinds = {name: Scene(name) for name in foreign}
    kinds |= {
        "blurred": Scene("worm", blur_px=2.5),
        "finer_voxels": Scene("worm", voxel_um=(0.5, 0.25, 0.25)),
        "coarser_voxels": Scene("worm", voxel_um=(1.0, 1.0, 1.0)),
        "other_gain": Scene("worm", power=0.25, gain=4.0),
    }
    for kind, (name, scene) in enumerate(kinds.items()):
        for number in range(n):
            yield name, scene, 1000 * (kind + 1) + number
