"""Networks applied to recorded pairs, through the very engine that restores live: for scores and calibration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from care_live.config import NormaliseConfig, RestoreConfig
from care_live.errors import TrainingError
from care_live.images import Integrity, Restored, Volume, VolumeKey, read_only
from care_live.model.card import ModelCard
from care_live.restore.engine import Engine
from care_live.training.data import volumes
from care_live.training.data.intensity import line_of
from care_live.training.data.past_frames import with_past

TruthUnit = Literal["counts", "percentiles"]
"""How the truth is put beside the restored image: *counts*, it is in the input's camera counts (simulated);
*percentiles*, it has another exposure, and is brought to the restored image as targets were in training: to the counts
of the input, or by its own percentiles."""


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """One volume restored, and its truth; normalised as the network saw it."""

    condition: str
    name: str
    raw: NDArray[np.float32]
    """(c, z, y, x) camera counts."""
    mean: NDArray[np.float32]
    """(c_out, z, y, x), 0 at the span's low and 1 at its high."""
    laplace_scale: NDArray[np.float32] | None
    disagreement: NDArray[np.float32] | None
    truth: NDArray[np.float32]
    """(c_out, z, y, x), in the same unit."""
    earlier: NDArray[np.float32] | None = None
    """Of a network that reads the past, the counts of earlier time points, (c · past, z, y, x)."""

    @property
    def read(self) -> NDArray[np.float32]:
        """All that the network read, (c, z, y, x) camera counts."""
        return self.raw if self.earlier is None else np.concatenate([self.raw, self.earlier])


def open_engine(model: Path, *, threads: int = 0) -> Engine:
    """Open a network with a span of its own for every volume."""
    return Engine(model, RestoreConfig(threads=threads, evidence=False, normalise=NormaliseConfig(mode="per-volume")))


def apply(
    engine: Engine, inputs: Sequence[Path], target: Path, *, axes: str, unit: TruthUnit, pattern: str = "*.tif*"
) -> Iterator[Applied]:
    """Restore every volume of every condition and put its truth beside it.

    Parameters
    ----------
    inputs : one folder (or OME-Zarr) a condition
    target : the truth, files named alike

    Raises
    ------
    TrainingError
        A volume has no partner, or cannot be used; names the file.
    """
    card = engine.card
    truths = volumes.find(target, pattern, axes.replace("Z", "") if card.task == "project" else axes)
    for folder in inputs:
        for name, stored in with_past(volumes.find(folder, pattern, axes), card.past).items():
            if name not in truths:
                raise TrainingError(f"{target} has no partner for {stored.label}: pairs are named alike")
            raw = volumes.read(stored, n_channels=card.n_inputs)[:]
            truth = volumes.read(truths[name], n_channels=len(card.channels_out))[:]
            yield apply_to(engine, raw, truth, unit=unit, condition=folder.name, name=name)


def apply_to(
    engine: Engine, raw: NDArray[Any], truth: NDArray[Any], *, unit: TruthUnit, condition: str = "", name: str = ""
) -> Applied:
    """Restore one image (c, [z,] y, x) and normalise it and its truth; earlier ones follow as channels, where read."""
    stack, wanted = (image if image.ndim == 4 else image[:, None] for image in (raw, truth))
    n = len(engine.card.channels_in)
    restored = engine.restore([as_volume(channel, c) for c, channel in enumerate(stack)])
    if restored[0].mean.shape != wanted.shape[1:]:
        raise TrainingError(
            f"{name} restored is {restored[0].mean.shape} px and its truth {wanted.shape[1:]}: they must be alike"
        )
    return Applied(
        condition=condition,
        name=name,
        raw=stack[:n].astype(np.float32),
        earlier=stack[n:].astype(np.float32) if engine.card.past else None,
        mean=np.stack([_normalised(result, engine.card) for result in restored]),
        laplace_scale=_stacked([_scale(result, engine.card) for result in restored]),
        disagreement=_stacked([result.maps.get("disagreement") for result in restored]),
        truth=_truths(wanted, stack[:n], restored, engine.card, unit=unit),
    )


def as_volume(pixels: NDArray[Any], channel: int = 0) -> Volume:
    """Wrap (z, y, x) counts as if they had just been acquired."""
    counts = pixels if pixels.dtype in (np.uint8, np.uint16) else np.clip(np.rint(pixels), 0, 65535).astype(np.uint16)
    planes = tuple(range(len(counts)))
    return Volume(
        run_id="offline",
        key=VolumeKey(0, 0, channel),
        pixels=read_only(np.ascontiguousarray(counts)),
        voxel_size_um=(1.0, 1.0, 1.0),
        integrity=Integrity(planes, planes),
        closed="complete",
        state="confirmed",
        first_plane_ns=0,
        last_plane_ns=0,
        acquired_us=0,
    )


def _width(result: Restored, card: ModelCard) -> tuple[float, float]:
    return (result.low, max(result.high - result.low, 1e-6)) if card.output == "counts" else (0.0, 1.0)


def _normalised(result: Restored, card: ModelCard) -> NDArray[np.float32]:
    low, width = _width(result, card)
    return np.asarray((result.mean - low) / width, np.float32)


def _scale(result: Restored, card: ModelCard) -> NDArray[np.float32] | None:
    scale = result.maps.get("laplace_scale")
    return None if scale is None else np.asarray(scale / _width(result, card)[1])


def _truths(
    wanted: NDArray[Any], raw: NDArray[Any], restored: Sequence[Restored], card: ModelCard, *, unit: TruthUnit
) -> NDArray[np.float32]:
    """Return the truth, (c, z, y, x), as the network has learnt to restore it."""
    if unit == "percentiles" and card.training.target_unit == "counts" and (line := line_of(wanted, raw)) is not None:
        wanted, unit = line.dimmed(wanted), "counts"
    return np.stack([_truth(channel, restored[c], card, unit) for c, channel in enumerate(wanted)])


def _truth(channel: NDArray[Any], result: Restored, card: ModelCard, unit: TruthUnit) -> NDArray[np.float32]:
    if unit == "counts":
        low, width = result.low, max(result.high - result.low, 1e-6)
    else:
        low, high = np.percentile(channel, (card.low_percentile, card.high_percentile))
        width = max(high - low, 1e-6)
    return np.asarray((channel.astype(np.float32) - low) / width, np.float32)


def _stacked(maps: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float32] | None:
    present = [image for image in maps if image is not None]
    return np.stack(present) if present else None
