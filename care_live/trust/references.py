"""What reference planes say of a run: its measured error, and how much wider its intervals must be."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import msgspec
import numpy as np

from care_live.config import ReferenceConfig
from care_live.images import REFERENCE, ModelIdentity, Plan, Restored, Volume, VolumeKey, read_only
from care_live.model.card import Calibration, NetworkVerdict
from care_live.recorded.run_records import RawStored, RestoredStored
from care_live.trust import promise
from care_live.trust.first_exposures import FirstExposures, figures_of, first_exposures_of
from care_live.trust.reference import ErrorFigures, followed
from care_live.verdict import MeasuredError, Trust

logger = logging.getLogger(__name__)

PositionChannel: TypeAlias = tuple[int, int]
"""Position and channel."""

_MAX_WAITING = 64
_MAX_BYTES = 256 << 20
"""Of references that wait for their twins to be restored, or the other way round; the oldest is dropped."""
_LONGEST = 300
"""Characters of a reason."""
_LEAST_COVERAGE = 0.8
"""Of the interval of 90 %: below it the verdict is amber."""


@dataclass(frozen=True, slots=True)
class KnownError:
    """What reference planes have shown of one position and channel so far."""

    measured: MeasuredError
    model: ModelIdentity
    """The network that erred; another one errs by something else."""


class References:
    """Takes reference volumes from the intake, and measures with them what the restoring stage brings.

    Either may come first. Both threads may call at any time.

    Parameters
    ----------
    wanted : the settings of the references; None: others expose them
    """

    def __init__(self, plan: Plan, wanted: ReferenceConfig | None = None) -> None:
        self._plan, self._wanted = plan, wanted
        self._again = {twin: c for c in range(len(plan.channels)) if (twin := plan.twin_of(c)) is not None}
        self._waiting: OrderedDict[VolumeKey, Volume] = OrderedDict()
        self._restored: OrderedDict[VolumeKey, FirstExposures] = OrderedDict()
        self._late: list[tuple[FirstExposures, Volume]] = []
        self._known: dict[PositionChannel, KnownError] = {}
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
            key = volume.key._replace(c=twin)
            if (first := self._restored.pop(key, None)) is not None:
                self._late.append((first, volume))
                return
            self._waiting[key] = volume
            _drop_oldest(self._waiting, {one: waiting.pixels.nbytes for one, waiting in self._waiting.items()})

    def go_on(self, measured: Mapping[PositionChannel, RestoredStored], stored: Iterable[RawStored]) -> None:
        """Take over what a run that is resumed has measured and exposed before."""
        for place, one in measured.items():
            if one.trust is not None and one.trust.measured is not None:
                self._known[place] = KnownError(one.trust.measured, one.model)
        for record in stored:
            self._count(record)

    def know(self, known: Mapping[PositionChannel, KnownError]) -> None:
        """Take over what another process has measured in the time points before."""
        self._known.update(known)

    @property
    def known(self) -> dict[PositionChannel, KnownError]:
        """What is known by now; another process may go on with it."""
        return dict(self._known)

    def exposed(self, light_ms: float, reference_ms: float) -> None:
        """Put the light of a recording in the place of what was counted: of all its planes so far, and of references.

        Parameters
        ----------
        light_ms, reference_ms : sums of exposure times, see `care_live.offline.time_points.TimePoints.light_until`
        """
        with self._lock:
            self._exposed_ms, self._reference_ms = light_ms, reference_ms

    def _count(self, exposed: Volume | RawStored) -> None:
        light_ms = len(exposed.integrity.received) * (exposed.exposure_ms or 0.0)
        if self._plan.twin_of(exposed.key.c) is None:
            self._exposed_ms += light_ms
        else:
            self._reference_ms += light_ms * self._brightness(exposed.key.c)

    def _brightness(self, c: int) -> float:
        """Return how many times more light than its twin a reference gets in the same time."""
        if self._wanted is None or not self._wanted.presets:
            return 1.0
        channel = self._plan.channels[c].partition(REFERENCE)[0]  # a camera's label may follow
        return 1.0 if self._wanted.preset_of(channel) is None else self._wanted.light

    def judged(
        self, restored: Restored, calibration: Calibration | None, promised: NetworkVerdict | None = None
    ) -> Restored:
        """Return a restored volume with the measured error in its verdict, and scales that hold what they say.

        Parameters
        ----------
        promised : the error of the network on the volumes of its validation, as its card says; None: it does not
        """
        if restored.key.c not in self._again:
            return restored
        try:
            known, unmeasured = self._learn(restored, calibration, promised)
        except Exception:  # what is measured beside a run must not end it
            logger.exception("reference not measured key=%s", tuple(restored.key))
            known, unmeasured = self._known_of(restored), ""
        return _widened(_noted(restored, unmeasured), known)

    def _learn(
        self, restored: Restored, calibration: Calibration | None, promised: NetworkVerdict | None
    ) -> tuple[KnownError | None, str]:
        """Measure this volume, where its reference is there, and those whose references came late."""
        with self._lock:
            reference = self._waiting.pop(restored.key, None)
            late, self._late = self._late, []
        said = [why for pair in late if (why := self._measure(*pair)[1])]
        own = None
        if reference is not None or self._may_come(restored.key):
            first = first_exposures_of(restored, self._heights(restored, reference), calibration, promised)
            if reference is None:
                self._keep(first)
            else:
                own, why = self._measure(first, reference)
                said += [why] if why else []
        return own or self._known_of(restored), "; ".join(said)[:_LONGEST]

    def _known_of(self, one: Restored | FirstExposures) -> KnownError | None:
        """Return what is known of the network that made a volume, at its place."""
        known = self._known.get((one.key.p, one.key.c))
        return known if known is not None and known.model == one.model else None

    def _heights(self, restored: Restored, reference: Volume | None) -> tuple[int, ...]:
        """Return the z indices of the reference of a volume; all of them where that is not known."""
        if reference is not None:
            return reference.integrity.received
        again = restored.key._replace(c=self._again[restored.key.c])
        return self._plan.planes_of(again) or restored.volume.integrity.expected

    def _may_come(self, key: VolumeKey) -> bool:
        """Tell whether a reference of a volume may be exposed."""
        known = bool(self._plan.stacks) and not self._plan.endless
        return not known or key._replace(c=self._again[key.c]) in self._plan.stacks

    def _keep(self, first: FirstExposures) -> None:
        """Keep planes until their reference comes."""
        with self._lock:
            if (reference := self._waiting.pop(first.key, None)) is not None:  # it came meanwhile
                self._late.append((first, reference))
                return
            self._restored[first.key] = first
            _drop_oldest(self._restored, {key: one.nbytes for key, one in self._restored.items()})

    def _measure(self, first: FirstExposures, reference: Volume) -> tuple[KnownError | None, str]:
        """Measure one volume; what an older one shows, which was restored late, holds for itself alone.

        Returns
        -------
        What is known now, or why the reference says nothing.
        """
        try:
            figures = figures_of(first, reference)
        except ValueError as error:
            logger.warning("reference says nothing key=%s reason=%s", tuple(reference.key), error)
            return None, f"the reference at time point {first.key.t} says nothing: {error}"
        place, before = (first.key.p, first.key.c), self._known_of(first)
        known = _learnt(before, figures, first, self._dose())
        newest = self._known.get(place)
        if newest is None or known.measured.t > newest.measured.t:
            self._known[place] = known
        _log(first.key, known.measured)
        return known, ""

    def _dose(self) -> float:
        with self._lock:
            return self._reference_ms / self._exposed_ms if self._exposed_ms else 0.0


def _drop_oldest(kept: OrderedDict[VolumeKey, Any], sizes: Mapping[VolumeKey, int]) -> None:
    """Drop the oldest of what waits, until it is few and small."""
    total = sum(sizes.values())
    while kept and (len(kept) > _MAX_WAITING or total > _MAX_BYTES):
        key, _ = kept.popitem(last=False)
        total -= sizes[key]


def _log(key: VolumeKey, measured: MeasuredError) -> None:
    logger.info(
        "reference measured t=%d p=%d c=%d psnr=%.1f dB coverage=%s widening=%.2f dose=%.2f%% moved=%.1f px",
        *key,
        measured.psnr_db,
        "-" if measured.coverage is None else f"{measured.coverage:.3f}",
        measured.widening,
        100 * measured.dose,
        measured.shift_px,
    )


def _learnt(before: KnownError | None, figures: ErrorFigures, first: FirstExposures, dose: float) -> KnownError:
    """Return what is known after one more reference."""
    t = first.key.t
    drawn = before.measured.widening if before else 1.0
    coverage, wanted = figures.coverage(drawn), figures.wanted_widening()
    widening = 1.0 if wanted is None else followed(drawn, wanted)
    reasons = []
    if coverage is not None and coverage < _LEAST_COVERAGE:
        reasons.append(
            f"at time point {t} the intervals of 90 % held {coverage:.0%} of a reference plane: from there on they are "
            f"drawn {widening:.1f} times as wide as the network says"
        )
    broke = _broken(before, figures, first)
    if first.promised is not None and len(broke) >= promise.N_IN_A_ROW:
        reasons.append(promise.sentence(broke, figures, first.promised))
    return KnownError(
        MeasuredError(t, figures.psnr_db, coverage, widening, dose, figures.shift_px, tuple(reasons), broke),
        first.model,
    )


def _broken(before: KnownError | None, figures: ErrorFigures, first: FirstExposures) -> tuple[int, ...]:
    """Return the first and the newest time point in a row that were clearly worse than the card says."""
    if not promise.is_broken(figures, first.promised):
        return ()
    return tuple(sorted((*(before.measured.broke[:1] if before else ()), first.key.t)))


def _noted(restored: Restored, unmeasured: str) -> Restored:
    """Say why a reference was no use; its colour stays, as that says nothing of the restoration."""
    if not unmeasured:
        return restored
    return msgspec.structs.replace(restored, trust=replace(restored.trust or Trust("green"), unmeasured=unmeasured))


def _widened(restored: Restored, known: KnownError | None) -> Restored:
    if known is None:
        return restored
    trust = restored.trust or Trust("green")
    measured = known.measured
    colour = "amber" if measured.reasons and trust.colour == "green" else trust.colour
    trust = replace(trust, colour=colour, reasons=(*trust.reasons, *measured.reasons), measured=measured)
    scale, widening = restored.maps.get("laplace_scale"), measured.widening
    if scale is None or widening == 1.0:
        return msgspec.structs.replace(restored, trust=trust)
    maps = {**restored.maps, "laplace_scale": read_only(scale * np.float32(widening))}
    return msgspec.structs.replace(restored, maps=maps, trust=trust)
