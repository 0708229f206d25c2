"""A network that is opened but not run: its inputs show which sessions the real volumes will need."""

from __future__ import annotations

from collections.abc import Sequence

from care_live.percentiles import Span
from care_live.restore.tiled import Array, Network


class DryRunNetwork:
    """Takes a network's place where volumes are to come, and runs nothing.

    On a CPU a first run is 5 to 10 % slower than the next ones, so that to run once beforehand would cost ten times
    what it saves.

    Parameters
    ----------
    network : gets the sessions
    """

    def __init__(self, network: Network) -> None:
        self._network = network

    def predict(
        self, pixels: Array, spans: Sequence[Span], into: Sequence[Array], *, tile_px: Sequence[int] | None
    ) -> None:
        """Make the session for a field (n, c, …space); the results are ones, because what follows needs numbers."""
        self._network.open(pixels.shape, tile_px)
        for out in into:
            out[...] = 1
