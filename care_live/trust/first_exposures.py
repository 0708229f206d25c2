"""Planes of a restored volume that are compared with their second exposures."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from care_live.images import ModelIdentity, Restored, Volume, VolumeKey
from care_live.model.card import Calibration, NetworkVerdict
from care_live.model.reliability import half_width_factor
from care_live.trust.camera import CameraModel
from care_live.trust.photon_transfer import camera_of, transfer_points
from care_live.trust.reference import LEVEL, ErrorFigures, measure
from care_live.trust.twins import Twins


@dataclass(frozen=True, slots=True, eq=False)
class FirstExposures:
    """Planes of a restored volume of which the reference came, or may come: copies, as results share memory."""

    key: VolumeKey
    model: ModelIdentity
    planes: Mapping[int, Twins]
    """By z index, without their references."""
    camera: CameraModel | None
    problem: str
    """Why no reference can be compared with them; empty: it can."""
    promised: NetworkVerdict | None = None
    """What the card of the network says of its error; None: nothing."""

    @property
    def nbytes(self) -> int:
        return sum(one.raw.nbytes + one.mean.nbytes for one in self.planes.values())


def first_exposures_of(
    restored: Restored,
    heights: Collection[int],
    calibration: Calibration | None,
    promised: NetworkVerdict | None = None,
) -> FirstExposures:
    """Return what is compared with the reference of a volume."""
    volume, mean, scale = restored.volume, restored.maps["mean"], restored.maps.get("laplace_scale")
    if mean.shape != volume.pixels.shape:
        return FirstExposures(restored.key, restored.model, {}, None, "the network gives other planes than the camera")
    factor, received = half_width_factor(LEVEL, calibration), set(volume.integrity.received)
    planes = {}
    for own, z in enumerate(volume.integrity.expected):
        if z in received and z in heights:
            raw, shown = np.array(volume.pixels[own]), np.array(mean[own])
            half_width = None if scale is None else factor * scale[own].astype(np.float64)
            planes[z] = Twins(raw, raw, shown, half_width)
    camera = camera_of(transfer_points(volume.pixels), "this volume") if planes else None
    problem = "" if planes else "the plane that it shows once more is lost"
    return FirstExposures(restored.key, restored.model, planes, camera, problem, promised)


def figures_of(first: FirstExposures, reference: Volume) -> ErrorFigures:
    """Measure a volume by its reference.

    Raises
    ------
    ValueError
        It cannot be compared, or says nothing.
    """
    if first.problem:
        raise ValueError(first.problem)
    twins = list(_twins(first, reference))
    if any(one.reference.shape != one.raw.shape for one in twins):
        raise ValueError("it has another size than the plane that it shows once more")
    if not twins:
        raise ValueError("no plane was exposed both times")
    return measure(twins, first.camera)


def _twins(first: FirstExposures, reference: Volume) -> Iterator[Twins]:
    """Yield the planes that were exposed twice and are there both times."""
    for place, z in enumerate(reference.integrity.expected):
        if z in reference.integrity.received and (one := first.planes.get(z)) is not None:
            yield replace(one, reference=reference.pixels[place])
