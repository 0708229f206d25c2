"""The gate: which network restores held-out volumes better, by second exposures that neither has learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.metrics import psnr_db
from care_live.model.card import CLEARLY_BETTER_DB
from care_live.restore.engine import Engine
from care_live.training.evaluation.evaluate import (
    Measure,
    best_gaussian,
    best_total_variation,
    by_exposure,
    noise_of_second,
)
from care_live.training.evaluation.inference import as_volume
from care_live.trust.measured_noise import pattern_sd_of, without_shared_pattern
from care_live.trust.photon_transfer import camera_of, transfer_points
from care_live.trust.reference import noise_variance

Pixels: TypeAlias = NDArray[Any]
Second: TypeAlias = Literal["bright", "dim"]

LEAST_GAIN_DB = 0.05
"""A network that gains less is as good as the one before."""
_MOST_PX = (16, 192, 192)
"""Of a volume, its middle is judged: filters are tuned on it, too."""
_SEED = 17


@dataclass(frozen=True, slots=True)
class GatedVolume:
    """PSNR of one held-out volume, and of what is made of it, decibels, less the noise of the second exposure.

    Where that leaves no error of an image, nothing is subtracted for any of them.
    """

    name: str
    raw_db: float
    filter_db: float
    """The best Gaussian, or total variation, tuned with the second exposure."""
    before_db: float
    """The config's network."""
    after_db: float
    """The new one."""


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """Whether a new network is better than the one before."""

    before: str
    """Name of the config's network."""
    second: Second
    volumes: tuple[GatedVolume, ...]

    @property
    def gain_db(self) -> float:
        """Return by how much the new network is better than the one before, decibels."""
        return self.mean("after_db") - self.mean("before_db")

    @property
    def is_better(self) -> bool:
        return self.gain_db >= LEAST_GAIN_DB

    @property
    def beats_filter(self) -> bool:
        return self.mean("after_db") >= self.mean("filter_db") + CLEARLY_BETTER_DB

    def mean(self, what: str) -> float:
        """Return the mean of a figure over the volumes."""
        return float(np.mean([getattr(one, what) for one in self.volumes]))

    def sentence(self) -> str:
        """Return the verdict in words."""
        how = (
            f"better than {self.before} by {self.gain_db:.1f} dB"
            if self.is_better
            else f"not better than {self.before} ({self.gain_db:+.1f} dB)"
        )
        by = "bright exposures" if self.second == "bright" else "second exposures"
        doubt = "" if self.beats_filter else "; but a filter does as well: use more prepare.pairs, or more minutes"
        return (
            f"{how}: {self.mean('after_db'):.1f} dB, {self.before} {self.mean('before_db'):.1f} dB, best filter "
            f"{self.mean('filter_db'):.1f} dB, raw {self.mean('raw_db'):.1f} dB on {len(self.volumes)} held-out "
            f"volumes, by their {by}{doubt}"
        )


def judge_volume(
    name: str, first: Pixels, second: Pixels, *, networks: tuple[Engine, Engine], kind: Second
) -> GatedVolume:
    """Score one held-out volume.

    Parameters
    ----------
    first, second : (c, z, y, x) counts of the two exposures
    networks : the config's and the new one, each with a range of its own for every volume
    """
    if kind == "dim":
        first, second = _unshared(first, second)
    restored = [restore(engine, first) for engine in networks]
    rows = []
    for c, (dim, other) in enumerate(zip(first, second, strict=True)):
        raw, truth = _middle(dim), _middle(other)
        measure = measure_of(dim, other, kind)
        filtered = (best_gaussian(raw, truth)[0], best_total_variation(raw, truth)[0])
        rows.append(_figures((raw, *filtered, *(_middle(image[c]) for image in restored)), truth, measure))
    return GatedVolume(name, *(round(float(figure), 2) for figure in np.mean(rows, axis=0)))


def _figures(images: Sequence[Pixels], second: Pixels, measure: Measure) -> tuple[float, ...]:
    """Return the PSNR of raw, the better of two filters, and both networks; all with noise where one leaves no error.

    Then gains come out too small, and which network is better stays right.
    """
    found = [measure(image, second) for image in images]
    if not np.isfinite(found).all():
        found = [psnr_db(image, second) for image in images]
    raw, gaussian, total_variation, *networks = found
    return raw, max(gaussian, total_variation), *networks


def _unshared(first: Pixels, second: Pixels) -> tuple[Pixels, Pixels]:
    """Return two dim exposures without a common pattern: else a network that keeps it is the better one."""
    images = [np.asarray(image, np.float32) for image in (first, second)]
    sd = pattern_sd_of(images[:1])
    return without_shared_pattern(images[0], images[1], sd, np.random.default_rng(_SEED))


def restore(engine: Engine, first: Pixels) -> list[Pixels]:
    """Return what a network makes of a volume, (c, z, y, x) counts; a network of one channel reads each by itself."""
    n_together = len(engine.card.channels_in)
    volumes = [as_volume(channel, c) for c, channel in enumerate(first)]
    groups = [volumes[start : start + n_together] for start in range(0, len(volumes), n_together)]
    return [result.mean for group in groups for result in engine.restore(group)]


def is_worth_starting_from(engine: Engine, first: Pixels, second: Pixels) -> bool:
    """Tell whether a network restores a volume better than the best Gaussian filter."""
    raw, truth = _middle(first[0]), _middle(second[0])
    return psnr_db(_middle(restore(engine, first)[0]), truth) > best_gaussian(raw, truth)[1]


def measure_of(first: Pixels, second: Pixels, kind: Second) -> Measure:
    """Return how an image is measured by a second exposure, (z, y, x) counts: PSNR less that exposure's own noise."""
    if kind == "dim":
        return by_exposure(noise_of_second(_middle(first, float), _middle(second, float)))
    camera = camera_of(transfer_points(first), "this volume")
    return by_exposure(float(np.mean([noise_variance(plane, camera).mean() for plane in _middle(second)])))


def _middle(image: Pixels, dtype: type | None = None) -> Pixels:
    window = tuple(
        slice(max(0, (size - most) // 2), max(0, (size - most) // 2) + most)
        for size, most in zip(image.shape, _MOST_PX, strict=True)
    )
    return np.asarray(image[window], dtype)
