"""One verdict for every restored volume: evidence, domain and flags together."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.images import Restored, Volume
from care_live.model.card import ModelCard
from care_live.trust import domain, evidence, forward, light, photon_transfer, residual
from care_live.trust.camera import CameraModel
from care_live.trust.features import features_of
from care_live.trust.pattern import PatternEstimate
from care_live.verdict import Doubt, Trust

Array: TypeAlias = NDArray[np.float32]

_LEARN_VOLUMES = 8
"""From which an unknown camera is measured."""


class Examiner:
    """Examines restored volumes, in the order in which they come: does each agree with its photons?

    Parameters
    ----------
    card : of the network that restores
    camera : measured beforehand; None: it is estimated from the first volumes, and the pattern of its pixels' offsets
        from what restorations leave over
    """

    def __init__(self, card: ModelCard, camera: CameraModel | None = None) -> None:
        self._card, self._given, self._estimated = card, camera, camera
        self._points: deque[tuple[photon_transfer.TransferPoint, ...]] = deque(maxlen=_LEARN_VOLUMES)
        self._pattern = PatternEstimate()
        self._blur: forward.Blur | None = None
        self.features: tuple[float, ...] = ()
        """Of the last volume, see `care_live.trust.features`."""
        self.found: evidence.Evidence | None = None
        """In the last volume; None: it could not be compared."""

    def examine(self, restored: Restored) -> Trust:
        """Return the verdict on one volume; the camera is learnt from it, for it and those after it."""
        self.features, self.found = (), None
        camera = self._camera_for(restored.volume)
        why = forward.why_not(self._card)
        if not why and camera is None:
            why = "the camera's noise can't be measured in this volume"
        if why or camera is None:
            unknown = f"not compared with the photons: {why}"
            return light.verdict(restored.flags, cautions=[unknown], strange=self._strange(restored, None, ()))
        return self._compared(restored, camera)

    def _compared(self, restored: Restored, camera: CameraModel) -> Trust:
        raw, card = restored.volume.pixels, self._card
        predicted = forward.predict(restored.maps["mean"], raw, card, self._blur)
        self._blur = predicted.blur_px
        left = residual.residual_of(raw, predicted.counts, camera, without=_missing(restored.volume))
        left, camera = self._less_pattern(left, camera)
        found = evidence.examine(
            left,
            camera,
            card.evidence,
            range_counts=restored.high - restored.low,
            is_projection=card.task == "project",
        )
        if not np.isfinite(found.sd).all():
            raise ValueError("the residual is no number: the volume holds infinite or missing values")
        signal = _normalised(left, camera, restored)
        self.features = features_of(signal, restored.maps.get("laplace_scale"), restored.high - restored.low)
        self.found = found
        doubts = tuple(_in_restored(doubt, restored) for doubt in found.doubts)
        trust = light.verdict(
            restored.flags,
            doubts=doubts,
            cautions=light.biases(found.sd, card.evidence),
            strange=self._strange(restored, camera, self.features),
        )
        return replace(trust, sd=tuple(round(sd, 3) for sd in found.sd), share=found.share, camera=str(camera))

    def _camera_for(self, volume: Volume) -> CameraModel | None:
        """Return the measured camera, or the one that the volumes so far show."""
        if self._given is None and len(self._points) < _LEARN_VOLUMES:
            self._points.append(photon_transfer.transfer_points(_came(volume)))
            points = tuple(point for points in self._points for point in points)
            says = f"estimated from {len(self._points)} volume{'s' if len(self._points) > 1 else ''} of this run"
            self._estimated = photon_transfer.camera_of(points, says) or self._estimated
        return self._estimated

    def _less_pattern(self, left: residual.Residual, camera: CameraModel) -> tuple[residual.Residual, CameraModel]:
        """Take out the pattern of the pixels' offsets where no file says it: what this and earlier volumes show."""
        if camera.pattern is not None or self._card.task == "project":
            return left, camera
        noise = float(left.variance.mean()) / residual.BIN_PX**2
        self._pattern.learn(left.by_pixel, left.n_planes, noise)
        known = self._pattern.applied_to(camera)
        return (left, camera) if known.pattern is None else (residual.without_pattern(left, known.pattern), known)

    def _strange(self, restored: Restored, camera: CameraModel | None, features: tuple[float, ...]) -> tuple[str, ...]:
        volume = restored.volume
        seen = domain.VolumeTraits(
            voxel_size_um=volume.voxel_size_um,
            low=restored.low,
            high=restored.high,
            signal_electrons=None if camera is None else camera.electrons(restored.high),
            exposure_ms=volume.exposure_ms,
            features=features,
        )
        return domain.reasons(seen, self._card)


def _came(volume: Volume) -> NDArray[np.uint16] | NDArray[np.uint8]:
    """Return the planes that came."""
    missing = _missing(volume)
    return volume.pixels if not missing else np.delete(volume.pixels, missing, axis=0)


def _missing(volume: Volume) -> list[int]:
    """Return the places of planes that did not come, along the first axis."""
    missing = set(volume.integrity.missing)
    return [place for place, z in enumerate(volume.integrity.expected) if z in missing]


def _normalised(left: residual.Residual, camera: CameraModel, restored: Restored) -> Array:
    """Return the predicted signal on the grid of squares, 0 at the low percentile, 1 at the high one."""
    counts = left.variance * np.float32(1 / residual.BIN_PX**2)
    counts -= np.float32(camera.dark_variance)
    counts *= np.float32(1 / camera.gain)
    counts += np.float32(camera.offset - restored.low)
    counts *= np.float32(1 / max(restored.high - restored.low, 1e-6))
    return counts


def _in_restored(doubt: Doubt, restored: Restored) -> Doubt:
    """Move a place from raw voxels to restored ones: their planes differ where a network makes more or fewer."""
    n_raw, (n_out, ny, nx) = len(restored.volume.pixels), restored.maps["mean"].shape
    z, y, x = doubt.place_px
    along = round(z * (n_out - 1) / max(n_raw - 1, 1)) if n_out != n_raw else z
    return replace(doubt, place_px=(along, min(y, ny - 1), min(x, nx - 1)))
