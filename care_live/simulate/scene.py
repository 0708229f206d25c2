"""What the virtual microscope looks at: specimens on a slide, when, and under how much light.

Specimen time does not follow the clock. It stands still while one time point is recorded and moves on by
`VirtualConfig.specimen_step_s` from one time point to the next. So the ground truth of a volume follows from
the configuration and the volume's key alone. Which time point an exposure belongs to is found by counting
exposures; time must therefore be the acquisition's outermost axis, as it is by default.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from care_live.config import Position, VirtualConfig
from care_live.errors import ConfigError
from care_live.images import VolumeKey
from care_live.simulate import noise
from care_live.simulate.grid import Grid
from care_live.simulate.microscope import LOW_LIGHT_MS, Light, Microscope, Sensor, sensor
from care_live.simulate.specimen import Specimen
from care_live.simulate.structures import Beads, Box, Granules, Tubules
from care_live.simulate.worm import Worm

_SAME_PLACE = 0.5
"""Stage positions closer than half a field look at the same specimen."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """One exposure as the camera takes it."""

    number: int
    """Counts from 0 over the run, delivered or not: it decides specimen time and noise."""
    x_um: float
    y_um: float
    z_um: float
    """Where the stages stand; the middle of the field."""
    exposure_ms: float
    laser_power: float
    channel: int = 0


class Scene:
    """A slide with one specimen for every stage position, and the camera above it.

    The only thing that changes is how much light each specimen has had.
    """

    def __init__(self, config: VirtualConfig) -> None:
        self.config = config
        self.sensor: Sensor = sensor(config.shape_px, config.seed)
        self._acquisition = config.acquisition
        self._positions = config.acquisition.positions or (Position(name="here"),)
        self._dose: dict[int, float] = {}

    @cached_property
    def places_um(self) -> list[tuple[float, float]]:
        """(y, x) of the specimens."""
        field_um = min(self.config.shape_px) * self._acquisition.pixel_size_um
        places: list[tuple[float, float]] = []
        for position in self._positions:
            here = (position.y_um, position.x_um)
            if all(np.hypot(here[0] - y, here[1] - x) > _SAME_PLACE * field_um for y, x in places):
                places.append(here)
        return places

    @cached_property
    def microscopes(self) -> list[Microscope]:
        """One for every place on the slide."""
        return [Microscope(_specimen(self.config, n, place)) for n, place in enumerate(self.places_um)]

    def prepare(self) -> None:
        """Do ahead what the first exposure would have to do: populate the slide, blur the particles."""
        size_um = self._acquisition.pixel_size_um
        for microscope in self.microscopes:
            microscope.prepare(size_um)
        noise.poisson(np.ones((1, 1), np.float32), noise.generator(0))

    @property
    def planes_per_time_point(self) -> int:
        plan = self._acquisition
        return len(self._positions) * len(plan.channels) * plan.z_planes

    def time_point(self, exposure_number: int) -> int:
        """Return the time point of an exposure; the first of a cycle of references has more planes than the others."""
        planes, wanted = self.planes_per_time_point, self._acquisition.reference
        if wanted is None:
            return exposure_number // planes
        more = len(self._positions) * len(self._acquisition.channels) * wanted.planes
        cycles, rest = divmod(exposure_number, wanted.every * planes + more)
        return cycles * wanted.every + max(0, rest - more) // planes

    def time_s(self, exposure_number: int) -> float:
        """Return the specimen time of an exposure."""
        return self.time_point(exposure_number) * self.config.specimen_step_s

    def expose(self, exposure: Exposure) -> NDArray[np.uint16]:
        """Take one noisy frame, (y, x); the specimen under the objective bleaches a little."""
        nearest = self._nearest(exposure.y_um, exposure.x_um)
        light = Light(exposure.laser_power, exposure.exposure_ms, self.dose_of(nearest))
        self._dose[nearest] = light.earlier_dose + light.dose
        plane = self._field((1, exposure.z_um), exposure.y_um, exposure.x_um)
        time_s = self.time_s(exposure.number)
        electrons = self.microscopes[nearest].electrons(plane, time_s, light, exposure.channel)
        return self.sensor.expose(electrons, noise.generator(self.config.seed, exposure.number))

    def truth(self, key: VolumeKey) -> NDArray[np.float32]:
        """Return what a planned volume would be without noise: expected camera counts, (z, y, x) float32.

        It is blurred and bleached like the recorded volume (bleached as in the middle of its stack); offset
        and gain are the nominal ones. Planes that the camera drops do not change it.

        Raises
        ------
        ConfigError
            The plan has no such channel or position.
        """
        plan, positions = self._acquisition, self._positions
        if not (0 <= key.p < len(positions) and 0 <= key.c < len(plan.channels) and key.t >= 0):
            raise ConfigError(
                f"volume {tuple(key)} is not planned: {len(positions)} positions, {len(plan.channels)} channels"
            )
        here = positions[key.p]
        nearest = self._nearest(here.y_um, here.x_um)
        light = Light(self.config.laser_power, plan.channels[key.c].exposure_ms, self.planned_dose(key))
        grid = self._field((plan.z_planes, plan.z_start_um), here.y_um, here.x_um)
        electrons = self.microscopes[nearest].truth(grid, key.t * self.config.specimen_step_s, light, key.c)
        return self.sensor.expected_counts(electrons)

    def dose_of(self, place: int) -> float:
        """Return the light that a specimen has had so far, in low-light exposures."""
        return self._dose.get(place, 0.0)

    def planned_dose(self, key: VolumeKey) -> float:
        """Return the light that a specimen will have had in the middle of a planned stack."""
        plan, positions = self._acquisition, self._positions
        wanted = self._nearest(positions[key.p].y_um, positions[key.p].x_um)
        sharing = [p for p, place in enumerate(positions) if self._nearest(place.y_um, place.x_um) == wanted]
        stack = [
            plan.z_planes * self.config.laser_power * channel.exposure_ms / LOW_LIGHT_MS for channel in plan.channels
        ]
        earlier = key.t * len(sharing) + sum(p < key.p for p in sharing)
        return earlier * sum(stack) + sum(stack[: key.c]) + stack[key.c] / 2 + self._reference_dose(key.t, len(sharing))

    def _reference_dose(self, t: int, n_sharing: int) -> float:
        """Return the light of the references before a time point."""
        plan, wanted = self._acquisition, self._acquisition.reference
        if wanted is None:
            return 0.0
        once = sum(channel.exposure_ms for channel in plan.channels) / LOW_LIGHT_MS * self.config.laser_power
        return -(-t // wanted.every) * n_sharing * wanted.planes * wanted.light * once

    def _nearest(self, y_um: float, x_um: float) -> int:
        return int(np.argmin([np.hypot(y_um - y, x_um - x) for y, x in self.places_um]))

    def _field(self, stack: tuple[int, float], y_um: float, x_um: float) -> Grid:
        """Return the camera's field over ``stack``: (number of planes, z of the first)."""
        n_planes, first_um = stack
        plan = self._acquisition
        middle_um = first_um + (n_planes - 1) / 2 * plan.z_step_um
        voxel_size_um = (plan.z_step_um, plan.pixel_size_um, plan.pixel_size_um)
        return Grid.centred((n_planes, *self.config.shape_px), voxel_size_um, (middle_um, y_um, x_um))


def _specimen(config: VirtualConfig, number: int, place_um: tuple[float, float]) -> Specimen:
    """Make the specimen for one place, as large as the field and in the middle of the stack."""
    plan = config.acquisition
    depth_um = (plan.z_planes - 1) * plan.z_step_um
    centre_um = (plan.z_start_um + depth_um / 2, *place_um)
    y_um, x_um = (n * plan.pixel_size_um for n in config.shape_px)
    seed = config.seed + 1000 * number
    if config.specimen == "worm":
        return Worm(seed, (y_um, x_um), thickness_um=float(np.clip(0.7 * depth_um, 14, 26)), centre_um=centre_um)
    box = Box((depth_um + 6.0, y_um + 8.0, x_um + 8.0), centre_um)
    if config.specimen == "beads":
        return Beads(seed, box)
    return Granules(seed, box) if config.specimen == "granules" else Tubules(seed, box)
