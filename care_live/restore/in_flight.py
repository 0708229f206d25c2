"""Streams of the volumes that are still being recorded: whether to stream, and what came of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import psutil

from care_live.backends.failures import refuse_scarce_memory, translated
from care_live.backends.session import Options
from care_live.config import RestoreConfig
from care_live.errors import CareLiveError, OutOfMemoryError, RestoreError
from care_live.images import Counts, VolumeKey
from care_live.model import file
from care_live.model.card import ModelCard
from care_live.percentiles import Histogram, Span, histogram
from care_live.planewise import cost, tiles
from care_live.planewise.plan import NotPlanewise
from care_live.restore import two_d
from care_live.restore.repair import Maps
from care_live.restore.tiled import Network
from care_live.restore.two_d import FlatStream, PlaneByPlane
from care_live.tiling import fit_tile, padded

logger = logging.getLogger(__name__)

_STREAM_SHARE = 0.3
"""Of the memory that is available: what each of the open streams may take."""
_N_OPEN = 2
"""Volumes on their way at once: the next one begins before the last is asked for."""


class Arriving:
    """One volume on its way through the network.

    Parameters
    ----------
    stream : of the whole field; of a 2D network, one that takes each plane alone
    spans : ranges that its normalisation was begun with, of each channel
    into : maps that it fills
    why : it was worth while
    """

    def __init__(self, stream: tiles.FieldStream | FlatStream, spans: Sequence[Span], into: Maps, *, why: str) -> None:
        self._stream: tiles.FieldStream | FlatStream | None = stream
        self._spans, self._into, self.why = tuple(spans), into, why
        self._counts: dict[int, Histogram] = {}
        self._placed: set[tuple[int, int]] = set()
        self.failed: str | None = None
        """Why the whole volume must be restored instead."""
        self.out_of_memory = False

    @property
    def n_restored(self) -> int:
        """Planes from the first on that are final."""
        return 0 if self._stream is None else self._stream.n_restored

    def place(self, z: int, pixels: Counts, *, channel: int) -> None:
        """Take one plane; whatever goes wrong is remembered, and the volume restored whole."""
        if self._stream is None or (channel, z) in self._placed:
            return
        try:
            counts = histogram(pixels)
            self._counts[channel] = self._counts[channel] + counts if channel in self._counts else counts
            self._placed.add((channel, z))
            self._stream.place(channel, z, pixels)
        except (CareLiveError, MemoryError) as error:
            self.out_of_memory = isinstance(error, OutOfMemoryError | MemoryError)
            self.abandon(str(error))

    def counts(self, n_planes: int) -> tuple[Histogram, ...] | None:
        """Return the histogram of each channel, if all planes were placed."""
        if len(self._placed) != n_planes * len(self._spans):
            return None
        return tuple(self._counts[channel] for channel in range(len(self._spans)))

    def finish(self, spans: Sequence[Span], maps: Maps) -> bool:
        """Return whether `maps` hold the restored volume: all planes came, and the range is the one begun with."""
        if self._stream is not None and (maps is not self._into or tuple(spans) != self._spans):
            self.abandon("the range has changed since the first plane")
        if self._stream is not None:
            try:
                self._stream.finish()
            except RestoreError as error:
                self.abandon(str(error))
        return self.failed is None

    def abandon(self, reason: str) -> None:
        """Forget the stream, whose sessions keep memory; keep why."""
        self.failed = self.failed or reason
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.abandon()


class Streams:
    """Opens streams for stacks of any size, keeps their sessions, and knows when to decline.

    Parameters
    ----------
    model, card : the network's file
    network : the same, ready to restore whole planes
    options : how it is run
    config : streaming on, off or auto; largest tile
    """

    def __init__(
        self, model: Path, card: ModelCard, network: Network, *, options: Options, config: RestoreConfig
    ) -> None:
        self._model, self._card, self._network = model, card, network
        self._options, self._config = options, config
        self._pipelines: dict[tuple[int, ...], tiles.TileSessions | PlaneByPlane | NotPlanewise] = {}
        self._open: dict[VolumeKey, Arriving] = {}
        self._most_px: int | None = None
        """Pixels of a plane that one stream may read, after more did not fit into memory."""

    def warm_up(self, shape: tuple[int, int, int]) -> None:
        """Make the sessions for stacks of one shape, if they can be streamed at all."""
        if self._config.streaming != "off":
            self._pipeline(shape)

    def begin(
        self, key: VolumeKey, shape: tuple[int, int, int], spans: Sequence[Span], into: Maps, *, plane_s: float
    ) -> str:
        """Start to restore a time point of which the first plane is about to come, if that pays; else say why not.

        Parameters
        ----------
        key : of its first channel
        spans : of each channel
        plane_s : from one plane, of any channel, to the next
        """
        try:
            pipeline = self._pipeline(shape)
            streams, why = self._choose(pipeline, plane_s * len(spans))
            if isinstance(pipeline, NotPlanewise) or not streams:
                return why
            self._make_way()
            with translated("beginning a stream"):
                self._open[key] = Arriving(_begun(pipeline, spans, into), spans, into, why=why)
        except CareLiveError as error:
            return str(error)
        return ""

    def _make_way(self) -> None:
        at_work = [arriving for arriving in self._open.values() if arriving.failed is None]
        for oldest in at_work[: len(at_work) + 1 - _N_OPEN]:
            oldest.abandon("later volumes came before its last plane")

    def forget(self, reason: str) -> None:
        """Let go of all sessions, and of the volumes that are on their way; what is needed again is made again."""
        self._pipelines.clear()
        for arriving in self._open.values():
            arriving.abandon(reason)

    def place(self, key: VolumeKey, z: int, pixels: Counts, *, channel: int) -> None:
        """Take one plane of a time point; of an unknown one nothing happens."""
        if key in self._open:
            self._open[key].place(z, pixels, channel=channel)

    def n_restored(self, key: VolumeKey) -> int:
        """Return how many planes of a volume, from the first on, are final."""
        arriving = self._open.get(key)
        return 0 if arriving is None or arriving.failed is not None else arriving.n_restored

    def take(self, key: VolumeKey) -> Arriving | None:
        """Return a volume's stream, now the caller's; where its memory ran out, the next ones get smaller tiles."""
        arriving = self._open.pop(key, None)
        if arriving is not None and arriving.out_of_memory:
            for pipeline in self._pipelines.values():
                if isinstance(pipeline, tiles.TileSessions):
                    self._shrink(pipeline.plan)
            self._pipelines.clear()
        return arriving

    def _pipeline(self, shape: tuple[int, int, int]) -> tiles.TileSessions | PlaneByPlane | NotPlanewise:
        if shape not in self._pipelines:
            self._pipelines.clear()  # a run has one shape; sessions are large
            self._pipelines[shape] = self._make(shape)
        return self._pipelines[shape]

    def _make(self, shape: tuple[int, int, int]) -> tiles.TileSessions | PlaneByPlane | NotPlanewise:
        tile = self._config.tile_px
        if two_d.fits(self._card):
            return PlaneByPlane(self._card, self._network, shape, tile_px=tile)
        if self._options.provider == "openvino":
            return NotPlanewise("OpenVINO takes whole volumes: provider = 'cpu' restores planes as they come")
        with translated("preparing to stream"):
            refuse_scarce_memory(self._model.stat().st_size)
            planned = tiles.plan(file.load(self._model), self._card, shape, tile_px=self._lateral(shape))
        if isinstance(planned, NotPlanewise):
            return planned
        try:
            with translated("preparing to stream"):
                return tiles.TileSessions(planned, self._card, self._options)
        except OutOfMemoryError:
            self._shrink(planned)
            raise

    def _lateral(self, shape: tuple[int, int, int]) -> tuple[int, int] | None:
        """Return the largest tile (y, x) of a stream, halo included; None: the whole field."""
        asked = None if self._config.tile_px is None else self._config.tile_px[1:]
        if self._most_px is None:
            return asked
        divisor = self._card.divisor[1:]
        full = padded(shape[1:], divisor)
        y, x = fit_tile(full, asked or full, self._card.halo_px[1:], divisor, budget_px=self._most_px)
        return (y, x)

    def _shrink(self, failed: tiles.FieldPlan) -> None:
        """Let the next streams read half as much at once."""
        _, y, x = failed.tile.plane_shape
        self._most_px = y * x // 2
        self._network.degraded = True
        logger.warning("out_of_memory streamed_tile_px=%s", (y, x))

    def _choose(self, pipeline: tiles.TileSessions | PlaneByPlane | NotPlanewise, plane_s: float) -> tuple[bool, str]:
        """Return whether to stream, and why or why not; told with the volume, and logged when it changes."""
        if isinstance(pipeline, NotPlanewise):
            return False, pipeline.reason
        if isinstance(pipeline, PlaneByPlane):
            return True, "a 2D network needs no other planes"
        if self._config.streaming == "on":
            return True, "restore.streaming is on"
        verdict = cost.decide(
            pipeline.plan.tile.steps,
            n_tiles=len(pipeline.plan.tiles),
            plane_s=plane_s,
            need_bytes=pipeline.plan.peak_bytes,
            free_bytes=int(_STREAM_SHARE * psutil.virtual_memory().available),
            products_per_s=pipeline.sessions.speed.estimate(),
        )
        return verdict.stream, verdict.reason


def _begun(
    pipeline: tiles.TileSessions | PlaneByPlane, spans: Sequence[Span], into: Maps
) -> tiles.FieldStream | FlatStream:
    if isinstance(pipeline, PlaneByPlane):
        return pipeline.begin(spans, into)
    return pipeline.begin(spans, {str(head): array for head, array in into.items()})
