"""One verdict for every restored volume: evidence, domain and flags together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.images import Restored, Volume
from care_live.model.card import ModelCard
from care_live.model.reliability import half_width_factor
from care_live.trust import camera_lines, domain, evidence, forward, hot_pixels, levels, light, residual
from care_live.trust.camera import CameraModel
from care_live.trust.camera_watch import LEARN_VOLUMES, CameraWatch
from care_live.trust.features import features_of
from care_live.trust.pattern import PatternEstimate, of_one_volume, sums_of_runs, total, without_wide
from care_live.trust.reference import LEVEL
from care_live.trust.saturation import saturated_share
from care_live.trust.seen_noise import kept_share
from care_live.trust.surroundings import WIDE_PX
from care_live.verdict import Doubt, Trust

Array: TypeAlias = NDArray[np.float32]


class Examiner:
    """Examines restored volumes, in the order in which they come: does each agree with its photons?

    Parameters
    ----------
    card : of the network that restores
    camera : measured beforehand, used as long as the noise of the run agrees with it; None: it is estimated from the
        first volumes, and the pattern of its pixels' offsets from what restorations leave over
    """

    def __init__(self, card: ModelCard, camera: CameraModel | None = None) -> None:
        self._card, self._given = card, None if camera is None else without_wide(camera)
        self.forget()
        self.features: tuple[float, ...] = ()
        """Of the last volume, see `care_live.trust.features`."""
        self.found: evidence.Evidence | None = None
        """In the last volume; None: it could not be compared."""

    def forget(self) -> None:
        """Forget what the volumes so far have shown of the camera: the next one is examined as a first one."""
        self._watch = CameraWatch(self._given)
        self._pattern = PatternEstimate()
        self._n_seen = 0
        self._hot = np.zeros((0, 0), np.float32)
        self._blind: NDArray[np.bool_] | None = None
        """Pixels that are hot, or near hot ones."""
        self._blur: forward.Blur | None = None

    def examine(self, restored: Restored) -> Trust:
        """Return the verdict on one volume; the camera is learnt from it, for it and those after it."""
        self.features, self.found = (), None
        why = forward.why_not(self._card)
        if not why:
            predicted = self._predicted(restored)
            camera = self._camera_for(restored.volume, predicted)
            if camera is not None:
                return self._compared(restored, predicted, camera)
            why = "the camera's noise can't be measured in this volume"
        unknown = f"not compared with the photons: {why}"
        return light.verdict(restored.flags, cautions=[unknown], strange=self._strange(restored, None, ()))

    def _predicted(self, restored: Restored) -> Array:
        """Return the counts that a restoration predicts for its raw volume."""
        predicted = forward.predict(restored.maps["mean"], restored.volume.pixels, self._card, self._blur)
        self._blur = predicted.blur_px
        return predicted.counts

    def _compared(self, restored: Restored, predicted: Array, camera: CameraModel) -> Trust:
        raw, card, missing = restored.volume.pixels, self._card, _missing(restored.volume)
        came = [place for place in range(len(raw)) if place not in missing] if missing else slice(None)
        off_by = 0.0 if card.task == "project" else levels.gross_error(raw[came], predicted[came], camera)
        if off_by:
            predicted = np.asarray(predicted + np.float32(off_by), np.float32)
        share = kept_share(raw[came], predicted[came], self._blind) if card.task == "denoise" else 0.0
        keeps = share >= light.KEPT_SHARE  # what is left of each pixel says less than its noise then
        runs = () if keeps else self._pixel_sums(raw[came], predicted[came], camera)
        with_pixels = hot_pixels.silenced(camera if keeps else self._with_pixels(raw, runs, camera), self._blind)
        left = residual.residual_of(raw, predicted, with_pixels, without=missing)
        lines = camera_lines.broken(left, raw[came], camera, self._hot)
        left = camera_lines.without(left, lines)
        left, off = (left, levels.LevelErrors()) if card.task == "project" else levels.levelled(left)
        off = replace(off, pedestal=off.pedestal + off_by)
        range_counts = max(restored.high - restored.low, 1e-6)
        expected = evidence.Expected(card.evidence, range_counts, self._interval(restored))
        found = evidence.examine(left, with_pixels, expected, is_projection=card.task == "project")
        if not np.isfinite(found.sd).all():
            raise ValueError("the residual is no number: the volume holds infinite or missing values")
        signal = (left.signal + np.float32(camera.offset - restored.low)) * np.float32(1 / range_counts)
        scale = restored.maps.get("laplace_scale")
        self.features = features_of(signal, scale, range_counts, has_z=card.axes == "ZYX")
        self.found = found
        kept = light.kept_noise(found.sd, with_pixels, share) if card.task == "denoise" else ()
        if runs and not found.doubts and not kept:  # what is false here must not pass for the camera's
            self._pattern.learn(total(runs), camera, len(raw) - len(missing))
        trust = light.verdict(
            restored.flags,
            doubts=tuple(_in_restored(doubt, restored) for doubt in found.doubts),
            cautions=(
                *camera_lines.cautions(lines),
                *hot_pixels.cautions(self._hot),
                *levels.cautions(off, range_counts),
                *light.biases(found.sd, card.evidence),
                *light.made_up_texture(found.texture_sd, found.n_lit, card.evidence),
                *kept,
            ),
            strange=self._strange(restored, camera, self.features),
        )
        return replace(trust, sd=tuple(round(sd, 3) for sd in found.sd), share=found.share, camera=str(camera))

    def _camera_for(self, volume: Volume, predicted: Array) -> CameraModel | None:
        """Return the measured camera, or the one that the volumes so far show."""
        was_against = bool(self._watch.against)
        missing = _missing(volume)
        raw, shown = (np.delete(image, missing, axis=0) if missing else image for image in (volume.pixels, predicted))
        self._n_seen += 1
        is_projection = self._card.task == "project"
        if self._is_due or self._hot.shape != raw.shape[1:]:
            self._hot = hot_pixels.hot_in(raw[:0] if is_projection else raw)
            self._blind = hot_pixels.blind_pixels(self._hot)
            fine = hot_pixels.mended(raw, self._hot)
            self._watch.look(fine, None if is_projection else shown, self._blind)
        if bool(self._watch.against) != was_against:
            self._pattern = PatternEstimate()  # it was learnt on top of the other camera
        camera = self._watch.camera
        return None if camera is None else camera.fitted(volume.pixels.shape[1:])

    @property
    def _is_due(self) -> bool:
        """Whether pixels and camera are looked at: in the first volumes, and every eighth later one."""
        return self._n_seen <= LEARN_VOLUMES or self._n_seen % LEARN_VOLUMES == 0

    def _with_pixels(self, raw: NDArray[Any], runs: Sequence[residual.PixelSums], camera: CameraModel) -> CameraModel:
        """Return a camera with the pixels' offsets and noise as earlier volumes of the run show them, or this one."""
        if self._pattern.fits(raw.shape[1:]) and self._pattern.known is not None:
            return self._pattern.known
        return of_one_volume(runs, camera)

    def _pixel_sums(self, raw: NDArray[Any], predicted: Array, camera: CameraModel) -> tuple[residual.PixelSums, ...]:
        if self._card.task == "project" or (self._pattern.fits(raw.shape[1:]) and not self._is_due):
            return ()
        return sums_of_runs(raw, predicted, camera)

    def _interval(self, restored: Restored) -> Array | None:
        """Return half of the network's interval of 90 % on wide squares of the raw volume; None: it gives none."""
        scale = restored.maps.get("laplace_scale")
        if scale is None:
            return None
        n_raw, ny, nx = restored.volume.pixels.shape
        half, side = WIDE_PX // 2, WIDE_PX
        rows, columns = (np.minimum(np.arange(0, n, side) + half, n - 1) for n in (ny, nx))
        coarse = forward.at_raw_planes(scale[:, rows[:, np.newaxis], columns], n_raw)
        return np.asarray(coarse * np.float32(half_width_factor(LEVEL, self._card.calibration)), np.float32)

    def _strange(self, restored: Restored, camera: CameraModel | None, features: tuple[float, ...]) -> tuple[str, ...]:
        volume = restored.volume
        seen = domain.VolumeTraits(
            voxel_size_um=volume.voxel_size_um,
            low=restored.low,
            high=restored.high,
            signal_electrons=None if camera is None else camera.electrons(restored.high),
            exposure_ms=volume.exposure_ms,
            pixel_bits=8 * volume.pixels.dtype.itemsize,
            saturated=saturated_share(volume.pixels),
            features=features,
            n_voxels=volume.pixels.size,
        )
        return (*self._watch.against, *domain.reasons(seen, self._card))


def _missing(volume: Volume) -> list[int]:
    """Return the places of planes that did not come, along the first axis."""
    missing = set(volume.integrity.missing)
    return [place for place, z in enumerate(volume.integrity.expected) if z in missing]


def _in_restored(doubt: Doubt, restored: Restored) -> Doubt:
    """Move a place from raw voxels to restored ones: their planes differ where a network makes more or fewer."""
    n_raw, (n_out, ny, nx) = len(restored.volume.pixels), restored.maps["mean"].shape
    z, y, x = doubt.place_px
    along = round(z * (n_out - 1) / max(n_raw - 1, 1)) if n_out != n_raw else z
    return replace(doubt, place_px=(along, min(y, ny - 1), min(x, nx - 1)))
