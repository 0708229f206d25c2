"""Whether a volume that a publisher sent can belong to the run that is recorded. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from msgspec import UNSET

from care_live.images import Plan, VolumeKey
from care_live.maps import MAPS, Array, Head, level_of
from care_live.publish.delivery import Delivery

MAX_TIME_POINT = 10_000_000
"""No acquisition has more; a time point is a number on the wire, and a length on the disk."""
MAX_CHANNELS_OUT = 64
MAX_GROWTH = 64
"""Voxels of a restored volume for each raw one: a network may refine z, y and x fourfold."""


def merged(known: Plan, planned: Plan) -> Plan:
    """Return a plan with the volumes of both: a run that is resumed announces only what it still lacks."""
    stacks = {**known.stacks, **planned.stacks}
    return replace(planned, stacks=stacks, endless=known.endless or planned.endless)


@dataclass(frozen=True, slots=True)
class ExpectedShapes:
    """What volumes of one run look like."""

    run_id: str
    plan: Plan
    n_positions: int
    n_channels: int

    @classmethod
    def of(cls, run_id: str, plan: Plan) -> ExpectedShapes:
        """Derive it from a run's plan."""
        n_positions = max([len(plan.positions), 1, *(key.p + 1 for key in plan.stacks)])
        n_channels = max([len(plan.channels), 1, *(key.c + 1 for key in plan.stacks)])
        return cls(run_id, plan, n_positions, n_channels)

    def misfit(self, volume: Delivery) -> str:
        """Return why a volume cannot be of this run; empty where it can."""
        if volume.run_id != self.run_id:
            return f"it is of run {volume.run_id or '(none)'}, this is {self.run_id}"
        return self._misplaced(volume) or self._misshaped(volume) or _misrestored(volume)

    def _misplaced(self, volume: Delivery) -> str:
        key, c_in = volume.key, volume.header.c_in
        n_channels_out = self.n_channels + MAX_CHANNELS_OUT
        if key.t > MAX_TIME_POINT or key.p >= self.n_positions or c_in >= self.n_channels or key.c >= n_channels_out:
            return f"the run has {self.n_positions} positions and {self.n_channels} channels"
        sources = () if volume.header.sources is UNSET else volume.header.sources
        if any(source[:2] != key[:2] or source[2] >= self.n_channels for source in sources):
            return "it was made of volumes of other time points, positions or channels"
        return ""

    def _misshaped(self, volume: Delivery) -> str:
        if volume.raw is None:
            return "it came without its raw planes"
        planned = self.plan.stacks.get(VolumeKey(volume.key.t, volume.key.p, volume.header.c_in))
        n_planes = len(volume.header.expected if planned is None else planned)
        wanted = (n_planes, *self.plan.shape_px)
        if volume.raw.shape != wanted or volume.raw.dtype.name != self.plan.dtype:
            return f"its raw planes are {volume.raw.shape} {volume.raw.dtype.name}, wanted {wanted} {self.plan.dtype}"
        return ""


def _misrestored(volume: Delivery) -> str:
    shapes = {array.shape for array in volume.maps.values()}
    mean = volume.maps.get("mean")
    n_raw = volume.raw.size if volume.raw is not None else 0
    if volume.model is None:  # without one, its maps are not taken over
        has_maps = any(array.product != "raw" for array in volume.header.arrays)
        return "it has restored planes, and no network" if has_maps else ""
    if mean is None or mean.size > MAX_GROWTH * n_raw or not all(_fits(*one, mean) for one in volume.maps.items()):
        return f"its restored arrays are {sorted(shapes)}, of {n_raw} raw voxels"
    return ""


def _fits(head: Head, array: Array, mean: Array) -> bool:
    """Return whether a map has the shape of *mean*; one with two sides may be coarser."""
    is_coarser = MAPS[head].coding == "signed" and level_of(array.shape, mean.shape) is not None
    return array.shape == mean.shape or (is_coarser and len(array) == len(mean))
