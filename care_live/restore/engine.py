"""Restore volumes in this process: measure the range, run the network, return the maps and their flags."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np

from care_live.backends.failures import translated
from care_live.config import RestoreConfig
from care_live.errors import OutOfMemoryError, RestoreError
from care_live.images import Flag, ModelIdentity, Restored, Volume, VolumeKey, read_only
from care_live.live_frame import LIVE_POSITION
from care_live.model import checks, file
from care_live.model.card import ModelCard
from care_live.percentiles import Span
from care_live.reasons import Choice, whole
from care_live.restore import past, ranges, tasks
from care_live.restore.channel_choice import ChannelGroup
from care_live.restore.dry_run import DryRunNetwork
from care_live.restore.examination import examined
from care_live.restore.geometry import Field, gather, output_voxel_um, source_of
from care_live.restore.repair import Maps, mend
from care_live.restore.result_maps import ResultMaps
from care_live.restore.select import open_network, precision_of
from care_live.restore.stream_sessions import StreamSessions
from care_live.restore.volume_stream import VolumeStream
from care_live.simulate.lies import lie
from care_live.trust import camera_file
from care_live.trust.examiner import Examiner

logger = logging.getLogger(__name__)

_TRIES = 4
"""Of a volume for which memory runs out anywhere: as it is, with all that is kept given back, and twice in halves."""


class Engine:
    """A network, checked, warm and ready to restore volumes in order.

    Parameters
    ----------
    model : ONNX file with a model card
    config : provider, threads, tiles, normalisation
    budget_px : pixels that one run may read, where more than that has failed before; None: as memory allows
    running : entered around every run of the network
    numbers : take pixels of any type, as floating-point numbers; False: camera counts, uint8 or uint16
    free_memory : called where memory has run out, so that other networks of the process give theirs back

    Raises
    ------
    ModelError
        The network or its card must not run; the message has the reason.
    ConfigError
        The provider cannot run here.
    """

    def __init__(
        self,
        model: Path,
        config: RestoreConfig,
        *,
        budget_px: int | None = None,
        running: Callable[[], AbstractContextManager[None]] = nullcontext,
        numbers: bool = False,
        free_memory: Callable[[], None] = lambda: None,
    ) -> None:
        checks.check(model)
        self.card: ModelCard = file.read_card(model)
        checks.check_card(self.card)
        self.identity: ModelIdentity = file.identity(model)
        self.memories: dict[tuple[int, int], ranges.LearntRange] = {}
        """What earlier volumes taught, by position and channel."""
        self._config, self._free_memory = config, free_memory
        self._network, options = open_network(model, self.card, config, running=running, float_input=numbers)
        self.provider, self.precision = options.provider, precision_of(options)
        if config.fast_mode:  # every watcher gets what it costs on this machine
            measured_here = {"fast_mode_deviation": self._network.fast_mode_deviation}
            self.card = self.card.model_copy(update=measured_here)
        if self._network.quantised:
            self.card = self.card.model_copy(update={"quantised": True})
        if budget_px is not None:
            self._network.restrict(budget_px)
        self.streams = StreamSessions(model, self.card, self._network, options=options, config=config)
        """Volumes that are still being recorded."""
        camera = None if config.camera is None else camera_file.read(config.camera)
        self._examiner = Examiner(self.card, camera) if config.evidence and not numbers else None
        self._results = ResultMaps.of(self.card, config, numbers=numbers)
        self._lasting: frozenset[Flag] = frozenset({"fast_mode"}) if config.fast_mode else frozenset()

    def restore(
        self,
        volumes: Sequence[Volume],
        into: Maps | None = None,
        *,
        stream: VolumeStream | None = None,
        outputs: Sequence[int] = (),
    ) -> tuple[Restored, ...]:
        """Restore one time point of one position.

        Parameters
        ----------
        volumes : one for each input channel of the card; for a network that reads the past, those of earlier time
            points after them, as `past.completed` orders them, or none: the present then stands in
        into : arrays to write to, as `empty` makes them; None: new ones
        stream : what was restored already while the planes came; used if nothing has changed since
        outputs : channel of each result; none: as `ChannelGroup.outputs` counts them

        Returns
        -------
        One result for each output channel, arrays read-only.

        Raises
        ------
        OutOfMemoryError
            Not even the smallest tiles fit; once there is memory again, the next volume does.
        RestoreError
            The channels do not fit the network, or inference failed.
        """
        begun = time.perf_counter()
        self._refuse_other_channels(volumes)
        read = self._with_past(volumes)
        volumes = read[: len(self.card.channels_in)]
        before, detail = (self._network.budget_px, self._network.degraded), ""
        for n_failed in range(_TRIES):
            if n_failed:
                self._give_back(volumes, stream, n_failed, detail)
            try:
                maps, spans, flags = self._restore(read, into, None if n_failed else stream)
                infer_s = time.perf_counter() - begun
                packed = self._pack(read, maps, spans, flags=flags, infer_s=infer_s, outputs=outputs)
                if self._examiner is None or packed[0].key.p == LIVE_POSITION:  # Live is quick, and not examined
                    return packed
                return tuple(examined(self._examiner, one, maps, c) for c, one in enumerate(packed))
            except (OutOfMemoryError, MemoryError) as error:  # of whatever library; kept, it would keep its arrays
                detail = str(error) or "host memory ran out"
        self._network.budget_px, self._network.degraded = before  # smaller tiles have not helped
        self._give_back(volumes, stream, 1, detail)
        key = tuple(volumes[0].key)
        raise OutOfMemoryError(f"no memory to restore volume {key}: {detail}; its raw planes are safe")

    def _restore(
        self, read: Sequence[Volume], into: Maps | None, stream: VolumeStream | None
    ) -> tuple[Maps, tuple[Span, ...], frozenset[Flag]]:
        """Fill the maps; the ranges of these volumes are kept once the maps are filled."""
        n = len(self.card.channels_in)
        volumes, counts = read[:n], None if stream is None else stream.counts(len(read[0].pixels))
        field = gather(volumes, None if counts is None else counts[:n])
        choices = self._choose_spans(volumes, field)
        spans = tuple(choice.span for choice in choices.values())
        maps = self.empty(field.pixels.shape[1:]) if into is None else into
        given = {head: maps[head] for head in self.card.heads}
        seen = spans * (1 + self.card.past)  # the earlier time points in the range of the present one
        if stream is None or not stream.finish(seen, maps):
            job = tasks.RestoreJob(self.card, self._network, seen, self._config.tile_px)
            tasks.run(job, past.joined(field.pixels, read[n:]), given)
        ranges.undo_around(self.card, spans, given)
        if self._config.lies:
            lie(maps["mean"][0], volumes[0].key.t, spans[0].width)
        empty = any(choice.empty for choice in choices.values())
        flags = field.flags | self._flags(mended=mend(given), empty=empty)
        self.memories |= {place: choice.memory for place, choice in choices.items()}
        return maps, spans, flags

    def learn(self, volumes: Sequence[Volume]) -> None:
        """Remember what a time point teaches of the range, as `restore` would, and restore nothing.

        Raises
        ------
        RestoreError
            The channels do not fit the network.
        """
        self._refuse_other_channels(volumes)
        volumes = volumes[: len(self.card.channels_in)]
        choices = self._choose_spans(volumes, gather(volumes))
        self.memories |= {place: choice.memory for place, choice in choices.items()}

    def knows_range(self, keys: Sequence[VolumeKey]) -> bool:
        """Tell whether these volumes have a range that no further volume changes."""
        memories = (self.memories.get((key.p, key.c), ranges.LearntRange()) for key in keys)
        return all(ranges.known_before(memory, self._config.normalise) is not None for memory in memories)

    @property
    def forgets_older_volumes(self) -> bool:
        """Whether a range depends on the last volume with signal alone."""
        return self._config.normalise.mode == "per-volume"

    def has_measured(self, keys: Sequence[VolumeKey]) -> bool:
        """Tell whether volumes of these places, with signal, came before."""
        return all(self.memories.get((key.p, key.c), ranges.LearntRange()).n_measured > 0 for key in keys)

    def forget_ranges(self, p: int) -> None:
        """Forget what the volumes of a stage position taught."""
        self.memories = {place: memory for place, memory in self.memories.items() if place[0] != p}

    def forget_camera(self) -> None:
        """Forget what earlier volumes have shown of the camera, by which evidence and trust judge."""
        if self._examiner is not None:
            self._examiner.forget()

    def _give_back(self, volumes: Sequence[Volume], stream: VolumeStream | None, n_failed: int, detail: str) -> None:
        """Let go of all that is only kept for speed; the second time, read half as much at once, too."""
        choice = whole("failed", detail)
        if stream is not None:
            stream.abandon(choice)
        self.rest(choice)
        self._free_memory()
        if n_failed > 1:
            n_px = sum(volume.pixels.size for volume in volumes)
            self._network.restrict(min(self._network.budget_px, n_px) // 2)
        logger.warning("out_of_memory key=%s tries=%d detail=%s", tuple(volumes[0].key), n_failed, detail)

    def rest(self, choice: Choice) -> None:
        """Give back all memory that is only kept for speed, and end the streams for a reason."""
        self.streams.forget(choice)
        self._network.forget()

    @property
    def is_streaming(self) -> bool:
        """Whether a volume goes through the network while it is recorded."""
        return self.streams.are_busy

    def need_bytes(self, n_px: int) -> int:
        """Return what a volume of this number of voxels takes at most, as counted from the network's graph."""
        return int(self._network.bytes_per_px * min(n_px, self._network.budget_px))

    def warm_up(self, shape: tuple[int, int, int]) -> None:
        """Get ready for whole raw volumes (z, y, x): make sessions; on a device find tiles that fit, and run once.

        Nothing is learnt. Streams get ready for themselves: `streams.warm_up`.

        Raises
        ------
        RestoreError
            Inference failed; so it will for volumes of this shape.
        """
        n_in = self.card.n_inputs
        network = self._network if self.provider in {"cuda", "tensorrt"} else DryRunNetwork(self._network)
        job = tasks.RestoreJob(self.card, network, (Span(0.0, 1.0),) * n_in, self._config.tile_px)
        with translated("warm-up"):
            tasks.run(job, np.zeros((n_in, *shape), np.uint16), self.empty(shape))

    def empty(self, shape: Sequence[int]) -> Maps:
        """Return arrays for the result of a raw volume (z, y, x).

        float32 for every watcher and for the store: who wants quantised maps gets them where they are sent. What
        leaves a device as codes (`restore.quantised`), of ranges of its own in every run, is float32 again from here
        on; on a CPU that would save 0.2 % of a volume, and is not done.
        """
        return {head: np.empty(own, np.float32) for head, own in self._results.shapes(shape).items()}

    def _refuse_other_channels(self, volumes: Sequence[Volume]) -> None:
        if len(volumes) not in (len(self.card.channels_in), self.card.n_inputs):
            raise RestoreError(
                f"network {self.card.name} takes {len(self.card.channels_in)} channels "
                f"({', '.join(self.card.channels_in)}) but got {len(volumes)}"
            )

    def _with_past(self, volumes: Sequence[Volume]) -> tuple[Volume, ...]:
        """Return a volume for each channel of the graph."""
        alone = len(volumes) == len(self.card.channels_in)
        return past.completed(volumes, self.card.past, {}) if alone else tuple(volumes)

    def _choose_spans(self, volumes: Sequence[Volume], field: Field) -> dict[tuple[int, int], ranges.RangeChoice]:
        """Return the range of each channel, by position and channel, and what it teaches."""
        return ranges.choose_each(self.card, volumes, field.histograms, self.memories, config=self._config.normalise)

    def _flags(self, *, mended: bool, empty: bool) -> frozenset[Flag]:
        found: dict[Flag, bool] = {"nan_fixed": mended, "empty": empty, "degraded": self._network.degraded}
        return self._lasting | {flag for flag, applies in found.items() if applies}

    def _pack(
        self,
        read: Sequence[Volume],
        maps: Maps,
        spans: Sequence[Span],
        *,
        flags: frozenset[Flag],
        infer_s: float,
        outputs: Sequence[int],
    ) -> tuple[Restored, ...]:
        n_out, n_in = len(self.card.channels_out), len(self.card.channels_in)
        volumes, now = read[:n_in], read[0].key.t
        earlier = tuple(dict.fromkeys(one.key for one in read[n_in:] if one.key.t != now))
        inputs = tuple(volume.key.c for volume in volumes)
        results = []
        for c, channel in enumerate(outputs or ChannelGroup(0, inputs).outputs(n_out)):
            source = source_of(c, len(volumes))
            volume, span = volumes[source], spans[source]
            results.append(
                Restored(
                    key=volume.key._replace(c=channel),
                    sources=tuple(source.key for source in volumes),
                    earlier=earlier,
                    maps={head: read_only(maps[head][c]) for head in self.card.heads},
                    voxel_size_um=output_voxel_um(self.card, volume.pixels.shape, volume.voxel_size_um),
                    low=span.low,
                    high=span.high,
                    model=self.identity,
                    raw=volume,
                    flags=flags,
                    infer_s=infer_s,
                )
            )
        return tuple(results)
