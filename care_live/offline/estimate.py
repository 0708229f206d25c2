"""What an archive will take: units, time and disk, before anything is written."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from care_live.errors import StoreError
from care_live.model.card import ModelCard
from care_live.offline.address_output import Destination
from care_live.offline.channel_engines import inputs
from care_live.offline.data_sets import ArchivePlan, PlannedDataSet
from care_live.offline.named_networks import Networks
from care_live.offline.tiff_output import SUFFIXES, hidden_run
from care_live.offline.time_points import TimePoints
from care_live.recorded import open_recording
from care_live.restore.geometry import output_shape
from care_live.store import RunReader, nearest_folder, ome
from care_live.store.fsync import free_bytes

_FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Estimate:
    """What restoring will take, estimated from one time point."""

    n_data_sets: int
    n_time_points: int
    n_before: int
    """Time points that were restored already."""
    seconds: float
    """On this machine, for the time points that are left; measured on the first one, none of which is kept."""
    n_bytes: int
    """Most that the results of the time points that are left take; compressed, they take less."""
    free_bytes: int
    single_planes: int
    """Time points of one plane, which a network for stacks was not trained on."""
    errors: dict[Path | str, str]
    """Of data sets that cannot be opened."""
    axes: Counter[str] = field(default_factory=Counter)
    """Data sets that are read with each set of axes."""

    def lines(self) -> list[str]:
        """Return it as lines for a person."""
        before = f", {self.n_before} of which are restored already" if self.n_before else ""
        lines = [
            f"{_counted(self.n_data_sets, 'data set')}, {_counted(self.n_time_points, 'time point')}{before}",
            f"about {_duration(self.seconds)} on this machine, at the speed of the first time point",
            f"at most {self.n_bytes / 2**20:.1f} MiB of disk; {self.free_bytes / 2**20:.0f} MiB are free",
        ]
        if len(self.axes) > 1:
            lines.append("axes: " + ", ".join(f"{axes} of {n}" for axes, n in sorted(self.axes.items())))
        if self.single_planes:
            lines.append(
                f"{_counted(self.single_planes, 'time point')} of one plane; this network was trained on stacks"
            )
        return [*lines, *(f"cannot be opened: {path}: {why}" for path, why in self.errors.items())]


def estimate(plan: ArchivePlan, network: Networks) -> Estimate:
    """Restore one time point in memory, and estimate what all of them will take.

    Raises
    ------
    SourceError, RestoreError
        The first time point cannot be read or restored.
    """
    sound = [entry for entry in plan.entries if not entry.error]
    before = [_n_before(entry, plan.address_of(entry)) for entry in sound]
    left = [replace(entry, n_time_points=entry.n_time_points - n) for entry, n in zip(sound, before, strict=True)]
    n_voxels = sum(entry.n_time_points * entry.n_voxels for entry in left)
    return Estimate(
        n_data_sets=len(plan.entries),
        n_time_points=plan.n_time_points,
        n_before=sum(before),
        seconds=n_voxels * _seconds_per_voxel(sound[0], plan, network) if n_voxels else 0.0,
        n_bytes=sum(_bytes_of(entry, plan, network) for entry in left),
        free_bytes=free_bytes(nearest_folder(plan.output)),
        single_planes=plan.n_single_planes(network.cards),
        errors={entry.data_set.path: entry.error for entry in plan.entries if entry.error},
        axes=Counter(entry.axes for entry in sound if entry.axes),
    )


def _n_before(entry: PlannedDataSet, address: str) -> int:
    """Return how many time points of a data set are restored: at its address, or here."""
    if address and (there := Destination.at(address).run()) is not None:
        return _n_restored(entry, there)
    run = entry.target
    if run.suffix.lower() in SUFFIXES:
        if run.exists():
            return entry.n_time_points
        run = hidden_run(run)
    try:
        return _n_restored(entry, RunReader(run))
    except StoreError:  # not begun, or no run: restoring says what it is
        return 0


def _n_restored(entry: PlannedDataSet, run: RunReader) -> int:
    return min(entry.n_time_points, len({(key.p, key.t) for key in run.keys("restored")}))


def _seconds_per_voxel(entry: PlannedDataSet, plan: ArchivePlan, network: Networks) -> float:
    with contextlib.closing(open_recording(entry.data_set.path, axes=plan.axes, any_numbers=True)) as recording:
        plan_of = recording.contents.plan
        engine = network.engine(plan_of.dtype, channels=plan_of.channels)
        time_points = TimePoints(recording, run_id="estimate")
        volumes = time_points.read(time_points.all[0])
        engine.warm_up(volumes[0].pixels.shape)
        begun = time.perf_counter()
        for group in inputs(volumes, engine):
            engine.restore(group)
        return (time.perf_counter() - begun) / entry.n_voxels


def _bytes_of(entry: PlannedDataSet, plan: ArchivePlan, network: Networks) -> int:
    """Return what the maps take, and the raw volumes where they are stored, too."""
    maps = sum(
        _map_bytes(entry, card, network.n_outputs(number, entry.n_channels))
        for number, card in enumerate(network.cards)
    )
    tiff = entry.target.suffix.lower() in SUFFIXES
    raw = entry.n_voxels * entry.pixel_bytes if plan.keep_raw and not tiff else 0
    n_coarser = ome.n_coarser(entry.shape_px) if plan.pyramid and not tiff else 0
    return math.ceil(entry.n_time_points * (maps + raw) * _with_levels(entry.shape_px, n_coarser))


def _with_levels(shape_px: tuple[int, int], n_coarser: int) -> float:
    """Return the pixels of all levels, in those of the full resolution."""
    height, width = shape_px
    sizes = [
        math.ceil(height / side) * math.ceil(width / side) for side in (1 << level for level in range(1 + n_coarser))
    ]
    return sum(sizes) / sizes[0]


def _map_bytes(entry: PlannedDataSet, card: ModelCard, n_out: int) -> int:
    z_out = output_shape(card, (entry.n_planes, 1, 1))[1]
    return n_out * len(card.heads) * _FLOAT_BYTES * (entry.n_voxels // entry.n_channels) * z_out // entry.n_planes


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
