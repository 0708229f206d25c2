"""Restore a recorded data set: the frames of a file go through the same rooms as those of a microscope."""

from __future__ import annotations

import functools
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from care_live.errors import ConfigError, RestoreError, SourceError
from care_live.images import LIMITS, Frame, PlaneIndex, Restored, RunEnded, RunStarted, Volume
from care_live.maps import folder_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from care_live.recorded import Recording
    from care_live.restore.engine import Engine

Pair = tuple[tuple[Volume, ...], tuple[Restored, ...]]
"""All channels of one time point, raw and restored."""
Step = Callable[[Sequence[Restored]], None]
"""Called with each restored time point."""
_TIFF = (".tif", ".tiff")


def restore_to(target: Path, recording: Recording, engine: Engine, *, run_id: str, step: Step) -> None:
    """Restore every volume of a recording into an OME-TIFF or, for any other name, an OME-Zarr run.

    The result appears under its name when it is complete; until then only a hidden neighbour exists, which is
    removed if anything fails. A plane that cannot be read, or a volume that cannot be restored, does not take the
    time points before it along: the result then holds these.

    Raises
    ------
    SourceError
        A plane cannot be read; says which.
    RestoreError
        The channels do not fit the network, or inference failed.
    StoreError
        The disk is full.
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    write = _write_tiff if target.suffix.lower() in _TIFF else _write_zarr
    try:
        sound = write(partial, recording, engine, run_id=run_id, step=step)
        partial.replace(target)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        partial.unlink(missing_ok=True)
    if sound.error is not None:
        raise type(sound.error)(f"{sound.error}; {target} holds the {sound.n_done} time points before it")


class SoundPairs:
    """Counts the time points that were restored, and keeps the error that ended them early."""

    def __init__(self) -> None:
        self.n_done = 0
        self.error: SourceError | RestoreError | None = None

    def of(self, found: Iterator[Pair]) -> Iterator[Pair]:
        """Yield time points as long as they can be read and restored.

        Raises
        ------
        SourceError, RestoreError
            Not even the first one could be.
        """
        try:
            for pair in found:
                yield pair
                self.n_done += 1
        except (SourceError, RestoreError) as error:
            if not self.n_done:
                raise
            self.error = error


def refuse_existing(target: Path, source: Path) -> None:
    """Raise a ConfigError when the result would overwrite something, or has no folder to be in."""
    if target.exists():
        raise ConfigError(f"{target} exists already: choose another name or remove it first")
    if not target.parent.is_dir():
        raise ConfigError(f"there is no folder {target.parent} to write {target.name} to: create it first")
    if source.resolve() in target.resolve().parents:
        raise ConfigError(f"{target} lies inside the data set {source}: write somewhere else")


def n_time_points(recording: Recording) -> int:
    """Return how many (time point, position) pairs there are to restore."""
    return len({(key.t, key.p) for key in recording.contents.plan.stacks})


def run_id_of(source: Path) -> str:
    """Return a run id made of a file's name."""
    return re.sub(r"[^0-9A-Za-z_-]+", "-", source.name.split(".")[0]).strip("-")[:64] or "restored"


def pairs(recording: Recording, engine: Engine, *, run_id: str, position: int | None = None) -> Iterator[Pair]:
    """Yield all time points, assembled and restored; of one position, or of all, one after the other."""
    order = [index for index in recording.contents.order if position in {None, index.p}]
    ordered = sorted(order, key=lambda i: (i.p, i.t, i.c, i.z))
    for _, planes in groupby(ordered, key=lambda index: (index.p, index.t)):
        channels = _assembled(recording, tuple(planes), run_id)
        yield channels, tuple(result for group in _inputs(channels, engine) for result in engine.restore(group))


def _inputs(channels: Sequence[Volume], engine: Engine) -> list[tuple[Volume, ...]]:
    """Return what the network takes at once: each channel alone, or all that it knows together."""
    n_in = len(engine.card.channels_in)
    if n_in == 1:
        return [(volume,) for volume in channels]
    if len(channels) != n_in:
        raise RestoreError(
            f"network {engine.card.name} takes {n_in} channels ({', '.join(engine.card.channels_in)}) "
            f"but time point {channels[0].key.t} has {len(channels)}"
        )
    return [tuple(channels)]


def _assembled(recording: Recording, order: Sequence[PlaneIndex], run_id: str) -> tuple[Volume, ...]:
    """Return all channels of one time point, read and assembled like a short run: what is missing is flagged."""
    from care_live.assemble import Assembler
    from care_live.config import AssembleConfig

    plan = recording.contents.plan
    own = replace(plan, stacks={key: plan.stacks[key] for key in {index.volume for index in order}})
    assembler = Assembler(AssembleConfig(), admit=lambda _: True)
    assembler.take(RunStarted(run_id, own, recording.contents.summary))
    events: list[object] = []
    for arrival, index in enumerate(order):
        stamp = recording.stamp(index)
        frame = Frame(
            run_id,
            arrival,
            index,
            recording.read_plane(index),
            host_time_ns=(stamp.elapsed_us or 0) * 1000,
            core_time_us=stamp.core_time_us,
            exposure_ms=stamp.exposure_ms,
        )
        events += assembler.take(frame)
    events += assembler.take(RunEnded("finished", n_delivered=len(order)))
    volumes = [event for event in events if isinstance(event, Volume)]
    return tuple(sorted(volumes, key=lambda volume: volume.key.c))


def _write_zarr(partial: Path, recording: Recording, engine: Engine, *, run_id: str, step: Step) -> SoundPairs:
    """Write a run as the live daemon does: raw first, then restored, scale and disagreement."""
    from care_live.config import StoreConfig
    from care_live.store import open_run

    started = RunStarted(run_id, recording.contents.plan, recording.contents.summary)
    exact = StoreConfig(directory=partial, restored_mantissa_bits=23)  # offline there is time, and people compare
    writer = open_run(exact, started)
    sound = SoundPairs()
    try:
        writer.describe_model(engine.identity, engine.card.model_dump(mode="json"))
        for volumes, restored in sound.of(pairs(recording, engine, run_id=run_id)):
            for volume in volumes:
                writer.write_raw(volume)
            for result in restored:
                writer.write_restored(result, sources=[v.key for v in volumes] if len(restored) == 1 else ())
            step(restored)
        writer.note(_ended(recording, sound))
    finally:
        writer.close()
    _lift(partial, run_id)
    return sound


def _ended(recording: Recording, sound: SoundPairs) -> RunEnded:
    if sound.error is None:
        return RunEnded("finished", n_delivered=len(recording.contents.order))
    return RunEnded("failed", str(sound.error))


def _lift(partial: Path, run_id: str) -> None:
    """Turn ``partial/run_id/…`` into ``partial/…``."""
    inner = partial.with_name(f"{partial.name}-run")
    (partial / run_id).replace(inner)
    partial.rmdir()
    inner.replace(partial)


def _write_tiff(partial: Path, recording: Recording, engine: Engine, *, run_id: str, step: Step) -> SoundPairs:
    """Write one OME series for each position, axes TCZYX; the maps of a channel are channels, too."""
    import tifffile

    plan, sound = recording.contents.plan, SoundPairs()
    with tifffile.TiffWriter(partial, bigtiff=True, ome=True) as writer:
        for p in sorted({key.p for key in plan.stacks}):
            results = sound.of(pairs(recording, engine, run_id=run_id, position=p))
            if (first := next(results, None)) is None:
                break
            n_times = len({key.t for key in plan.stacks if key.p == p})
            maps = _maps(first[1])
            shape = (n_times, len(maps), *next(iter(maps.values())).shape)
            metadata = _ome(first[1], plan.positions[p] if p < len(plan.positions) else f"position {p}")
            if engine.card.quantised:
                metadata["MapAnnotation"]["quantised"] = "mean in 16 bits, laplace_scale and disagreement within 2.2 %"
            noted = functools.partial(_note_flags, metadata["MapAnnotation"], step)
            planes = _planes(first, results, shape, noted)
            filled = _filled(planes, shape, metadata["MapAnnotation"])
            writer.write(filled, shape=shape, dtype=np.float32, metadata=metadata)
            if sound.error is not None:
                break
    return sound


def _filled(
    planes: Iterator[NDArray[np.float32]], shape: Sequence[int], noted: dict[str, str]
) -> Iterator[NDArray[np.float32]]:
    """Yield as many planes as the file is to have; those that were not restored are not a number, and noted."""
    n_planes = 0
    for plane in planes:
        yield plane
        n_planes += 1
    n_wanted, n_each = math.prod(shape[:-2]), math.prod(shape[1:-2])
    if n_planes < n_wanted:
        noted["not restored"] = f"time points from {n_planes // n_each} on"
    for _ in range(n_wanted - n_planes):
        yield np.full(shape[-2:], np.nan, np.float32)


def _planes(first: Pair, rest: Iterator[Pair], shape: Sequence[int], step: Step) -> Iterator[NDArray[np.float32]]:
    """Yield every plane in TCZ order; all time points must look like the first."""

    def everything() -> Iterator[Pair]:
        yield first
        yield from rest

    for volumes, restored in everything():
        maps = _maps(restored)
        for array in maps.values():
            if (len(maps), *array.shape) != tuple(shape[1:]):
                raise RestoreError(
                    f"time point {volumes[0].key.t} has {len(maps)} maps of shape {array.shape}, the first one "
                    f"{shape[1]} of {tuple(shape[2:])}: a TIFF needs them alike, write to an OME-Zarr instead"
                )
            yield from array
        step(restored)


def _note_flags(flagged: dict[str, str], step: Step, restored: Sequence[Restored]) -> None:
    """Write down at which time points a flag was set; the file takes it in when it is closed."""
    for flag in sorted({flag for result in restored for flag in result.flags}):
        flagged[flag] = f"{flagged.get(flag, 'at time points')} {restored[0].key.t}"
    step(restored)


def _maps(restored: Sequence[Restored]) -> dict[str, NDArray[np.float32]]:
    """Return all arrays of one time point by the name of the channel that they become."""
    maps: dict[str, NDArray[np.float32]] = {}
    for result in restored:
        maps |= {f"{folder_of(head)} {result.c_out}": array for head, array in result.maps.items()}
    return maps


def _ome(restored: Sequence[Restored], name: str) -> dict[str, Any]:
    dz, dy, dx = restored[0].voxel_size_um
    return {
        "axes": "TCZYX",
        "Name": name,
        "Description": f"{LIMITS}; network {restored[0].model.name} sha256 {restored[0].model.sha256}",
        "Channel": {"Name": list(_maps(restored))},
        "MapAnnotation": {},
        "PhysicalSizeX": dx,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": dy,
        "PhysicalSizeYUnit": "µm",
        "PhysicalSizeZ": dz,
        "PhysicalSizeZUnit": "µm",
    }
