"""A network must show what it does before it may run: shapes, reach, numbers, and the same on every device."""

from __future__ import annotations

import time
import timeit
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from care_live.backends.session import OnnxSession, Options, Session
from care_live.errors import ModelError, OutOfMemoryError, RestoreError
from care_live.maps import MAPS
from care_live.model import quantised_outputs
from care_live.model.card import ModelCard
from care_live.percentiles import Span
from care_live.restore.tiled import Array, Network, OpenSession
from care_live.simulate import draw_forms
from care_live.tiling import refuse_small_halo

_SPAN = Span(100.0, 1100.0)
_BACKGROUND = 300
_NOISE = 200
_BRIGHT = 60000
_DIM_PX = (16, 64, 64)
"""Least (z, y, x) of the specimen that a deviation is measured on."""
_TIMED_PX = (16, 128, 128)
"""Least (z, y, x) of the field that is timed: on smaller ones what surrounds a run counts too much."""
_ELECTRONS, _OFFSET, _GAIN, _READ_NOISE = 20.0, 100.0, 2.2, 4.0
"""Of its brightest places, and of a camera in counts: low light."""
_FAR_PX, _LONGEST_PX = 64, 1024
"""How far a network is looked for at first, and at last."""
_ROUNDING_STEPS = 4
"""Of float32 at a result's own value: what the last operations may round differently. A network whose results hardly
vary on noise has these as a share of its range: one step of a Laplace scale of 700 counts is 1.8e-5 of a mean that
varies by 3.4 counts."""


def one_session() -> OpenSession:
    """Return what opens one session of plain onnxruntime and gives it for every shape: probes have many small ones."""
    opened: list[Session] = []

    def open_session(content: bytes, shapes: Mapping[str, Sequence[int]], options: Options) -> Session:
        if not opened:
            opened.append(OnnxSession(content, {}, options))
        return opened[0]

    return open_session


def check(network: Network, card: ModelCard) -> None:
    """Run the network on small fields and compare the results with its card.

    Raises
    ------
    ModelError
        Wrong shapes, a reach beyond the stated halo, or no numbers.
    """
    try:
        _check_shapes(network, card)
        refuse_small_halo(card.halo_px, reach(network, card))
    except OutOfMemoryError:
        raise
    except RestoreError as error:
        raise ModelError(f"network {card.name} does not run on a small field: {error}") from error


def reach(network: Network, card: ModelCard) -> tuple[int, ...]:
    """Measure, along each axis, how far a change outside of an aligned tile is felt inside.

    The field before (or behind) an aligned boundary is replaced by bright noise; whatever changes on the
    other side within reach. The field is wider than the stated halo, so that a longer reach shows.
    """
    return tuple(
        0 if card.task == "project" and axis == 0 else _reach(network, card, axis) for axis in range(len(card.axes))
    )


def measure_halo(path: Path, card: ModelCard) -> tuple[int, ...]:
    """Return the smallest halo with which a network passes `check`, in whole divisors, because tiles are aligned.

    Parameters
    ----------
    path : ONNX file
    card : all of its card but the halo

    Raises
    ------
    ModelError
        It reaches further than any tile could, as networks that look at the whole image do.
    """
    halo = _aligned((_FAR_PX,) * len(card.axes), card)
    while _exceeds(felt := _reach_beside(path, card, halo), halo):
        halo = tuple(2 * px for px in halo)
        if max(halo) > _LONGEST_PX:
            raise ModelError(f"{card.name} reaches further than {_LONGEST_PX} px: it looks at the whole image")
    halo = _aligned(felt, card)
    while _exceeds(felt := _reach_beside(path, card, halo), halo):  # other noise, in a field that fits this halo
        halo = tuple(map(max, halo, _aligned(felt, card)))
    return halo


def _reach_beside(path: Path, card: ModelCard, halo_px: tuple[int, ...]) -> tuple[int, ...]:
    """Return the reach as it is measured when the card states this halo."""
    stated = card.model_copy(update={"halo_px": halo_px})
    return reach(Network(path, stated, Options("cpu"), open_session=one_session()), stated)


def _exceeds(reach_px: Sequence[int], halo_px: Sequence[int]) -> bool:
    return any(far > px for far, px in zip(reach_px, halo_px, strict=True))


def _aligned(px: Sequence[int], card: ModelCard) -> tuple[int, ...]:
    return tuple(-(-one // step) * step for one, step in zip(px, card.divisor, strict=True))


def compare(reference: Network, candidate: Network, card: ModelCard, *, tolerance: float) -> float:
    """Return the largest difference between two devices, relative to the range; refuse more than tolerated.

    Each voxel may be off by some steps of float32 besides, and where results come as codes, by half a step of these.

    Raises
    ------
    RestoreError
        The candidate computes something else: a driver or library at fault.
    """
    shape = [2 * divisor for divisor in card.divisor]
    pixels = _noise([1, card.n_inputs, *shape], seed=1)
    wanted, got = (_run(network, pixels, _spans(card)) for network in (reference, candidate))
    span = max(float(np.ptp(wanted[card.heads.index("mean")])), 1e-6)
    worst = 0.0
    for head, first, second in zip(card.heads, wanted, got, strict=True):
        share = span if MAPS[head].unit == "counts" else MAPS[head].limit or 1.0  # D is a share of 1
        off = np.maximum(np.abs(first - second) - _ROUNDING_STEPS * np.spacing(np.abs(first)), 0)
        off = np.maximum(off - quantised_outputs.slack(head, first), 0) if candidate.quantised else off
        worst = float(np.maximum(worst, off.max() / share))  # of Python's max, NaN is no part
    if not worst <= tolerance:
        raise RestoreError(
            f"this way of running differs from the plain one by {worst:.2g} of the range (allowed {tolerance:.2g}): "
            "update cuDNN and the driver, or set provider = 'cpu'"
        )
    return worst


def deviation(reference: Network, candidate: Network, card: ModelCard) -> float | None:
    """Return how far reduced precision moves the mean, rms in units of the Laplace scale; None without one.

    It is measured on random forms in low light, as dark and as bright as a specimen: on mere noise all is equally
    bright, and 8 bits look at least ten times as good as they are.

    Parameters
    ----------
    reference : runs exactly
    """
    if "laplace_scale" not in card.heads:
        return None
    pixels, spans = _dim_forms(card)
    wanted, got = (_run(network, pixels, spans) for network in (reference, candidate))
    mean, scale = card.heads.index("mean"), card.heads.index("laplace_scale")
    return float(np.sqrt(np.square((got[mean] - wanted[mean]) / wanted[scale]).mean()))


def seconds(network: Network, card: ModelCard) -> float:
    """Return the processor's time for one warm run, the better of two: other processes hardly disturb it."""
    space = _aligned(_TIMED_PX[-len(card.axes) :], card)
    pixels = _noise([1, card.n_inputs, *space], seed=5)
    _run(network, pixels, _spans(card))
    return min(timeit.repeat(lambda: _run(network, pixels, _spans(card)), timer=time.process_time, number=1, repeat=2))


def _dim_forms(card: ModelCard) -> tuple[NDArray[np.uint16], list[Span]]:
    """Return camera counts (1, c, [z,] y, x) of random forms in low light, and the range of every channel."""
    space = _aligned(_DIM_PX[-len(card.axes) :], card)
    n_planes = space[0] if card.axes == "ZYX" else 1
    random = np.random.default_rng(4)
    channels = [draw_forms(seed, (n_planes, space[-2], space[-1])) for seed in range(card.n_inputs)]
    electrons = random.poisson(_ELECTRONS * np.stack(channels))
    counts = _OFFSET + _GAIN * electrons + random.normal(0, _READ_NOISE, electrons.shape)
    pixels = np.clip(np.rint(counts), 0, None).astype(np.uint16).reshape(1, -1, *space)
    ends = np.percentile(pixels, (card.low_percentile, card.high_percentile), axis=(0, *range(2, pixels.ndim)))
    return pixels, [Span(float(low), float(high)) for low, high in ends.T]


def _check_shapes(network: Network, card: ModelCard) -> None:
    """Compare the heads' shapes, and whether they are numbers and scales are positive."""
    space = [2 * divisor for divisor in card.divisor]
    results = _run(network, _noise([1, card.n_inputs, *space], seed=0), _spans(card))
    wanted = (1, len(card.channels_out), *([1, *space[1:]] if card.task == "project" else space))
    for head, result in zip(card.heads, results, strict=True):
        if result.shape != wanted:
            raise ModelError(f"output {head} of network {card.name} has shape {result.shape}, its card says {wanted}")
        if not np.isfinite(result).all():
            raise ModelError(
                f"output {head} of network {card.name} is not finite on ordinary noise: retrain or discard"
            )
        if head == "laplace_scale" and not (result > 0).all():
            raise ModelError(f"output laplace_scale of network {card.name} is not positive: the card names it wrongly")


def _reach(network: Network, card: ModelCard, axis: int) -> int:
    divisor, halo = card.divisor[axis], card.halo_px[axis]
    outside = 2 * divisor
    n = outside + (halo // divisor + 3) * divisor
    space = [n if i == axis else 2 * d for i, d in enumerate(card.divisor)]
    quiet = _noise([1, card.n_inputs, *space], seed=2)
    undisturbed, felt = _run(network, quiet, _spans(card)), 0
    for side in (slice(0, outside), slice(n - outside, n)):
        loud = quiet.copy()
        changed = np.moveaxis(loud, 2 + axis, 0)[side]
        changed[:] = np.random.default_rng(3).integers(0, _BRIGHT, changed.shape)
        differs = _places(undisturbed, _run(network, loud, _spans(card)), 2 + axis)
        felt = max(felt, _last(differs[outside:] if side.start == 0 else differs[: n - outside][::-1]))
    return felt


def _places(first: Sequence[Array], second: Sequence[Array], axis: int) -> NDArray[np.bool_]:
    """Return where along an axis results differ."""
    differs = np.zeros(first[0].shape[axis], bool)
    for one, other in zip(first, second, strict=True):
        differs |= (one != other).any(axis=tuple(i for i in range(one.ndim) if i != axis))
    return differs


def _last(differs: NDArray[np.bool_]) -> int:
    """Return up to where results differ, from the boundary inwards."""
    felt = np.flatnonzero(differs)
    return int(felt[-1]) + 1 if felt.size else 0


def _run(network: Network, pixels: NDArray[np.uint16], spans: Sequence[Span]) -> list[NDArray[np.float32]]:
    results = network.run(network.prepare(pixels, spans), spans)
    return [np.array(result) for result in results]


def _spans(card: ModelCard) -> Sequence[Span]:
    return [_SPAN] * card.n_inputs


def _noise(shape: Sequence[int], *, seed: int) -> NDArray[np.uint16]:
    return (_BACKGROUND + np.random.default_rng(seed).integers(0, _NOISE, shape)).astype(np.uint16)
