"""What reference planes say of a run: its measured error, and how much wider its intervals must be."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import msgspec
import numpy as np

from care_live.images import Plan, Restored, Volume, VolumeKey, read_only
from care_live.model.card import Calibration
from care_live.model.reliability import half_width_factor
from care_live.recorded.run_records import RawStored
from care_live.trust.photon_transfer import camera_of, transfer_points
from care_live.trust.reference import LEVEL, ErrorFigures, Twins, followed, measure
from care_live.verdict import MeasuredError, Trust

logger = logging.getLogger(__name__)

Place: TypeAlias = tuple[int, int]
"""Position and channel."""

_MAX_WAITING = 64
"""References that wait for their twins to be restored; the oldest one makes room."""
_LEAST_COVERAGE = 0.8
"""Of the interval of 90 %: below it the verdict is amber."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of one position and channel."""

    measured: MeasuredError
    reasons: tuple[str, ...]


class References:
    """Takes reference volumes from the intake, and measures with them what the restoring stage brings.

    Both threads may call at any time.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._waiting: OrderedDict[VolumeKey, Volume] = OrderedDict()
        self._known: dict[Place, _Known] = {}
        self._lock = threading.Lock()
        self._exposed_ms = self._reference_ms = 0.0

    def is_reference(self, key: VolumeKey) -> bool:
        """Tell whether a volume shows another channel once more; it is compared, not restored."""
        return self._plan.twin_of(key.c) is not None

    def take(self, volume: Volume) -> None:
        """Count the light of a raw volume, and keep it where it is a reference."""
        twin = self._plan.twin_of(volume.key.c)
        with self._lock:
            self._count(volume)
            if twin is None:
                return
            self._waiting[volume.key._replace(c=twin)] = volume
            while len(self._waiting) > _MAX_WAITING:
                self._waiting.popitem(last=False)

    def go_on(self, measured: Mapping[Place, MeasuredError], stored: Iterable[RawStored]) -> None:
        """Take over what a run that is resumed has measured and exposed before."""
        self._known |= {place: _Known(error, ()) for place, error in measured.items()}
        for record in stored:
            self._count(record)

    def _count(self, exposed: Volume | RawStored) -> None:
        light_ms = len(exposed.integrity.received) * (exposed.exposure_ms or 0.0)
        if self._plan.twin_of(exposed.key.c) is None:
            self._exposed_ms += light_ms
        else:
            self._reference_ms += light_ms

    def judged(self, restored: Restored, calibration: Calibration | None) -> Restored:
        """Return a restored volume with the measured error in its verdict, and scales that hold what they say."""
        with self._lock:
            reference = self._waiting.pop(restored.key, None)
            dose = self._reference_ms / self._exposed_ms if self._exposed_ms else 0.0
        known = self._known.get((restored.key.p, restored.key.c))
        if reference is not None:
            try:
                known = self._measured(restored, reference, calibration, dose=dose) or known
            except Exception:  # what is measured beside a run must not end it
                logger.exception("reference not measured key=%s", tuple(reference.key))
        return restored if known is None else _widened(restored, known)

    def _measured(
        self, restored: Restored, reference: Volume, calibration: Calibration | None, *, dose: float
    ) -> _Known | None:
        """Measure one volume; what an older one shows, which was restored late, holds for itself alone."""
        place = restored.key.p, restored.key.c
        twins = list(_twins(restored, reference, calibration))
        try:
            camera = camera_of(transfer_points(restored.volume.pixels), "this volume")
            figures = measure(twins, camera) if twins else None
        except ValueError as error:
            logger.info("reference says nothing key=%s reason=%s", tuple(reference.key), error)
            return None
        if figures is None:
            logger.info("reference has no twin key=%s: its plane is lost, or the network gives others", reference.key)
            return None
        before = self._known.get(place)
        known = _learnt(before, figures, restored.key.t, dose)
        if before is None or known.measured.t > before.measured.t:
            self._known[place] = known
        _log(restored.key, known.measured)
        return known


def _log(key: VolumeKey, measured: MeasuredError) -> None:
    logger.info(
        "reference measured t=%d p=%d c=%d psnr=%.1f dB coverage=%s widening=%.2f dose=%.2f%%",
        *key,
        measured.psnr_db,
        "-" if measured.coverage is None else f"{measured.coverage:.3f}",
        measured.widening,
        100 * measured.dose,
    )


def _twins(restored: Restored, reference: Volume, calibration: Calibration | None) -> Iterator[Twins]:
    """Yield the planes that were exposed twice and are there both times."""
    volume, mean, scale = restored.volume, restored.maps["mean"], restored.maps.get("laplace_scale")
    if mean.shape != volume.pixels.shape or reference.pixels.shape[1:] != volume.pixels.shape[1:]:
        return
    factor = half_width_factor(LEVEL, calibration)
    received = set(volume.integrity.received) & set(reference.integrity.received)
    for place, z in enumerate(reference.integrity.expected):
        if z in received and z in volume.integrity.expected:
            own = volume.integrity.expected.index(z)
            half_width = None if scale is None else factor * scale[own].astype(np.float64)
            yield Twins(volume.pixels[own], reference.pixels[place], mean[own], half_width)


def _learnt(before: _Known | None, figures: ErrorFigures, t: int, dose: float) -> _Known:
    """Return what is known after one more reference."""
    drawn = before.measured.widening if before else 1.0
    coverage, wanted = figures.coverage(drawn), figures.wanted_widening()
    widening = 1.0 if wanted is None else followed(drawn, wanted)
    reasons = []
    if coverage is not None and coverage < _LEAST_COVERAGE:
        reasons.append(
            f"at time point {t} the intervals of 90 % held {coverage:.0%} of a reference plane: from there on they are "
            f"drawn {widening:.1f} times as wide as the network says"
        )
    return _Known(MeasuredError(t, figures.psnr_db, coverage, widening, dose), tuple(reasons))


def _widened(restored: Restored, known: _Known) -> Restored:
    trust = restored.trust or Trust("green")
    colour = "amber" if known.reasons and trust.colour == "green" else trust.colour
    trust = replace(trust, colour=colour, reasons=(*trust.reasons, *known.reasons), measured=known.measured)
    scale, widening = restored.maps.get("laplace_scale"), known.measured.widening
    if scale is None or widening == 1.0:
        return msgspec.structs.replace(restored, trust=trust)
    maps = {**restored.maps, "laplace_scale": read_only(scale * np.float32(widening))}
    return msgspec.structs.replace(restored, maps=maps, trust=trust)
