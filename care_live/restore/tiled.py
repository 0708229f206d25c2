"""A model file run on fields of any size: sessions by shape, normalisation as its card says, exact tiles."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.backends.device import run_each
from care_live.backends.failures import refuse_scarce_memory, translated
from care_live.backends.session import Options, Session
from care_live.errors import ModelError, OutOfMemoryError, RestoreError
from care_live.maps import MAPS
from care_live.model import file, quantised_outputs, sizes
from care_live.model.card import ModelCard
from care_live.percentiles import Span
from care_live.planewise.caches import give_back
from care_live.tiling import Tile, fit_tile, margins, pad, tiles, unpadded

logger = logging.getLogger(__name__)

Array = NDArray[Any]
OpenSession = Callable[[bytes, dict[str, tuple[int, ...]], Options], Session]
_N_SHAPES = 3
"""Sessions kept: a run has one shape of tiles; another one or two while it changes."""
_LARGEST_PX = 2**31 - 1
"""Elements of one tensor: libraries count them in 32 bits."""


class Network:
    """A network that takes (n, c, …space) of any size and gives (n, c_out, …space) for every head.

    Parameters
    ----------
    path : ONNX file
    card : its model card
    options : how to run it
    open_session : makes a session of the chosen library
    float_input : feed float32, whatever the type of the graph's input (for interpolated planes)
    """

    def __init__(
        self, path: Path, card: ModelCard, options: Options, *, open_session: OpenSession, float_input: bool = False
    ) -> None:
        proto = file.load(path)
        self._input, self._channels_in = proto.graph.input[0].name, card.n_inputs
        self._dtype = file.input_dtype(proto, float_input=float_input)
        self._card, self._options, self._open = card, options, open_session
        self.quantised = False
        """Results come from the device as codes."""
        self._content = self._plain = proto.SerializeToString()
        if options.quantised:
            self._content = self._coded(proto).SerializeToString()
        self._sessions: OrderedDict[tuple[int, ...], Session] = OrderedDict()
        self.budget_px = _LARGEST_PX
        """Pixels that one run may read; shrinks when memory runs out."""
        self.bytes_per_px = 0.0
        """That one run takes for each of them, counted from the graph; 0: not counted."""
        self.degraded = False
        """Memory ran out before, so the tiles are smaller than the setting."""
        self.fast_mode_deviation: float | None = None
        """Measured on this machine; see `probe.deviation`."""

    def predict(
        self, pixels: Array, spans: Sequence[Span], into: Sequence[Array], *, tile_px: Sequence[int] | None
    ) -> None:
        """Run on a field of any size; the result is that of the whole field, however it is cut.

        Parameters
        ----------
        pixels : (n, c, …space) camera counts
        spans : of each channel
        into : (n, c_out, …space) float32 for every head of the card; receives camera counts, or whatever
            the card says
        tile_px : largest tile, one per axis; None: as large as memory allows

        Raises
        ------
        OutOfMemoryError
            Even the smallest tiles do not fit.
        RestoreError
            The runtime failed.
        """
        fed = self.prepare(pixels, spans)
        around = margins(fed.shape[2:], self._card.divisor, self._card.boundary)
        field = pad(fed, around, self._card.boundary, [0.0 if self._is_foreign else span.low for span in spans])
        while True:
            try:
                self._predict_tiled(field, spans, into, around=around, tile_px=tile_px)
                return
            except (OutOfMemoryError, MemoryError) as error:  # the runtime's, or numpy's own
                self._shrink(field.shape, tile_px, error)

    def open(self, shape: Sequence[int], tile_px: Sequence[int] | None) -> None:
        """Make the session that `predict` takes for fields (n, c, …space) of this shape."""
        around = margins(shape[2:], self._card.divisor, self._card.boundary)
        space = (n + before + after for n, (before, after) in zip(shape[2:], around, strict=True))
        self.session(self.tile_of((*shape[:2], *space), tile_px))

    def restrict(self, budget_px: int) -> None:
        """Read at most this many pixels at once from now on, because memory ran out before."""
        self.budget_px = min(self.budget_px, budget_px)
        self.degraded = True

    def forget(self) -> None:
        """Let go of all sessions and of their memory; what is needed again is made again."""
        self._sessions.clear()
        with translated("giving memory back"):
            give_back(self._options)

    def run(self, fed: Array, spans: Sequence[Span], into: Sequence[Array] | None = None) -> tuple[Array, ...]:
        """Run once at exactly this shape, (n, c, …space), multiples of the divisor; nothing is padded or tiled."""
        session = self.session(fed.shape)
        order = self._order(session.outputs)
        if into is not None and len(order) == len(session.outputs):
            session.run(self._inputs(fed, spans), [into[order.index(i)] for i in range(len(order))])
            return tuple(into)
        results = session.run(self._inputs(fed, spans))
        return tuple(_with_axis(results[i], fed.ndim) for i in order)

    def session(self, shape: Sequence[int]) -> Session:
        """Return the session for inputs of one shape (n, c, …space); made, and warm, at the first call."""
        key = tuple(shape)
        if key not in self._sessions:
            while len(self._sessions) >= _N_SHAPES:
                self._sessions.popitem(last=False)
            shapes = {self._input: key}
            if not self._is_foreign:
                shapes |= {"low": (self._channels_in,), "high": (self._channels_in,)}
            with translated("making the network ready"):
                refuse_scarce_memory(len(self._content))
                self._refuse_large(shapes)
                self._sessions[key] = self._open(self._content, shapes, self._options)
        self._sessions.move_to_end(key)
        return self._sessions[key]

    def _refuse_large(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Look at every tensor once more: at another size than the one that was checked a graph may do anything."""
        proto = file.parsed(self._plain)
        try:
            sizes.refuse_large(proto, shapes, f"network {self._card.name}")
        except ModelError as error:
            raise RestoreError(f"{error} (input {shapes[self._input]})") from error

    def tile_of(self, shape: Sequence[int], tile_px: Sequence[int] | None) -> tuple[int, ...]:
        """Return the shape of the tiles for a padded field (n, c, …space), the first two axes included."""
        n, c, *space = shape
        budget_px = max(1, self.budget_px // n)
        return (n, c, *fit_tile(space, tile_px or space, self._halo(space), self._card.divisor, budget_px=budget_px))

    @property
    def _is_foreign(self) -> bool:
        return self._card.normalisation != "in-graph"

    def _halo(self, space: Sequence[int]) -> tuple[int, ...]:
        """Return the card's halo; a projection needs all planes at once, as if its reach in z were endless."""
        halo = self._card.halo_px
        return (space[0], *halo[1:]) if self._card.task == "project" else halo

    def _coded(self, proto: Any) -> Any:
        """Return the network with codes for results, or, where it cannot have them, as it is."""
        names = tuple(output.name for output in proto.graph.output)
        named = zip(self._order(names), self._card.heads, strict=True)
        heads = {names[i]: head for i, head in named if MAPS[head].coding != "signed"}  # no code there for two sides
        try:
            coded = quantised_outputs.coded(proto, heads)
        except ModelError as error:
            logger.info("quantised=no reason=%s", error)
            return proto
        self.quantised = True
        return coded

    def _order(self, outputs: Sequence[str]) -> list[int]:
        """Return which of the graph's outputs is each head: by name, or by position in a foreign graph."""
        heads = self._card.heads
        if all(head in outputs for head in heads):
            return [outputs.index(head) for head in heads]
        if len(outputs) < len(heads):
            raise ModelError(
                f"network {self._card.name} has {len(outputs)} outputs but its card names {', '.join(heads)}"
            )
        return list(range(len(heads)))

    def prepare(self, pixels: Array, spans: Sequence[Span]) -> Array:
        """Return what the graph's input takes: counts, or normalised intensity for a foreign graph."""
        if not self._is_foreign or self._card.normalisation == "none":
            return pixels.astype(self._dtype, copy=False)
        normalised = [span.apply(pixels[:, c]) for c, span in enumerate(spans)]
        return np.stack(normalised, axis=1).astype(self._dtype, copy=False)

    def _inputs(self, fed: Array, spans: Sequence[Span]) -> dict[str, Array]:
        if self._is_foreign:
            return {self._input: fed}
        low = np.array([span.low for span in spans], np.float32)
        width = np.array([span.width for span in spans], np.float32)
        return {self._input: fed, "low": low, "high": low + width}

    def _predict_tiled(
        self,
        field: Array,
        spans: Sequence[Span],
        into: Sequence[Array],
        *,
        around: Sequence[tuple[int, int]],
        tile_px: Sequence[int] | None,
    ) -> None:
        shape = self.tile_of(field.shape, tile_px)
        whole = all(out.shape[2:] == shape[2:] and out.flags.c_contiguous for out in into)
        if whole and shape == field.shape:
            self.run(field, spans, into)
            return
        cut = tiles(field.shape[2:], shape[2:], self._halo(field.shape[2:]), self._card.divisor)
        session = self.session(shape)
        order = self._order(session.outputs)

        def feed(i: int) -> dict[str, Array]:
            place: tuple[Any, ...] = (..., *cut[i].read)
            return self._inputs(field[place], spans)

        def take(i: int, results: tuple[Array, ...]) -> None:
            for out, k in zip(into, order, strict=True):
                _write(out, _with_axis(results[k], field.ndim), cut[i], around)

        run_each(session, len(cut), feed, take)

    def _shrink(self, shape: Sequence[int], tile_px: Sequence[int] | None, error: Exception) -> None:
        """Halve the budget and give back the sessions' memory; tiles are then cut finer."""
        tile = self.tile_of(shape, tile_px)
        self.forget()
        self.restrict(math.prod(tile) // tile[1] // 2)
        smaller = self.tile_of(shape, tile_px)
        detail = str(error)  # a log that kept the error itself would keep the sessions, too
        logger.warning("out_of_memory tile_px=%s next_tile_px=%s detail=%s", tile[2:], smaller[2:], detail)


def _with_axis(result: Array, ndim: int) -> Array:
    """Give a projection back the axis that its graph may have dropped."""
    return result if result.ndim == ndim else np.expand_dims(result, 2)


def _write(out: Array, result: Array, tile: Tile, around: Sequence[tuple[int, int]]) -> None:
    """Write a tile's interior, less what lies in the padding, into the unpadded result."""
    keep, write = unpadded(tile, out.shape[2:], around)
    flat = [sizes == (1, 1) for sizes in zip(result.shape[2:], out.shape[2:], strict=True)]  # a projected axis
    source = tuple(slice(0, 1) if one else part for one, part in zip(flat, keep, strict=True))
    out[:, :, *write] = result[:, :, *source]
