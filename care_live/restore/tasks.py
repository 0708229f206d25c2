"""The tasks: how a volume of any kind is shown to a network, and what comes back.

Every function takes all channels of one time point, (c, z, y, x), and fills maps of shape
(c_out, z_out, y, x), one for every head of the card.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from care_live.model.card import ModelCard
from care_live.percentiles import Span
from care_live.restore.geometry import output_spans, rounds, upsample_z
from care_live.restore.repair import Maps, geometric_mean, mixture
from care_live.tiling import margins, pad, tiles

Array = NDArray[Any]
_SLICE_BATCH_PX = 2**20
"""Pixels of slices shown at once: enough to keep every core busy, little to keep in memory."""


class Predictor(Protocol):
    """A network, or what is shown the same fields without running one."""

    def predict(
        self, pixels: Array, spans: Sequence[Span], into: Sequence[Array], *, tile_px: Sequence[int] | None
    ) -> None:
        """Fill `into`; see `care_live.restore.tiled.Network.predict`."""


@dataclass(frozen=True, slots=True)
class RestoreJob:
    """One volume in a network."""

    card: ModelCard
    network: Predictor
    spans: tuple[Span, ...]
    tile_px: tuple[int, int, int] | None
    """(z, y, x)"""


def run(job: RestoreJob, pixels: Array, into: Maps) -> None:
    """Restore one time point as the card's task and axes demand."""
    if job.card.task == "isotropic":
        isotropic(job, pixels, into)
    elif job.card.task == "upsample":
        whole(job, upsample_z(pixels, job.card.factor, whole_counts=rounds(job.card, pixels)), into)
    elif job.card.axes == "ZYX":
        whole(job, pixels, into)
    else:
        plane_by_plane(job, pixels, into)


def whole(job: RestoreJob, pixels: Array, into: Maps) -> None:
    """Show the whole volume to a 3D network."""
    outs = [into[head][np.newaxis] for head in job.card.heads]
    job.network.predict(pixels[np.newaxis], job.spans, outs, tile_px=job.tile_px)


def plane_by_plane(job: RestoreJob, pixels: Array, into: Maps) -> None:
    """Show every plane to a 2D network."""
    for z in range(pixels.shape[1]):
        one_plane(job, pixels[:, z], {head: array[:, z] for head, array in into.items()})


def one_plane(job: RestoreJob, pixels: Array, into: Maps) -> None:
    """Show one plane, (c, y, x), to a 2D network; fills (c_out, y, x)."""
    tile_px = None if job.tile_px is None else job.tile_px[1:]
    outs = [into[head][np.newaxis] for head in job.card.heads]
    job.network.predict(pixels[np.newaxis], job.spans, outs, tile_px=tile_px)


def isotropic(job: RestoreJob, pixels: Array, into: Maps) -> None:
    """Show the xz and the yz slices of the upsampled volume to a 2D network and combine the two views."""
    upsampled = upsample_z(pixels, job.card.factor)
    tile_px = job.tile_px
    look_yz = _mirrored_view if job.card.mirror_yz else _view
    xz = _view(job, upsampled, axis=2, tile_px=None if tile_px is None else (tile_px[0], tile_px[2]))
    yz = look_yz(job, upsampled, axis=3, tile_px=None if tile_px is None else (tile_px[0], tile_px[1]))
    if job.card.combine == "mixture":
        combined = mixture(xz, yz)
    else:
        combined = geometric_mean(xz, yz, output_spans(job.card, job.spans))
    for head, array in combined.items():
        np.copyto(into[head], array)


def _view(job: RestoreJob, upsampled: Array, *, axis: int, tile_px: tuple[int, int] | None) -> Maps:
    """Restore all slices across one lateral axis, in batches of one size."""
    shape = (len(job.card.channels_out), *upsampled.shape[1:])
    maps: Maps = {head: np.empty(shape, np.float32) for head in job.card.heads}
    slices = np.moveaxis(upsampled, axis, 0)
    outs = [np.moveaxis(maps[head], axis, 0) for head in job.card.heads]
    batch = max(1, min(len(slices), _SLICE_BATCH_PX // math.prod(slices.shape[2:])))
    for part in tiles([len(slices)], [batch], [0], [1]):
        chosen = part.read
        job.network.predict(slices[chosen], job.spans, [out[chosen] for out in outs], tile_px=tile_px)
    return maps


def _mirrored_view(job: RestoreJob, upsampled: Array, *, axis: int, tile_px: tuple[int, int] | None) -> Maps:
    """Restore all slices upside down and turn the result back; z is padded before it is turned."""
    n_z, boundary = upsampled.shape[1], job.card.boundary
    ((before, after),) = margins((n_z,), job.card.divisor[:1], boundary)
    padded = pad(upsampled[np.newaxis], [(before, after), (0, 0), (0, 0)], boundary, [span.low for span in job.spans])
    maps = _view(job, padded[0, :, ::-1], axis=axis, tile_px=tile_px)
    return {head: array[:, ::-1][:, before : before + n_z] for head, array in maps.items()}
