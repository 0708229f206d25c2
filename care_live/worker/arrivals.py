"""Planes of volumes that are still being recorded, on their way to inference: the intake never waits for it here."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from care_live.config import RestoreConfig
from care_live.errors import OutOfMemoryError
from care_live.images import Counts, Frame, Restored, Volume, VolumeKey
from care_live.model.card import ModelCard
from care_live.open_volumes import VolumeOpened
from care_live.percentiles import Span
from care_live.reasons import Choice, whole
from care_live.restore import choice, past
from care_live.restore.channel_choice import ChannelChoice, ChannelGroup
from care_live.restore.geometry import fill_missing
from care_live.restore.in_flight import N_OPEN, InFlight, VolumeInFlight
from care_live.restore.ranges import known_spans
from care_live.restore.result_maps import ResultMaps
from care_live.worker import protocol
from care_live.worker.arriving_volume import ArrivingVolume
from care_live.worker.buffers import SharedVolume, allocate, lay_out, planes_of
from care_live.worker.earlier_volumes import EarlierVolumes
from care_live.worker.shared_memory import Pool

if TYPE_CHECKING:  # all that is sent to a process goes through its `send`
    from care_live.worker.inference_link import InferenceLink
    from care_live.worker.inference_process import RunningNetworks

logger = logging.getLogger(__name__)

_AHEAD = 8
"""Planes that inference is sent before it has taken in the first of them: the pipe must never fill up."""


class Arrivals:
    """The daemon's table of volumes in flight, behind a lock that is held for moments only.

    Intake and the restoring stage share it.

    Parameters
    ----------
    pool : memory to share
    config : streaming on or off, ranges
    """

    def __init__(self, pool: Pool, config: RestoreConfig) -> None:
        self._pool, self._config = pool, config
        self._guard = threading.Lock()
        self._running: RunningNetworks | None = None
        self.channels: ChannelChoice | None = None
        """Which network reads which channel; None: not known before a run, the first one reads what comes."""
        self.earlier = EarlierVolumes()
        """Volumes of the time points before, for networks that read them."""
        self._in_flight: InFlight[ArrivingVolume] = InFlight(n_open=len(config.networks) * N_OPEN)
        self._given_up: list[SharedVolume] = []
        """Inference may still write to them until it has answered the next request."""
        self._of_another: list[SharedVolume] = []
        """The network before may still write to them."""
        self._n_unanswered: Counter[int] = Counter()
        """Orders to stream a volume since the last answer of inference, by network."""
        self._last_ns = 0
        self._plane_s = 0.0
        """Recent time from one plane to the next."""

    def go_to(self, running: RunningNetworks | None) -> None:
        """Send planes to this network's process from now on; the one before is dead, or there was none."""
        with self._guard:
            self._running = running

    def begin_anew(self) -> None:
        """Drop what the process was sent: another one takes over, and the old one may still write to its memory."""
        with self._guard:
            gone = [self._in_flight.abandon(volume.key, whole("swapped")) for volume in self._in_flight]
            self._of_another = self._given_up + [volume.held.shared for volume in gone if volume is not None]
            self._given_up, self._running = [], None
            self._n_unanswered.clear()

    def begin(self, opened: VolumeOpened) -> None:
        """Give a volume, at its first plane, memory that inference sees, and let inference start if it can.

        A hint: without it, or without some of the planes, the volume is restored once it is complete. Does not wait
        for inference.
        """
        with self._guard:
            if (running := self._running) is None:
                return
            group = self._group_of(opened.key)
            card = running.ready.networks[group.network].card
            ranges = self._config.normalise if choice.may_stream(self._config, card) else None
            spans = known_spans(running.memories, opened.key, len(card.channels_in), ranges, order=group.inputs)
            n_unanswered = self._n_unanswered[group.network]
            why_whole = choice.at_first_plane(
                self._config, card, spans, n_unanswered=n_unanswered, link_is_full=running.inference.is_full
            )
            if why_whole is not None and not spans:
                self._abandon(opened.key, why_whole)
            elif not self._joins(opened, tuple(spans)):
                self._open(opened, replace(group, inputs=tuple(spans)), spans, why_whole)

    def place(self, frame: Frame) -> None:
        """Copy a plane that is in its volume to shared memory, and notify inference. Does not wait for inference."""
        with self._guard:
            self._notice_rate()
            t, p, c, z = frame.index
            for volume in self._in_flight:
                arriving = volume.held
                planned = arriving.planned.get(c, ())
                if (volume.key.t, volume.key.p) == (t, p) and z in planned:
                    arriving.place(c, planned.index(z), frame.pixels)
            self._send_news()

    def restored_planes(self, voxel_size_um: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> list[Restored]:
        """Return planes that became final since the last call, of volumes that are still being recorded.

        Parameters
        ----------
        voxel_size_um : of restored volumes
        """
        with self._guard:
            self._send_news()
            found: list[Restored] = []
            for volume in self._in_flight:
                arriving = volume.held
                first, last = arriving.n_shown, arriving.shared.progress.n_restored
                if volume.state == "streaming" and last > first and self._running is not None:
                    arriving.n_shown = last
                    begun = Restored(
                        key=volume.key,
                        sources=(),
                        maps={},
                        voxel_size_um=voxel_size_um,
                        low=0.0,
                        high=0.0,
                        model=self._running.ready.networks[arriving.group.network].identity,
                        raw=None,
                        z=slice(first, last),
                    )
                    found += planes_of(begun, arriving.known_spans, arriving.shared, arriving.group)
            return found

    def shared_volume(self, volumes: Sequence[Volume], card: ModelCard) -> tuple[SharedVolume, Choice | None]:
        """Return the shared memory that the planes went into, or lay the volumes out now.

        Returns
        -------
        Also why they are restored as a whole; None: inference was asked to stream them, and has got all planes.
        """
        with self._guard:
            volume = self._in_flight.complete(volumes[0].key)
            if volume is not None and volume.held.is_complete(volumes):
                return volume.held.shared, volume.choice
            if volume is None:
                why_whole = self._in_flight.why_not(volumes[0].key) or whole("stored")
            else:
                self._given_up.append(volume.held.shared)
                why_whole = volume.choice or whole("plane-missing")
        return lay_out(self._pool, ResultMaps.of(card, self._config), volumes), why_whole

    def is_streaming(self, key: VolumeKey) -> bool:
        """Return whether a volume goes through this network while it is recorded."""
        with self._guard:
            volume = self._in_flight.get(key)
            return volume is not None and volume.state == "streaming"

    def drop(self, key: VolumeKey) -> Choice | None:
        """Forget a volume that another worker restores; return why it was not streamed here, if it was not."""
        with self._guard:
            volume = self._in_flight.get(key)
            if volume is None:
                return self._in_flight.why_not(key)
            why = None if volume.state == "streaming" else volume.choice
            self._abandon(key, why or whole("moved"))
            self._in_flight.why_not(key)
            return why

    def refuse(self, key: VolumeKey, why: Choice) -> None:
        """Note why a volume that will be restored here was not streamed."""
        with self._guard:
            self._abandon(key, why)

    @contextlib.contextmanager
    def asked(self, inference: InferenceLink, work: protocol.Work) -> Iterator[None]:
        """Send work; inside, inference may still be writing to the memory of volumes that were given up."""
        with self._guard:
            given_up, self._given_up = self._given_up, []
            inference.send(work)
        try:
            yield
        finally:
            with self._guard:
                self._n_unanswered.clear()
                given_up.clear()

    def _group_of(self, key: VolumeKey) -> ChannelGroup:
        """Return the network of a volume, and its channels where they are known."""
        found = None if self.channels is None else self.channels.group_of(key)
        return found or ChannelGroup(0, ())

    def _joins(self, opened: VolumeOpened, channels: tuple[int, ...]) -> bool:
        """Return whether this channel belongs to a time point that is open already."""
        volume = self._in_flight.get(opened.key._replace(c=channels[0]))
        if volume is None or opened.key.c in volume.held.planned:
            return False
        volume.held.planned[opened.key.c] = opened.planes
        if volume.held.shared.pixels[0].shape != _shape_of(opened):
            self._abandon(volume.key, whole("failed", "its channels have different shapes"))
        return True

    def _open(
        self, opened: VolumeOpened, group: ChannelGroup, spans: Mapping[int, Span | None], why_whole: Choice | None
    ) -> None:
        """Take memory for a time point at the first plane of its first channel; order inference to stream it."""
        key = opened.key._replace(c=group.inputs[0])
        if self._in_flight.get(key) is not None:
            self._abandon(key, whole("overtaken"))
        for gone in self._in_flight.evict():
            self._forget(gone)
        try:
            assert self._running is not None, "planes arrive for networks that run"
            card = self._running.ready.networks[group.network].card
            rows = self._past_of(opened, group, card.past)
            why_whole = why_whole or (whole("past-unknown") if rows is None else None)
            read = past.by_rule(tuple(key._replace(c=c) for c in group.inputs), [_keys_of(row) for row in rows or ()])
            shapes = [_shape_of(opened)] * len(read)
            shared = allocate(self._pool, ResultMaps.of(card, self._config), shapes, np.dtype(opened.dtype))
        except OutOfMemoryError as error:
            logger.warning("no_memory_while_recording key=%s reason=%s", tuple(opened.key), error)
            self._abandon(key, choice.broken(error))
            return
        begun, pixels = why_whole is None, tuple(map(_pixels_of, rows or ()))
        arriving = ArrivingVolume(
            shared, group, spans, {opened.key.c: opened.planes}, begun=begun, past=pixels, read=read
        )
        volume = self._in_flight.open(key, arriving, why_whole)
        if why_whole is None:
            self._in_flight.stream(volume)
            self._n_unanswered[group.network] += 1
            where = (shared.addresses, shared.progress_address, shared.results)
            known = tuple(arriving.known_spans.values()) * (1 + card.past)
            self._send(protocol.Begin(key, *where, known, self._plane_s, group.network))

    def _past_of(self, opened: VolumeOpened, group: ChannelGroup, n_past: int) -> tuple[past.Row, ...] | None:
        """Return the volumes of each earlier time point, as `past.rows`; None: one may still come."""
        keys = [opened.key._replace(c=c) for c in group.inputs]
        found = self.earlier.before(keys, n_past)
        if len(found) < len(past.wanted(keys, n_past)):
            return None
        return past.rows(keys, n_past, found, shape=_shape_of(opened), dtype=np.dtype(opened.dtype))

    def _abandon(self, key: VolumeKey, why: Choice) -> None:
        gone = self._in_flight.abandon(key, why)
        if gone is not None:
            self._forget(gone)

    def _forget(self, gone: VolumeInFlight[ArrivingVolume]) -> None:
        """Keep the memory of a volume that was abandoned until inference can't write to it any more."""
        self._given_up.append(gone.held.shared)
        if gone.held.begun and gone.choice is not None:
            self._send(protocol.Abandon(gone.key, gone.choice))

    def _send_news(self) -> None:
        """Send which planes are in place, while inference and the link to it keep up."""
        if self._running is not None and self._running.inference.is_full:
            return
        for volume in self._in_flight:
            arriving = volume.held
            n_ahead = arriving.n_sent - arriving.shared.progress.n_taken
            if volume.state == "streaming" and arriving.unsent and n_ahead < _AHEAD:
                self._send(protocol.PlanesPlaced(volume.key, tuple(arriving.unsent)))
                arriving.n_sent += len(arriving.unsent)
                arriving.unsent = []

    def _send(self, message: protocol.InferenceRequest) -> None:
        if self._running is not None:
            self._running.inference.send(message)

    def _notice_rate(self) -> None:
        """Follow the time between planes; a pause between stacks does not count."""
        now = time.monotonic_ns()
        since_s, self._last_ns = (now - self._last_ns) / 1e9, now
        if self._plane_s == 0.0:
            self._plane_s = min(since_s, 1.0)
        elif since_s < 4 * self._plane_s + 0.1:
            self._plane_s += 0.1 * (since_s - self._plane_s)


def _keys_of(row: past.Row) -> tuple[VolumeKey, ...] | None:
    return None if row is None else tuple(volume.key for volume in row)


def _pixels_of(row: past.Row) -> tuple[Counts, ...] | None:
    return None if row is None else tuple(fill_missing(volume.pixels, volume.integrity) for volume in row)


def _shape_of(opened: VolumeOpened) -> tuple[int, int, int]:
    return (len(opened.planes), *opened.shape_px)
