"""Another network beside the running one: loaded and tried in the background, taken over between two volumes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from care_live.config import RestoreConfig
from care_live.errors import CareLiveError, ModelError
from care_live.images import Restored, Volume
from care_live.model.card import ModelCard
from care_live.restore import talk
from care_live.restore.incoming import NO_PIXELS, Room, lay_out
from care_live.restore.inference_process import Inference
from care_live.restore.ranges import Memories
from care_live.restore.shared import Pool

logger = logging.getLogger(__name__)

Phase: TypeAlias = Literal["loading", "trying", "proved", "refused"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two networks on the same volume."""

    rms: float
    """Root mean square difference of the means, relative to the range between low and high."""
    largest: float

    def __str__(self) -> str:
        apart = f"{self.rms:.2%} of its range (rms), {self.largest:.2%} at most"
        return f"took over; from what the network before made of the same volume, its own differs by {apart}"


class Candidate:
    """A network on trial. Nothing here waits: `advance` is called after each volume and moves on if it can.

    Parameters
    ----------
    model : its file
    config : of the running network; all but the model stays
    """

    def __init__(self, model: Path, config: RestoreConfig) -> None:
        self.inference = Inference(config.model_copy(update={"model": model}))
        self.phase: Phase = "loading"
        self.reason = ""
        """Why it was refused."""
        self.comparison: Comparison | None = None
        self._trial: tuple[Room, tuple[Restored, ...]] | None = None

    def advance(self, card: ModelCard, volumes: Sequence[Volume], restored: tuple[Restored, ...], pool: Pool) -> None:
        """Take one step: is it loaded? then let it try this volume; has it tried? then compare.

        Parameters
        ----------
        card : of the running network
        volumes, restored : what the running network has just done
        """
        try:
            if self.phase == "loading" and self.inference.has_news():
                refuse_other_kind(self.inference.await_ready(0.0).card, card)
                self._try(volumes, restored, pool)
            elif self.phase == "trying" and self.inference.has_news():
                self._compare(self.inference.hear(limit_s=0.0))
        except CareLiveError as error:
            self.refuse(str(error))

    def fitting(self, memories: Memories, running: ModelCard) -> Memories:
        """Return the learnt intensity ranges, if this network measures them at the same percentiles."""
        assert self.inference.ready is not None
        card = self.inference.ready.card
        measures = ("low_percentile", "high_percentile", "normalisation")
        same = all(getattr(card, what) == getattr(running, what) for what in measures)
        return memories if same else {}

    def refuse(self, reason: str) -> None:
        """Give it up."""
        self.phase, self.reason = "refused", reason
        self.inference.end(0.0)
        logger.warning("swap_refused reason=%s", reason)

    def _try(self, volumes: Sequence[Volume], restored: tuple[Restored, ...], pool: Pool) -> None:
        assert self.inference.ready is not None
        room = lay_out(pool, self.inference.ready.card, volumes)
        bare = tuple(replace(volume, pixels=NO_PIXELS) for volume in volumes)
        n_planes, height, width = volumes[0].pixels.shape
        self.inference.tell(talk.WarmUp((n_planes, height, width)))
        self.inference.tell(talk.Work(bare, room.places, room.results, {}, pool.alive()))
        self._trial, self.phase = (room, restored), "trying"

    def _compare(self, answer: talk.Ready | talk.Done) -> None:
        assert isinstance(answer, talk.Done)
        assert self._trial is not None
        (room, before), self._trial = self._trial, None
        if any("nan_fixed" in outcome.flags for outcome in answer.outcomes):
            raise ModelError("the network gives no numbers on the last volume")
        apart = [
            (room.maps["mean"][c] - result.mean) / max(result.high - result.low, 1e-6)
            for c, result in enumerate(before)
        ]
        self.comparison = Comparison(
            rms=max(float(np.sqrt(np.square(part).mean())) for part in apart),
            largest=max(float(np.abs(part).max()) for part in apart),
        )
        self.phase = "proved"


def refuse_other_kind(card: ModelCard, running: ModelCard) -> None:
    """Raise a ModelError where watchers would suddenly get something of another kind."""
    for what in ("task", "channels_in", "channels_out", "factor", "heads", "output"):
        ours, theirs = getattr(card, what), getattr(running, what)
        if ours != theirs:
            raise ModelError(f"network {card.name} has {what} {ours} but {running.name} has {theirs}: start a new run")
