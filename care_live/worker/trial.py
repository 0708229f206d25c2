"""Another network beside the running one: loaded and tried in the background; it takes over between two volumes."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from care_live.errors import CareLiveError, ModelError
from care_live.images import Restored, Volume, VolumeHead, VolumeKey
from care_live.live_frame import LIVE_POSITION
from care_live.model.card import ModelCard
from care_live.restore import past
from care_live.restore.channel_choice import ChannelChoice
from care_live.restore.ranges import LearntRanges
from care_live.restore.result_maps import ResultMaps
from care_live.wire.codec import record_of
from care_live.worker import protocol
from care_live.worker.buffers import SharedVolume, lay_out
from care_live.worker.earlier_volumes import FindEarlier, find_none
from care_live.worker.liveness import LostError
from care_live.worker.shared_memory import Pool

if TYPE_CHECKING:  # its process was started elsewhere
    from care_live.worker.inference_link import InferenceLink

logger = logging.getLogger(__name__)

TrialPhase: TypeAlias = Literal["loading", "trying", "proved", "refused"]

LOAD_S = 120.0
"""How long a network may take to load."""
TRIAL_S = 60.0
"""How long it may take for its first volume, or ten times as long as the running network takes."""
_TRIAL_TIMES = 10.0
_TRIALS = 3
"""Volumes on which a slow network is tried before it is refused."""
MUCH_SLOWER = 1.5
"""Both networks may run at once during the trial, and halve each other's speed."""


@dataclass(frozen=True, slots=True)
class Tempo:
    """How long a volume takes, and how long it may take."""

    took_s: float
    """The network on trial, for one time point; measured while the running network may be at work, too."""
    usual_s: float | None
    """The running network, for the same one; None where it was restored plane by plane while it was recorded."""
    interval_s: float | None
    """From one time point to the next, planned or measured; None: not known."""

    @property
    def is_slower(self) -> bool:
        """Whether it is much slower than the running network, or might be."""
        return self.usual_s is None or self.took_s > MUCH_SLOWER * self.usual_s

    @property
    def falls_behind(self) -> bool:
        """Whether it could not keep up with the acquisition even alone on the machine."""
        return self.interval_s is not None and self.is_slower and self.took_s > 2 * self.interval_s

    def __str__(self) -> str:
        text = f"it takes {_seconds(self.took_s)} a volume"
        if self.usual_s is not None:
            text += f", {self.took_s / max(self.usual_s, 1e-6):.1f} times as long as the network before"
        if self.interval_s is not None:
            text += f"; one comes every {_seconds(self.interval_s)}"
        return text


def _seconds(duration_s: float) -> str:
    return f"{duration_s:.2g} s" if duration_s < 100 else f"{duration_s:.0f} s"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two networks on the same volume."""

    rms: float
    """Root mean square difference of the means, relative to the range between low and high."""
    largest: float
    tempo: Tempo

    def __str__(self) -> str:
        apart = f"{self.rms:.2%} of its range (rms), {self.largest:.2%} at most"
        return (
            f"took over; on the same volume its mean differs from that of the network before by {apart}; {self.tempo}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A volume that the running network has restored, for a candidate to restore again."""

    network: int
    """Number of the running network."""
    card: ModelCard
    """Its card."""
    volumes: tuple[Volume, ...]
    restored: tuple[Restored, ...]
    usual_s: float | None
    """How long the running network took; None where it began while the volumes were recorded."""
    earlier: FindEarlier = find_none
    """Finds volumes of the time points before, as many as the candidate reads."""


@dataclass(frozen=True, slots=True, eq=False)
class _OnTrial:
    """Where the candidate writes, and what the running network made of the same volumes."""

    shared: SharedVolume
    running: Trial


class Candidate:
    """A network on trial. Nothing here waits: `advance` is called after each volume and moves on if it can.

    Parameters
    ----------
    inference : its process, which was just started, with all networks of the run
    network : its number among them
    even_if_slow : take it though it can't keep up with the acquisition
    """

    def __init__(self, inference: InferenceLink, network: int, *, even_if_slow: bool = False) -> None:
        self.inference, self.network = inference, network
        self.phase: TrialPhase = "loading"
        self.reason = ""
        """Why it was refused."""
        self.comparison: Comparison | None = None
        self._even_if_slow = even_if_slow
        self._trial: _OnTrial | None = None
        self._took_s: list[float] = []
        self._tempo: Tempo | None = None
        self._until_s = time.monotonic() + LOAD_S

    def advance(self, running: Trial, pool: Pool, interval_s: float | None) -> None:
        """Take one step: once it is loaded, let it restore this volume; once it has restored, compare.

        Parameters
        ----------
        running : what the running network has just done
        pool : memory to share
        interval_s : from one time point to the next; None: not known
        """
        if running.network != self.network:
            return  # a volume of another channel
        try:
            if self.phase == "loading" and self.inference.has_news():
                refuse_other_kind(self.inference.await_ready(0.0).networks[self.network].card, running.card)
                self._try(running, pool)
            elif self.phase == "trying" and self.inference.has_news():
                answer = self.inference.receive(limit_s=0.0)
                if self._time(answer, interval_s):
                    self._compare()
                else:
                    self._try(running, pool)
        except CareLiveError as error:
            self.refuse(str(error))
        except Exception as error:  # noqa: BLE001 - the running network's volume must not suffer
            self.refuse(f"{type(error).__name__}: {error}")

    def look(self) -> None:
        """Give it up if it died, hangs or takes too long; to be called every now and then."""
        if self.phase == "refused":
            return
        if self.inference.is_dead:
            self.refuse(self._last_words())
        elif self.phase == "proved" or self.inference.has_news():
            return  # it waits for the next volume
        elif how := self.inference.lost():
            self.refuse(f"its process {how}")
        elif time.monotonic() > self._until_s:
            absent = "no machine was there to load it in time"
            self.refuse(absent if self.inference.is_absent else f"it was not done with {self.phase} in time")

    def _last_words(self) -> str:
        """Return why its process ended."""
        try:
            self.inference.receive(limit_s=0.0)
        except LostError as lost:
            return f"its process {lost}"
        except CareLiveError as reason:
            return str(reason)
        return "its process died"

    @property
    def ready(self) -> protocol.Ready:
        """What its process reports once the network is loaded."""
        assert self.inference.ready is not None, "a candidate has an identity once it is loaded"
        return self.inference.ready

    @property
    def card(self) -> ModelCard:
        """Of the network on trial."""
        return self.ready.networks[self.network].card

    def kept_ranges(
        self, learnt: LearntRanges, running: Sequence[protocol.NetworkReady], channels: ChannelChoice | None
    ) -> LearntRanges:
        """Return learnt intensity ranges, those of its channels only if it measures them at the same percentiles.

        Parameters
        ----------
        learnt : by volumes so far
        running : all networks that run
        channels : of each network; None: not known
        """
        measures, before = ("low_percentile", "high_percentile", "normalisation"), running[self.network].card
        if all(getattr(self.card, what) == getattr(before, what) for what in measures):
            return dict(learnt)
        others = channels if len(running) > 1 else None
        return {place: one for place, one in learnt.items() if self._is_of_another(place, others)}

    def _is_of_another(self, place: tuple[int, int], channels: ChannelChoice | None) -> bool:
        """Return whether another network restores a position and channel of the run."""
        p, c = place
        group = None if channels is None or p == LIVE_POSITION else channels.group_of(VolumeKey(0, p, c))
        return group is not None and group.network != self.network

    def refuse(self, reason: str) -> None:
        """Give it up."""
        self.phase, self.reason = "refused", reason
        self.inference.end(0.0)
        self._trial = None
        logger.warning("swap_refused reason=%s", reason)

    def _try(self, running: Trial, pool: Pool) -> None:
        volumes = past.completed(running.volumes, self.card.past, running.earlier(self.card.past))
        shared = lay_out(pool, ResultMaps.of(self.card, self.inference.config), volumes)
        heads = tuple(record_of(VolumeHead, volume) for volume in volumes)
        n_planes, height, width = volumes[0].pixels.shape
        self.inference.send(protocol.WarmUp((n_planes, height, width)))
        work = protocol.Work(heads, shared.addresses, shared.results, {}, pool.alive(), network=self.network)
        self.inference.send(work)
        self._until_s = time.monotonic() + max(TRIAL_S, _TRIAL_TIMES * (running.usual_s or 0.0))
        self._trial, self.phase = _OnTrial(shared, running), "trying"

    def _time(self, answer: protocol.Ready | protocol.Done, interval_s: float | None) -> bool:
        """Return whether it is quick enough; one trial that took long may have had bad luck, so it gets some.

        Raises
        ------
        ModelError
            The network is too slow, or gives no numbers.
        """
        assert isinstance(answer, protocol.Done)
        assert self._trial is not None
        if any("nan_fixed" in result.flags for result in answer.results):
            raise ModelError("the network gives no numbers on the last volume")
        self._took_s.append(max(result.infer_s for result in answer.results))
        self._tempo = Tempo(min(self._took_s), self._trial.running.usual_s, interval_s)
        if not self._tempo.falls_behind or self._even_if_slow:
            return True
        if len(self._took_s) < _TRIALS:
            return False
        raise ModelError(f"the network is too slow: {self._tempo}; --even-if-slow takes it nevertheless")

    def _compare(self) -> None:
        assert self._trial is not None
        assert self._tempo is not None
        shared, before, self._trial = self._trial.shared, self._trial.running.restored, None
        apart = [
            (shared.maps["mean"][c] - result.mean) / max(result.high - result.low, 1e-6)
            for c, result in enumerate(before)
        ]
        self.comparison = Comparison(
            rms=max(float(np.sqrt(np.square(part).mean())) for part in apart),
            largest=max(float(np.abs(part).max()) for part in apart),
            tempo=self._tempo,
        )
        self.phase = "proved"


def refuse_other_kind(card: ModelCard, running: ModelCard) -> None:
    """Raise a ModelError where viewers would suddenly get results of another kind."""
    for what in ("task", "channels_in", "channels_out", "factor", "heads", "output"):
        ours, theirs = getattr(card, what), getattr(running, what)
        if ours != theirs:
            raise ModelError(f"network {card.name} has {what} {ours} but {running.name} has {theirs}: start a new run")
