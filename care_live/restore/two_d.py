"""Planes through a 2D network as they come: each is final at once, whatever the others do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.errors import RestoreError
from care_live.model.card import ModelCard
from care_live.percentiles import Span
from care_live.restore import tasks
from care_live.restore.repair import Maps

Array = NDArray[Any]


class FlatStream:
    """One volume in a 2D network: planes of all its channels go in, in any order.

    Parameters
    ----------
    job : network and ranges
    shape : (z, y, x) of the stack that is being recorded
    into : maps (c_out, z, y, x) that it fills
    """

    def __init__(self, job: tasks.RestoreJob, shape: Sequence[int], into: Maps) -> None:
        self._job, self._shape, self._into = job, tuple(shape), into
        self._waiting: dict[int, dict[int, Array]] = {}
        """Planes of which another channel has not come, by z and channel."""
        self._done = np.zeros(shape[0], bool)

    @property
    def n_restored(self) -> int:
        """Planes from the first on that are final."""
        return len(self._done) if self._done.all() else int(np.argmin(self._done))

    def place(self, channel: int, z: int, pixels: Array) -> None:
        """Take one plane, and restore it if all its channels are there.

        Parameters
        ----------
        pixels : (y, x) camera counts; must not change until the other channels have come

        Raises
        ------
        RestoreError
            It has another shape, came twice, or the runtime failed: restore the whole volume instead.
        """
        waiting = self._waiting.setdefault(z, {})
        if pixels.shape != self._shape[1:] or channel in waiting or self._done[z]:
            raise RestoreError(f"plane z={z} {pixels.shape} does not fit this stream: restore the whole volume")
        waiting[channel] = pixels
        if len(waiting) == len(self._job.spans):
            plane = np.stack([waiting[c] for c in range(len(waiting))])
            del self._waiting[z]
            tasks.one_plane(self._job, plane, {head: array[:, z] for head, array in self._into.items()})
            self._done[z] = True

    def finish(self) -> None:
        """Make sure that the volume is complete.

        Raises
        ------
        RestoreError
            Planes are missing.
        """
        if not self._done.all():
            n_done, n_planes = int(self._done.sum()), len(self._done)
            raise RestoreError(f"a stream of {n_planes} planes ended after {n_done}: restore the whole volume")

    def abandon(self) -> None:
        """Forget everything; the whole volume is restored instead."""
        self._waiting.clear()


class PlaneByPlane:
    """Begins a stream for each volume of one shape.

    Parameters
    ----------
    card, network : a 2D one
    shape : (z, y, x) of the stacks
    tile_px : largest tile (z, y, x); None: as large as memory allows
    """

    def __init__(
        self, card: ModelCard, network: tasks.Predictor, shape: Sequence[int], *, tile_px: tuple[int, int, int] | None
    ) -> None:
        self._card, self._network, self._shape, self._tile_px = card, network, shape, tile_px

    def begin(self, spans: Sequence[Span], into: Maps) -> FlatStream:
        """Start a volume with the ranges of its channels."""
        return FlatStream(tasks.RestoreJob(self._card, self._network, tuple(spans), self._tile_px), self._shape, into)


def fits(card: ModelCard) -> bool:
    """Return whether planes can be restored one by one: the network sees no more, and is given counts."""
    return card.axes == "YX" and card.task in {"denoise", "deconvolve"} and card.normalisation == "in-graph"
