"""How much processor time a volume may take, and how much of it is given at once after inference died over it."""

from __future__ import annotations

from care_live.model.card import ModelCard

_PATIENCE = 5.0
_AT_LEAST_S = 60.0
_SLOW_S_PER_PX = 1e-5
"""Of the default network on one old core."""


class ProcessorPace:
    """Learns how much processor time a voxel takes: it hardly changes when others use the machine too.

    A process that works for ever hangs, just like one that gives no sign of life.
    """

    def __init__(self) -> None:
        self._usual_s_per_px = 0.0
        self._n_deaths = 0
        self.budget_px: int | None = None
        """Pixels that inference may read at once, after it died twice over one volume; None: as memory allows.

        A system that runs out of memory ends a process without a message. The first death may have any cause.
        """

    def limit_s(self, n_px: int, card: ModelCard) -> float:
        """Return five times what these raw voxels usually take; what a slow machine needs, before the first."""
        per_px = self._usual_s_per_px or _SLOW_S_PER_PX * card.members * max(1.0, card.factor)
        return max(_AT_LEAST_S, _PATIENCE * per_px * n_px)

    def learn(self, n_px: int, took_s: float) -> None:
        """Note how much processor time a volume took."""
        self._n_deaths = 0
        per_px = took_s / n_px
        self._usual_s_per_px += 0.2 * (per_px - self._usual_s_per_px) if self._usual_s_per_px else per_px

    def died(self, n_px: int) -> None:
        """Note that inference died over a volume of this number of raw voxels."""
        self._n_deaths += 1
        if self._n_deaths > 1:
            self.budget_px = max(1, n_px >> (self._n_deaths - 1))
