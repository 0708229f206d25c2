"""Specimens other than the worm: beads, granules and tubules, over an uneven background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from care_live.simulate.grid import Grid, refine
from care_live.simulate.perlin import Perlin
from care_live.simulate.specimen import Particles, Profile

Array = NDArray[np.float64]

_COARSE = 8


@dataclass(frozen=True, slots=True)
class Box:
    """The space that a specimen fills."""

    size_um: tuple[float, float, float]
    """(z, y, x)."""
    centre_um: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Return n places in the box, (n, 3), evenly spread."""
        return np.asarray(self.centre_um + rng.uniform(-0.5, 0.5, (n, 3)) * self.size_um)

    def wrap(self, place_um: Array) -> Array:
        """Bring what left the box back in on the other side."""
        corner = np.asarray(self.centre_um) - np.asarray(self.size_um) / 2
        return np.asarray(corner + np.mod(place_um - corner, self.size_um))


class _Scattered:
    """What beads, granules and tubules share: fixed brightness, a background of low-frequency Perlin noise."""

    def __init__(self, seed: int, box: Box, profile: Profile, background: float) -> None:
        self._box = box
        self.profiles: tuple[Profile, ...] = (profile,)
        self._background = background
        self._clouds = Perlin(seed, cell_um=max(box.size_um) / 4)

    def haze(self, plane: Grid, t_s: float, channel: int = 0) -> NDArray[np.float32]:
        """Return the uneven background of one plane; it does not move."""
        coarse = plane.coarse(_COARSE)
        clouds = self._clouds.at(plane.origin_um[0], coarse.axis_um(1)[:, None], coarse.axis_um(2))
        return refine(np.float32(self._background) * (1 + clouds), _COARSE, plane.shape_px[1:])

    def _particles(self, place_um: Array, brightness: Array, channel: int) -> Particles:
        dimmed = brightness / (1 + 0.5 * channel)
        return Particles(place_um, dimmed.astype(np.float32), np.zeros(len(place_um), np.intp))


class Beads(_Scattered):
    """Sub-diffraction beads of one brightness that drift together, as on a warming stage."""

    def __init__(self, seed: int, box: Box, *, per_1000_um3: float = 0.6) -> None:
        super().__init__(seed, box, Profile(0.25, edge_um=0.25, peak=14.0), background=0.004)
        rng = np.random.default_rng((0xBEAD, seed))
        self._place_um = box.draw(_count(box, per_1000_um3), rng)
        self._brightness = rng.normal(1, 0.05, len(self._place_um)).clip(0.8, 1.2)
        self._drift = rng.normal(0, 1, 3) * (0.005, 0.02, 0.02)

    def particles(self, t_s: float, channel: int = 0) -> Particles:
        """Return the beads where the drift has carried them."""
        return self._particles(self._box.wrap(self._place_um + self._drift * t_s), self._brightness, channel)


class Granules(_Scattered):
    """Point-like granules of all brightnesses, each on its way."""

    def __init__(self, seed: int, box: Box, *, per_1000_um3: float = 3.0, radius_um: float = 0.35) -> None:
        super().__init__(seed, box, _thin(radius_um, peak=8.0 * (0.35 / radius_um) ** 3), background=0.03)
        rng = np.random.default_rng((0x64A2, seed))
        self._place_um = box.draw(_count(box, per_1000_um3), rng)
        self._brightness = rng.lognormal(-0.2, 0.5, len(self._place_um))
        self._speed_um_s = rng.normal(0, 1, self._place_um.shape) * (0.03, 0.15, 0.15)

    def particles(self, t_s: float, channel: int = 0) -> Particles:
        """Return the granules where they have gone."""
        return self._particles(self._box.wrap(self._place_um + self._speed_um_s * t_s), self._brightness, channel)


class Tubules(_Scattered):
    """Thin smooth curves in space that sway; drawn as chains of small links."""

    def __init__(self, seed: int, box: Box, *, per_1000_um3: float = 0.25, radius_um: float = 0.2) -> None:
        super().__init__(seed, box, _thin(radius_um, peak=5.0 * (0.2 / radius_um) ** 2), background=0.03)
        rng = np.random.default_rng((0x70BE, seed))
        n_curves = _count(box, per_1000_um3)
        curves = [_curve(box, rng, link_um=radius_um) for _ in range(n_curves)]
        self._place_um = np.concatenate([places for places, _ in curves])
        self._across = np.concatenate([across for _, across in curves])
        lengths = [len(places) for places, _ in curves]
        self._along_um = radius_um * np.concatenate([np.arange(n) for n in lengths])
        self._brightness = np.repeat(rng.lognormal(-0.1, 0.3, n_curves), lengths)
        self._phase = np.repeat(rng.uniform(0, 2 * np.pi, n_curves), lengths)

    def particles(self, t_s: float, channel: int = 0) -> Particles:
        """Return the links; waves of 0.6 um run along every curve."""
        sway_um = 0.6 * np.sin(2 * np.pi * (self._along_um / 18 - t_s / 12) + self._phase)
        place_um = self._place_um.copy()
        place_um[:, 1:] += sway_um[:, None] * self._across
        return self._particles(place_um, self._brightness, channel)


def _thin(radius_um: float, *, peak: float) -> Profile:
    """Return a soft ball; thin ones are brighter, so that blurred they look alike."""
    return Profile(radius_um, edge_um=min(0.3, radius_um), peak=peak)


def _curve(box: Box, rng: np.random.Generator, *, link_um: float) -> tuple[Array, Array]:
    """Draw one curve: its links (n, 3) and the direction (y, x) across each of them."""
    length_um = rng.uniform(20, 70)
    n = int(length_um / link_um)
    knots = np.linspace(0, n, max(4, int(length_um / 5)))
    turn = np.interp(np.arange(n), knots, rng.normal(0, 0.35, len(knots)).cumsum())
    heading = rng.uniform(0, 2 * np.pi) + turn
    climb = 0.2 * np.sin(np.linspace(0, rng.uniform(2, 9), n) + rng.uniform(0, 2 * np.pi))
    steps = link_um * np.stack([climb, np.sin(heading), np.cos(heading)], axis=1)
    return box.draw(1, rng) + np.cumsum(steps, axis=0), np.stack([np.cos(heading), -np.sin(heading)], axis=1)


def _count(box: Box, per_1000_um3: float) -> int:
    return int(np.clip(np.prod(box.size_um) / 1000 * per_1000_um3, 8, 4000))
