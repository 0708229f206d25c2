"""One recording restored into an OME-TIFF, by way of a hidden run beside it, with which an interrupted one goes on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import msgspec
import numpy as np
import tifffile
from numpy.typing import NDArray

from care_live.errors import ConfigError, RestoreError
from care_live.images import LIMITS, VolumeKey
from care_live.offline import provenance
from care_live.offline.computed_with import ComputedWith
from care_live.offline.run_output import DataSetOutcome, Restorer, RunJob, Step, refuse_changed, restore_to_run
from care_live.offline.time_points import TimePoint, TimePoints
from care_live.store import STORED_PRODUCTS, RunReader, StoredProduct
from care_live.store.fsync import sync_file, translated

SUFFIXES = (".tif", ".tiff")
_MARK = f"{provenance.KEY} "
_ABSENT = "not restored"


class _Map(NamedTuple):
    """One channel of the TIFF."""

    product: StoredProduct
    c: int


def restore_to_tiff(job: RunJob, restorer: Restorer, *, step: Step) -> DataSetOutcome:
    """Restore a recording into one OME-TIFF, a series for each stage position, axes TCZYX, maps as channels.

    Raises
    ------
    ConfigError
        Something else lies at the target, or a result of another network, other settings or another input.
    RestoreError
        Its time points differ in their planes, which a TIFF can't hold.
    StoreError
        Another process writes this result, or the disk is full or missing.
    """
    if job.target.exists():
        return _found(job, step)
    if not job.target.parent.is_dir():
        raise ConfigError(f"there is no folder {job.target.parent} to write {job.target.name} to: create it first")
    _refuse_ragged(job)
    run = hidden_run(job.target)
    outcome = restore_to_run(replace(job, target=run), restorer, step=step)
    if outcome.n_done:
        with translated(f"cannot write {job.target}", job.target.parent):
            _write(job, RunReader(run))
            shutil.rmtree(run)
    return outcome


def hidden_run(target: Path) -> Path:
    """Return the run beside a TIFF in which its volumes are, until all are there."""
    return target.with_name(f".{target.name}.restoring")


def _found(job: RunJob, step: Step) -> DataSetOutcome:
    """Return what a TIFF holds that is there already, or refuse to overwrite it."""
    found, absent = _read_provenance(job.target)
    provenance.refuse_other(found, job.provenance, job.target)
    refuse_changed((found or {}).get("source_crc32c"), job)
    time_points = TimePoints(job.recording, run_id=job.run_id).all
    for _ in time_points:
        step()
    failed = {time_points[0]: f"{job.target} lacks {absent}; remove it to try again"} if absent else {}
    return DataSetOutcome(n_before=len(time_points) - len(failed), failed=failed)


def _read_provenance(path: Path) -> tuple[dict[str, Any] | None, str]:
    """Return how a TIFF was made, None where it does not contain that, and what it lacks."""
    try:
        with tifffile.TiffFile(path) as file:
            root = ElementTree.fromstring(file.ome_metadata or "<OME/>")
    except Exception:  # noqa: BLE001 - of tifffile and of the parser of XML: it is no result of ours
        return None, ""
    texts = [element.text or "" for element in root.iter() if element.tag.endswith("}Description")]
    made = next((text.partition(_MARK)[2] for text in texts if _MARK in text), None)
    absent = [element.text or "" for element in root.iter() if element.get("K") == _ABSENT]
    return (None if made is None else msgspec.json.decode(made)), "; ".join(absent)


def _refuse_ragged(job: RunJob) -> None:
    plan = job.recording.contents.plan
    stacks = {key: planes for key, planes in plan.stacks.items() if plan.twin_of(key.c) is None}
    for p, keys in groupby(sorted(stacks, key=lambda key: (key.p, key)), key=lambda key: key.p):
        depths = sorted({len(stacks[key]) for key in keys})
        if len(depths) > 1:
            raise RestoreError(
                f"position {p} has volumes of {depths[0]} to {depths[-1]} planes: a TIFF needs them alike, write to an "
                "OME-Zarr instead"
            )


def _write(job: RunJob, reader: RunReader) -> None:
    partial = job.target.with_name(f".{job.target.name}.partial")
    try:
        with tifffile.TiffWriter(partial, bigtiff=True, ome=True) as writer:
            for series in _series(job, reader):
                writer.write(
                    series.planes(reader), shape=series.shape, dtype=np.float32, metadata=series.metadata(job, reader)
                )
        sync_file(partial)
        partial.replace(job.target)
    finally:
        partial.unlink(missing_ok=True)


class _Series(NamedTuple):
    """One stage position."""

    p: int
    times: tuple[int, ...]
    maps: tuple[_Map, ...]
    volume_shape: tuple[int, int, int]
    restored: frozenset[int]
    """Time points that are there."""

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.times), len(self.maps), *self.volume_shape)

    def planes(self, reader: RunReader) -> Iterator[NDArray[np.float32]]:
        """Yield every plane in TCZ order; those that were not restored are not a number."""
        for t in self.times:
            for product, c in self.maps:
                if reader.has(product, key := VolumeKey(t, self.p, c)):
                    yield from reader.read(product, key)
                else:
                    yield from np.full(self.volume_shape, np.nan, np.float32)

    def metadata(self, job: RunJob, reader: RunReader) -> dict[str, Any]:
        """Return the series' OME metadata: voxels, channels, network, settings, and what to know of it."""
        first = [reader.restoration(VolumeKey(min(self.restored), self.p, c)) for _, c in self.maps]
        dz, dy, dx = first[0].voxel_size_um
        networks = ", ".join(f"{one.name} sha256 {one.sha256}" for one in dict.fromkeys(made.model for made in first))
        names, plan = [f"{product} {c}" for product, c in self.maps], job.recording.contents.plan
        described = provenance.described(job.provenance) | {"source_crc32c": job.source_crc32c}
        if chosen := ComputedWith.found_in(reader.summary):
            described |= chosen.noted()
        return {
            "axes": "TCZYX",
            "Name": plan.positions[self.p] if self.p < len(plan.positions) else f"position {self.p}",
            "Description": f"{LIMITS}; network {networks}; {_MARK}{msgspec.json.encode(described).decode()}",
            "Channel": {"Name": names},
            "MapAnnotation": self._notes(reader),
            **{f"PhysicalSize{axis}": um for axis, um in zip("XYZ", (dx, dy, dz), strict=True)},
            **{f"PhysicalSize{axis}Unit": "µm" for axis in "XYZ"},
        }

    def _notes(self, reader: RunReader) -> dict[str, str]:
        notes: dict[str, str] = {}
        if any(model.card.get("quantised") for model in reader.models):
            notes["quantised"] = "mean in 16 bits, laplace_scale and disagreement within 2.2 %"
        for t in sorted(self.restored):
            keys = {VolumeKey(t, self.p, c) for _, c in self.maps}
            found = {flag for key in keys if reader.has("restored", key) for flag in reader.restoration(key).flags}
            for flag in sorted(found):
                notes[flag] = f"{notes.get(flag, 'at time points')} {t}"
        if absent := [str(t) for t in self.times if t not in self.restored]:
            notes[_ABSENT] = f"time points {' '.join(absent)}"
        return notes


def _series(job: RunJob, reader: RunReader) -> Iterator[_Series]:
    """Yield the stage positions of which anything was restored."""
    keys = reader.keys("restored")
    every = TimePoints(job.recording, run_id=job.run_id).all
    for p in sorted({key.p for key in keys}):
        of_p = [key for key in keys if key.p == p]
        first = [key for key in of_p if key.t == of_p[0].t]
        shape = reader.restoration(first[0]).arrays["restored"].shape
        yield _Series(
            p=p,
            times=_times(every, p),
            maps=tuple(_Map(product, key.c) for key in first for product in _of_shape(reader, key, shape)),
            volume_shape=shape,
            restored=frozenset(key.t for key in of_p),
        )


def _of_shape(reader: RunReader, key: VolumeKey, shape: tuple[int, int, int]) -> list[StoredProduct]:
    """Return the maps of one shape: an image of OME-TIFF has one, so coarser maps are left to OME-Zarr."""
    arrays = reader.restoration(key).arrays
    return [product for product in STORED_PRODUCTS if product in arrays and arrays[product].shape == shape]


def _times(every: Sequence[TimePoint], p: int) -> tuple[int, ...]:
    return tuple(one.t for one in every if one.p == p)
