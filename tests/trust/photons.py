"""Photons of simulated specimens, and restorations that are right or wrong by a known number of them."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from care_live.images import Integrity, ModelIdentity, Restored, Volume, VolumeKey, read_only
from care_live.model.card import ModelCard
from care_live.simulate import Light, Sensor, noise, pair, sensor
from care_live.trust.camera import CameraModel

GAIN, OFFSET, READ_NOISE = 2.17, 100.0, 1.6
SHAPE = (16, 128, 128)
CARD = ModelCard(name="tested", divisor=(1, 4, 4), halo_px=(2, 8, 8), voxel_size_um=(1.0, 0.5, 0.5))
LIGHT = Light()


class Scene(NamedTuple):
    """A worm in low light."""

    raw: NDArray[np.uint16]
    truth: NDArray[np.float32]
    """Expected counts."""
    sensor: Sensor


@cache
def worm(seed: int, shape_px: tuple[int, int, int] = SHAPE) -> Scene:
    seen = pair(seed, shape_px)
    return Scene(seen.low, seen.clean, sensor(shape_px[1:], seed))


def measured_camera(scene: Scene, **changed: Any) -> CameraModel:
    """Return the camera as dark frames would show it."""
    pattern = (scene.sensor.offset - np.float32(OFFSET)).astype(np.float32)
    return CameraModel(changed.pop("gain", GAIN), OFFSET, 1.75, "a test", **({"pattern": pattern} | changed))


def nucleus(place: tuple[float, float, float], electrons: float, shape: tuple[int, int, int] = SHAPE) -> Any:
    """Return a nucleus of this peak at a place, counts."""
    sides = zip(shape, place, (1.5, 2.5, 2.5), strict=True)
    z, y, x = (np.exp(-0.5 * ((np.arange(n) - at) / sigma) ** 2) for n, at, sigma in sides)
    return (GAIN * electrons * z[:, None, None] * y[:, None] * x).astype(np.float32)


def noise_of(expected: NDArray[Any], seed: int = 5) -> NDArray[np.uint16]:
    """Expose expected counts once, with an ideal sensor."""
    plain = np.ones(expected.shape[1:], np.float32)
    ideal = Sensor(plain * OFFSET, plain * GAIN, plain * READ_NOISE, dark_electrons=0.0)
    electrons = ((expected - OFFSET) / GAIN).clip(0).astype(np.float32)
    return np.stack([ideal.expose(plane, noise.generator(seed, z)) for z, plane in enumerate(electrons)])


def restored_of(raw: NDArray[Any], mean: NDArray[Any], **changed: Any) -> Restored:
    """Wrap a raw volume and what is said to be its restoration."""
    planes = tuple(range(len(raw)))
    volume = Volume(
        run_id="trust",
        key=VolumeKey(0),
        pixels=read_only(raw),
        voxel_size_um=changed.pop("raw_voxel_um", (1.0, 0.5, 0.5)),
        integrity=changed.pop("integrity", Integrity(planes, planes)),
        closed="complete",
        state="confirmed",
        first_plane_ns=0,
        last_plane_ns=0,
        acquired_us=0,
    )
    low, high = (float(value) for value in np.percentile(raw, (2, 99.8)))
    fields: dict[str, Any] = {
        "voxel_size_um": (1.0, 0.5, 0.5),
        "low": low,
        "high": high,
        "model": ModelIdentity("tested", "0" * 64),
    }
    maps = {"mean": read_only(mean.astype(np.float32))}
    return Restored(key=volume.key, sources=(volume.key,), raw=volume, maps=maps, **(fields | changed))
