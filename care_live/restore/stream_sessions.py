"""The sessions that stream volumes of one size, and what is known of them before a volume begins."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from care_live.backends.failures import refuse_scarce_memory, translated
from care_live.backends.host_memory import available_bytes
from care_live.backends.session import Options
from care_live.config import RestoreConfig
from care_live.errors import CareLiveError, OutOfMemoryError
from care_live.images import Counts, VolumeKey
from care_live.model import file
from care_live.model.card import ModelCard
from care_live.percentiles import Span
from care_live.planewise import tiles
from care_live.planewise.plan import NotPlanewise
from care_live.reasons import Choice, whole
from care_live.restore import two_d
from care_live.restore.choice import broken, decide
from care_live.restore.in_flight import N_STREAMING, InFlight, PlaneProgress, VolumeInFlight
from care_live.restore.repair import Maps
from care_live.restore.tiled import Network
from care_live.restore.two_d import FlatStream, PlaneByPlane
from care_live.restore.volume_stream import VolumeStream
from care_live.tiling import fit_tile, padded

logger = logging.getLogger(__name__)

PreparedStream: TypeAlias = tiles.TileSessions | PlaneByPlane | NotPlanewise
_STREAM_SHARE = 0.3
"""Of the memory that is available: what each of the open streams may take."""


class StreamSessions:
    """Opens streams for stacks of any size, and keeps their sessions.

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
        self._prepared: dict[tuple[int, ...], PreparedStream] = {}
        self.in_flight: InFlight[VolumeStream | None] = InFlight(n_streaming=N_STREAMING)
        """Volumes that are still being recorded; those without a stream wait for their last plane."""
        self._most_px: int | None = None
        """Pixels of a plane that one stream may read, after more did not fit into memory."""

    def warm_up(self, shape: tuple[int, int, int]) -> None:
        """Make the sessions for stacks of one shape, if they can be streamed at all."""
        if self._config.streaming != "off":
            self._prepare(shape)

    def choose(self, shape: tuple[int, ...], *, plane_s: float) -> Choice:
        """Decide for a volume whose first plane is about to come.

        Parameters
        ----------
        plane_s : from one plane of all channels to the next
        """
        try:
            prepared = self._prepare(shape)
        except CareLiveError as error:
            return broken(error)
        return decide(
            _plan_of(prepared),
            self._config,
            plane_s=plane_s,
            free_bytes=int(_STREAM_SHARE * available_bytes()),
            speed=prepared.sessions.speed if isinstance(prepared, tiles.TileSessions) else None,
        )

    def begin(
        self,
        key: VolumeKey,
        recorded: Sequence[Counts],
        spans: Sequence[Span],
        into: Maps,
        *,
        plane_s: float,
        progress: PlaneProgress,
    ) -> VolumeInFlight[VolumeStream | None]:
        """Decide whether to stream a time point of which the first plane is about to come, and begin if so.

        Parameters
        ----------
        key : of its first channel
        recorded : (z, y, x) of each channel, being filled
        spans : of each channel
        into : maps to be filled, as `Engine.empty` makes them
        plane_s : from one plane, of any channel, to the next
        progress : gets how far it is
        """
        volume = self.in_flight.open(key, None)
        choice = volume.choice = self.choose(recorded[0].shape, plane_s=plane_s * len(self._card.channels_in))
        if choice.kind == "whole":
            return volume
        for overtaken in self.in_flight.make_way():
            if overtaken.held is not None:
                overtaken.held.abandon(whole("overtaken"))
        try:
            volume.held = self._stream(recorded, spans, into, choice=choice, progress=progress)
            self.in_flight.stream(volume, choice)
        except CareLiveError as error:
            volume.choice = broken(error)
        return volume

    def _stream(
        self, recorded: Sequence[Counts], spans: Sequence[Span], into: Maps, *, choice: Choice, progress: PlaneProgress
    ) -> VolumeStream:
        prepared = self._prepare(recorded[0].shape)
        assert not isinstance(prepared, NotPlanewise), "it was decided to stream this volume"
        with translated("beginning a stream"):
            if isinstance(prepared, PlaneByPlane):
                stream: FlatStream | tiles.FieldStream = prepared.begin(spans, into)
            else:
                stream = prepared.begin(spans, {str(head): array for head, array in into.items()})
        return VolumeStream(stream, recorded, spans, into, choice=choice, progress=progress)

    @property
    def are_busy(self) -> bool:
        """Whether a volume goes through the network while it is recorded."""
        return any(volume.state == "streaming" for volume in self.in_flight)

    def forget(self, choice: Choice) -> None:
        """Let go of all sessions and end all streams, for a reason; what is needed again is made again."""
        self._prepared.clear()
        for volume in self.in_flight:
            if volume.held is not None:
                volume.held.abandon(choice)
                self.in_flight.stop(volume, choice)

    def make_smaller(self) -> None:
        """Let the next streams read half as much at once: the memory of one has run out."""
        for prepared in self._prepared.values():
            if isinstance(prepared, tiles.TileSessions):
                self._shrink(prepared.plan)
        self._prepared.clear()

    def _prepare(self, shape: tuple[int, ...]) -> PreparedStream:
        if shape not in self._prepared:
            self._prepared.clear()  # a run has one shape; sessions are large
            self._prepared[shape] = self._make(shape)
        return self._prepared[shape]

    def _make(self, shape: tuple[int, ...]) -> PreparedStream:
        tile = self._config.tile_px
        if two_d.fits(self._card):
            return PlaneByPlane(self._card, self._network, shape, tile_px=tile)
        if self._options.provider == "openvino":
            return NotPlanewise("provider")
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

    def _lateral(self, shape: Sequence[int]) -> tuple[int, int] | None:
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


def _plan_of(prepared: PreparedStream) -> tiles.FieldPlan | Choice | None:
    if isinstance(prepared, tiles.TileSessions):
        return prepared.plan
    return whole(prepared.reason, prepared.detail) if isinstance(prepared, NotPlanewise) else None
