"""What a specimen is: particles that carry fluorophores, and a faint haze between them.

Particles are small bodies of a few shapes (`Profile`): nuclei, beads, granules, the links of a tubule. They
are drawn as stamps that the point spread function has already blurred (`care_live.simulate.stamps`), which
is what makes a plane cheap. The haze varies slowly against the point spread function, so blurring would not
change it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from care_live.simulate.grid import Grid


@dataclass(frozen=True, slots=True)
class Profile:
    """A ball with a soft edge and, if wanted, a texture of brighter and darker spots."""

    radius_um: float
    edge_um: float = 0.3
    contrast: float = 0.0
    """Relative depth of the texture, 0 is a plain ball."""
    texture_seed: int = 0
    peak: float = 1.0
    """Density in its middle; above 1 for bodies so small that the microscope spreads them thin."""

    @property
    def reach_um(self) -> float:
        """How far from its middle anything of it is seen."""
        return self.radius_um + self.edge_um

    def density(self, z: NDArray[np.float64], y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the fluorophore density at the given distances from its centre.

        Parameters
        ----------
        z, y, x : (n,) micrometres along each axis

        Returns
        -------
        (len(z), len(y), len(x)) float32
        """
        distance = np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2)
        ball = np.clip((self.radius_um - distance) / self.edge_um + 0.5, 0, 1)
        return np.asarray(self.peak * ball * self._texture(z, y, x), np.float32)

    def _texture(self, z: NDArray[np.float64], y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
        texture = np.ones((len(z), len(y), len(x)))
        if self.contrast:
            rng = np.random.default_rng(self.texture_seed)
            spot_um = 0.35 * self.radius_um
            for centre in rng.uniform(-0.6, 0.6, (7, 3)) * self.radius_um:
                z2, y2, x2 = ((axis - middle) ** 2 for axis, middle in zip((z, y, x), centre, strict=True))
                spot = np.exp(-(z2[:, None, None] + y2[:, None] + x2) / (2 * spot_um**2))
                texture += self.contrast * rng.choice((-1.0, 1.0)) * spot
        return np.clip(texture, 0.1, None)


@dataclass(frozen=True, slots=True, eq=False)
class Particles:
    """Where the particles are at one moment, and how bright."""

    position_um: NDArray[np.float64]
    """(n, 3): z, y, x."""
    brightness: NDArray[np.float32]
    """(n,) factor on the profile's density."""
    profile: NDArray[np.intp]
    """(n,) index into the specimen's profiles."""


class Specimen(Protocol):
    """Something to look at; the same moment always looks the same."""

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """Shapes of its particles."""

    def particles(self, t_s: float, channel: int = 0) -> Particles:
        """Return its particles at one moment, as one dye (channel) shows them."""

    def haze(self, plane: Grid, t_s: float, channel: int = 0) -> NDArray[np.float32]:
        """Return the slowly varying density, (y, x), in one plane."""
