"""A field of any size streamed: planes are padded and cut into tiles, and each tile has its own stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from care_live.backends.session import Options
from care_live.errors import RestoreError
from care_live.model.card import ModelCard
from care_live.percentiles import Span
from care_live.planewise.plan import NotPlanewise, StreamPlan, plan_live, refusal
from care_live.planewise.stream import PlanSessions, Stream
from care_live.tiling import Shape, Tile, margins, pad, tile_shape, tiles, unpadded

Array = NDArray[Any]
_WORKSPACE = 1.35
"""Other memory layouts, and what the arena rounds up: 1.23 to 1.29 measured (32 planes, one member and five)."""


@dataclass(frozen=True, slots=True, eq=False)
class FieldPlan:
    """How stacks of one size are streamed: what a plane is padded with, its tiles, and the plan of one tile."""

    shape: Shape
    """(z, y, x) of the recorded stack."""
    around: tuple[tuple[int, int], ...]
    """Pixels added before and after y and x."""
    tiles: tuple[Tile, ...]
    """Of the padded plane."""
    tile: StreamPlan

    @property
    def peak_bytes(self) -> int:
        """Most memory that a volume takes: what all tiles carry from step to step, and what one tile works on."""
        return int(_WORKSPACE * ((len(self.tiles) - 1) * self.tile.cache_bytes + self.tile.peak_bytes))


def plan(
    model: onnx.ModelProto, card: ModelCard, shape: Shape, *, tile_px: tuple[int, int] | None = None
) -> FieldPlan | NotPlanewise:
    """Plan stacks of one size.

    Parameters
    ----------
    shape : (z, y, x) of the stack that will be recorded
    tile_px : largest tile (y, x), halo included; None: the whole field

    Raises
    ------
    ConfigError
        A tile is so small that its halo leaves nothing to keep.
    """
    if (refused := refusal(card)) is not None:
        return refused
    n_planes, *space = shape
    around = tuple(margins(space, card.divisor[1:], card.boundary))
    full = tuple(n + before + after for n, (before, after) in zip(space, around, strict=True))
    size = tile_shape(full, tile_px or full, card.halo_px[1:], card.divisor[1:])
    derived = plan_live(model, card, (size[0], size[1]), n_planes)
    if isinstance(derived, NotPlanewise):
        return derived
    cut = tiles(full, size, card.halo_px[1:], card.divisor[1:])
    return FieldPlan(tuple(shape), around, tuple(cut), derived)


class TileSessions:
    """The sessions of a field's plan; all tiles share them."""

    def __init__(self, plan: FieldPlan, card: ModelCard, options: Options) -> None:
        self.plan, self.card = plan, card
        self.sessions = PlanSessions(plan.tile, options)

    def begin(self, spans: Sequence[Span], into: Mapping[str, Array]) -> FieldStream:
        """Start a volume; see `care_live.planewise.stream.PlanSessions.begin`."""
        return FieldStream(self, spans, into)


class FieldStream:
    """One volume of any size on its way: planes of all its channels go in, in any order."""

    def __init__(self, sessions: TileSessions, spans: Sequence[Span], into: Mapping[str, Array]) -> None:
        self._plan, self._card, self._spans, self._into = sessions.plan, sessions.card, spans, into
        self.n_tiles = len(self._plan.tiles)
        self._streams = [self._begin(sessions, tile) for tile in self._plan.tiles]
        self._waiting: dict[int, dict[int, Array]] = {}
        """Planes whose turn has not come, by z and channel."""
        self._next = 0
        self.n_restored = 0
        """Planes from the first on that are final."""

    def place(self, channel: int, z: int, pixels: Array) -> None:
        """Take one plane, and do all that it makes possible.

        Parameters
        ----------
        pixels : (y, x) camera counts; must not change until the stream is over

        Raises
        ------
        RestoreError
            It has another shape, came twice, or the runtime failed: restore the whole volume instead.
        """
        waiting = self._waiting.setdefault(z, {})
        if pixels.shape != self._plan.shape[1:] or channel in waiting or z < self._next:
            raise RestoreError(f"plane z={z} {pixels.shape} does not fit this stream: restore the whole volume")
        waiting[channel] = pixels
        while len(self._waiting.get(self._next, ())) == len(self._spans):
            self._push(self._waiting.pop(self._next))
            self._next += 1
        self.n_restored = min(stream.n_restored for stream in self._streams)

    def finish(self) -> Mapping[str, Array]:
        """Return the complete volume.

        Raises
        ------
        RestoreError
            Planes are missing.
        """
        for stream in self._streams:
            stream.finish()
        return self._into

    def abandon(self) -> None:
        """Forget everything; the whole volume is restored instead."""
        self._waiting.clear()
        for stream in self._streams:
            stream.abandon()

    def _begin(self, sessions: TileSessions, tile: Tile) -> Stream:
        (y, x), place = unpadded(tile, self._plan.shape[1:], self._plan.around)
        into = {head: array[:, :, *place] for head, array in self._into.items()}
        return sessions.sessions.begin(self._spans, into, interior=(y, x))

    def _push(self, channels: Mapping[int, Array]) -> None:
        plane = np.stack([channels[c] for c in range(len(self._spans))])[np.newaxis]
        padded = pad(plane, self._plan.around, self._card.boundary, [span.low for span in self._spans])
        for tile, stream in zip(self._plan.tiles, self._streams, strict=True):
            stream.push(padded[:, :, *tile.read])
