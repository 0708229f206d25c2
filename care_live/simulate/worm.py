"""A live flatworm: a body that crawls and bends, and nuclei that move with it.

Everything sits in body coordinates (u, v, w): u from head (0) to tail (1) along the midline, v from the left
edge (-1) to the right (1), w from the belly (-1) to the back (1). Only the midline moves. The plan of the
body follows *Schmidtea mediterranea*: a triangular head with auricles, two eyes, a two-lobed brain, two
ventral nerve cords, a gut of one branch forward and two backward, a pharynx behind the middle.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from care_live.simulate.grid import Grid, refine
from care_live.simulate.perlin import Perlin
from care_live.simulate.specimen import Particles, Profile

Array = NDArray[np.float64]

_OUTLINE_U = (0.0, 0.02, 0.05, 0.09, 0.125, 0.16, 0.22, 0.35, 0.5, 0.65, 0.8, 0.92, 0.98, 1.0)
_OUTLINE_WIDTH = (0.0, 0.045, 0.085, 0.13, 0.142, 0.118, 0.124, 0.16, 0.17, 0.155, 0.112, 0.055, 0.022, 0.0)
_NODES = np.linspace(0, 1, 129)
_COARSE = 4
_RADII_UM = (1.1, 1.5, 1.9, 2.4, 3.0)
_TEXTURES = 4

PROFILES = tuple(
    Profile(radius, contrast=0.25 + 0.1 * texture, texture_seed=10 * size + texture)
    for size, radius in enumerate(_RADII_UM)
    for texture in range(_TEXTURES)
)
"""Every worm draws its nuclei from these, so that blurring them is done once."""


@dataclass(frozen=True, slots=True, eq=False)
class Nuclei:
    """Nuclei in body coordinates."""

    uvw: Array
    """(n, 3)."""
    size: NDArray[np.intp]
    """(n,) index into the radii."""
    brightness: Array
    """(n, n_channels)."""


@dataclass(frozen=True, slots=True, eq=False)
class Midline:
    """The bent axis of the body at one moment."""

    y_um: Array
    x_um: Array
    """(n,) from head to tail."""
    heading: Array
    """(n,) direction from tail to head, radians."""
    length_um: float

    def place(self, u: Array, side_um: Array) -> tuple[Array, Array]:
        """Return (y, x) of the points at ``u`` along the midline and ``side_um`` to its right."""
        heading = np.interp(u, _NODES, self.heading)
        y_um = np.interp(u, _NODES, self.y_um) + side_um * np.cos(heading)
        x_um = np.interp(u, _NODES, self.x_um) - side_um * np.sin(heading)
        return y_um, x_um


class Worm:
    """A flatworm that lives in a field and stays inside it.

    Parameters
    ----------
    seed : which worm; the same seed is the same worm with the same habits
    field_um : (y, x) size of the field it stays in
    thickness_um : largest thickness of its body
    centre_um : (z, y, x) middle of the field
    """

    n_channels = 4

    def __init__(
        self,
        seed: int,
        field_um: tuple[float, float] = (128.0, 128.0),
        *,
        thickness_um: float = 22.0,
        centre_um: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        rng = np.random.default_rng((0x3048, seed))
        self._centre_um = centre_um
        self._field_um = field_um
        self._length_um = 0.86 * min(field_um) * rng.uniform(0.92, 1.0)
        self._thickness_um = thickness_um * rng.uniform(0.85, 1.0)
        self._phase = rng.uniform(0, 2 * np.pi, 6)
        self._turn = rng.choice((-1.0, 1.0))
        self._tissue = Perlin(seed, cell_um=7.0)
        self._nuclei = _populate(rng, self._length_um, self._thickness_um)
        self._outline = lru_cache(maxsize=4)(self._flat_body)
        self.midline = lru_cache(maxsize=16)(self._bend)

    @property
    def profiles(self) -> tuple[Profile, ...]:
        return PROFILES

    def _bend(self, t_s: float) -> Midline:
        """Return where the midline is: it turns slowly, waves pass along it, and its middle wanders."""
        a, b, c, d, e, f = self._phase
        wave = 0.38 * np.sin(2 * np.pi * (0.75 * _NODES - t_s / 17) + b)
        curl = 0.9 * np.sin(2 * np.pi * t_s / 61 + c) * (_NODES - 0.5)
        heading = a + self._turn * 2 * np.pi * t_s / 240 + wave + curl
        length_um = self._length_um * (1 + 0.04 * np.sin(2 * np.pi * t_s / 11 + d))
        step = np.gradient(_NODES) * length_um
        y_um, x_um = -np.cumsum(np.sin(heading) * step), -np.cumsum(np.cos(heading) * step)
        free_um = 0.03 * np.asarray(self._field_um)
        middle = (np.array(self._centre_um[1:])) + free_um * np.sin(2 * np.pi * t_s / np.array([43, 37]) + (e, f))
        y_um += middle[0] - (y_um.min() + y_um.max()) / 2
        x_um += middle[1] - (x_um.min() + x_um.max()) / 2
        return Midline(y_um, x_um, heading, length_um)

    def particles(self, t_s: float, channel: int = 0) -> Particles:
        """Return the nuclei where the body has carried them."""
        u, v, w = self._nuclei.uvw.T
        midline = self.midline(t_s)
        y_um, x_um = midline.place(u, v * half_width(u) * midline.length_um)
        z_um = self._centre_um[0] + w * self._half_thickness_um(u, v)
        texture = np.arange(len(u)) % _TEXTURES
        return Particles(
            np.stack([z_um, y_um, x_um], axis=1),
            self._nuclei.brightness[:, channel % self.n_channels].astype(np.float32),
            self._nuclei.size * _TEXTURES + texture,
        )

    def haze(self, plane: Grid, t_s: float, channel: int = 0) -> NDArray[np.float32]:
        """Return the autofluorescence of its tissue in one plane, faint and cloudy."""
        coarse = plane.coarse(_COARSE)
        flat = Grid(coarse.shape_px, coarse.voxel_size_um, (0.0, *coarse.origin_um[1:]))
        half_um, cloud = self._outline(flat, t_s)
        inside = np.clip((half_um - abs(plane.origin_um[0] - self._centre_um[0])) / 3.0 + 0.5, 0, 1)
        glow = (0.055, 0.09, 0.07, 0.04)[channel % self.n_channels]
        return refine((glow * inside * cloud).astype(np.float32), _COARSE, plane.shape_px[1:])

    def _half_thickness_um(self, u: Array, v: Array) -> Array:
        """Return half the body's thickness: round across, thinner at both ends, 0 outside."""
        blunt = np.sqrt(np.clip(half_width(u) / max(_OUTLINE_WIDTH), 0, 1))
        return np.asarray(self._thickness_um / 2 * blunt * np.sqrt(np.clip(1 - v**2, 0, None)))

    def _flat_body(self, plane: Grid, t_s: float) -> tuple[Array, Array]:
        """Return half the thickness (below 0 outside) and the cloudiness of the tissue, each (y, x)."""
        midline = self.midline(t_s)
        y_um, x_um = plane.axis_um(1)[:, None], plane.axis_um(2)
        nodes = slice(None, None, 2)
        away = (y_um[..., None] - midline.y_um[nodes]) ** 2 + (x_um[..., None] - midline.x_um[nodes]) ** 2
        nearest = 2 * np.argmin(away, axis=-1)
        u, heading = _NODES[nearest], midline.heading[nearest]
        side = (y_um - midline.y_um[nearest]) * np.cos(heading) - (x_um - midline.x_um[nearest]) * np.sin(heading)
        along = (y_um - midline.y_um[nearest]) * np.sin(heading) + (x_um - midline.x_um[nearest]) * np.cos(heading)
        v = side / (half_width(u) * midline.length_um + 1e-6)
        inside = (np.abs(v) < 1) & (np.abs(along) < 0.02 * midline.length_um)
        half_um = np.where(inside, self._half_thickness_um(u, v), -3.0)
        cloud = np.ones_like(v)
        u, v, side = u[inside], v[inside], side[inside]
        cloud[inside] += 0.6 * self._tissue.at(0.0, u * midline.length_um, side) - 0.45 * in_gut(u, v)
        return half_um, np.clip(cloud, 0.1, None)


def half_width(u: Array) -> Array:
    """Return half the body's width at ``u``, as a fraction of its length."""
    return np.asarray(np.interp(u, _OUTLINE_U, _OUTLINE_WIDTH))


def in_gut(u: Array, v: Array) -> Array:
    """Return 1 in the gut's three branches and 0 elsewhere, with soft edges."""
    wiggle = 0.06 * np.sin(60 * u)
    forward = np.clip(1.5 - np.abs(v + wiggle) / 0.12, 0, 1) * (u > 0.2) * (u < 0.52)
    backward = np.clip(1.5 - np.abs(np.abs(v) - 0.4 + wiggle) / 0.1, 0, 1) * (u > 0.5) * (u < 0.9)
    return np.asarray(np.clip(forward + backward, 0, 1))


def _populate(rng: np.random.Generator, length_um: float, thickness_um: float) -> Nuclei:
    """Fill the body with nuclei that do not overlap: organs first, then the tissue between them."""
    area_um2 = 2 * length_um**2 * np.trapezoid(half_width(_NODES), _NODES)
    wanted = int(np.clip(area_um2 * thickness_um / 85, 60, 1600))
    organs = [
        (_eyes(), 4, 3.2),
        (_lobes(rng, wanted // 6), 1, 1.5),
        (_cords(rng, wanted // 8), 1, 1.1),
        (_pharynx(rng, wanted // 14), 2, 1.0),
        (_skin(rng, wanted // 3), 0, 0.7),
        (_parenchyma(rng, 3 * wanted), None, 0.85),
    ]
    uvw = np.concatenate([places for places, _, _ in organs])
    size = np.concatenate([_sizes(rng, len(places), usual) for places, usual, _ in organs])
    level = np.concatenate([np.full(len(places), brightness) for places, _, brightness in organs])
    kept = _apart(uvw, np.asarray(_RADII_UM)[size], length_um, thickness_um)[:wanted]
    shared = rng.lognormal(0, 0.3, len(uvw))[:, None]
    own = rng.lognormal(0, [0.05, 0.35, 0.45, 0.6], (len(uvw), Worm.n_channels))
    return Nuclei(uvw[kept], size[kept], (level[:, None] * shared * own)[kept])


def _sizes(rng: np.random.Generator, n: int, usual: int | None) -> NDArray[np.intp]:
    middle = rng.integers(1, 4, n) if usual is None else np.full(n, usual)
    return np.asarray(np.clip(middle + rng.integers(-1, 2, n), 0, len(_RADII_UM) - 1), np.intp)


def _eyes() -> Array:
    return np.array([[0.095, -0.34, 0.55], [0.095, 0.34, 0.55]])


def _lobes(rng: np.random.Generator, n: int) -> Array:
    """Place the brain: two lobes that meet in front, like a horseshoe."""
    u = rng.uniform(0.06, 0.22, n)
    v = rng.choice((-1, 1), n) * (0.18 + 1.6 * (u - 0.06) + rng.normal(0, 0.09, n))
    return np.stack([u, np.clip(v, -0.8, 0.8), rng.uniform(-0.75, 0.35, n)], axis=1)


def _cords(rng: np.random.Generator, n: int) -> Array:
    u = rng.uniform(0.2, 0.95, n)
    return np.stack([u, rng.choice((-1, 1), n) * 0.62 + rng.normal(0, 0.05, n), rng.uniform(-0.7, -0.4, n)], axis=1)


def _pharynx(rng: np.random.Generator, n: int) -> Array:
    """Place the wall of a tube around the midline, behind the middle."""
    angle = rng.uniform(0, 2 * np.pi, n)
    return np.stack([rng.uniform(0.55, 0.73, n), 0.2 * np.cos(angle), 0.5 * np.sin(angle)], axis=1)


def _skin(rng: np.random.Generator, n: int) -> Array:
    """Place nuclei just under the surface, back and belly and the rim."""
    u, v = _flat(rng, n)
    return np.stack([u, 0.94 * v, rng.choice((-0.93, 0.93), n)], axis=1)


def _parenchyma(rng: np.random.Generator, n: int) -> Array:
    u, v = _flat(rng, n)
    w = rng.uniform(-0.85, 0.85, n)
    keep = rng.uniform(size=n) > 0.85 * in_gut(u, v) * (np.abs(w) < 0.6)
    return np.stack([u, 0.94 * v, w], axis=1)[keep]


def _flat(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    """Draw (u, v) evenly over the body seen from above."""
    area = np.cumsum(half_width(_NODES))
    u = np.interp(rng.uniform(0, area[-1], n), area, _NODES)
    return np.clip(u, 0.01, 0.985), rng.uniform(-1, 1, n)


def _apart(uvw: Array, radius_um: Array, length_um: float, thickness_um: float) -> NDArray[np.intp]:
    """Return the nuclei, in order, that keep clear of all those before them in the straight body."""
    u, v, w = uvw.T
    breadth = half_width(u)
    deep = (
        thickness_um / 2 * np.sqrt(np.clip(breadth / max(_OUTLINE_WIDTH), 0, 1)) * np.sqrt(np.clip(1 - v**2, 0, None))
    )
    place = np.stack([u * length_um, v * breadth * length_um, w * deep], axis=1)
    kept: list[int] = []
    near = np.empty((len(uvw), 4))  # z, y, x and radius of those kept so far
    for candidate, (at, radius) in enumerate(zip(place, radius_um, strict=True)):
        gap = near[: len(kept), :3] - at
        reach = near[: len(kept), 3] + radius
        if not np.any(np.einsum("ij,ij->i", gap, gap) < (0.85 * reach) ** 2):
            near[len(kept)] = (*at, radius)
            kept.append(candidate)
    return np.array(kept, dtype=np.intp)
