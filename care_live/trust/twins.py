"""The two exposures of a reference plane: do they show the same, and where does the second one show it?

A specimen that lives moves meanwhile. What moved as a whole is put where the second exposure shows it; a pair of which
the one is no mere shift of the other says nothing of a network, and is refused with a reason. Neither looks at the
restoration, so no error of the network passes for motion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.trust import registration
from care_live.trust.saturation import ceiling_of
from care_live.trust.smooth import smooth

PlanePixels: TypeAlias = NDArray[np.float64]
Pixels: TypeAlias = NDArray[np.float32]
Move: TypeAlias = tuple[float, float]
"""Along (y, x), pixels."""

MAX_SHIFT_PX = 1.25
"""A specimen that moved further also moved while the long exposure went on, and is blurred there. Where all of that was
then, the shipped network's measured PSNR is off by 0.5 dB at most up to 1 px, at 2 px by 1.3 dB in the median."""
_LEAST_SHIFT_PX = 0.05
"""What moved less stays where it is."""
_UNSURE_PX = 0.5
"""Standard error of a shift that is not known."""
_LEAST_PX, _LARGEST_PX, _GRADIENT_PX, _STEPS = 48, 512, 1.0, 4
_MAX_SATURATED = 0.001
"""Share of the pixels; it leaves the range, up to the 99.9 percentile, as it is."""
_SMOOTH_PX = 2.0
"""Motion and change are as smooth as what moves, noise is not."""
_EDGE_PX = 7
"""What is smoothed from fewer pixels keeps more noise."""
_LOCAL_PX = 4.0
"""Where noise is alike."""
_MAX_CHANGE = 0.15
"""What the two exposures differ by may be this share of the error that is measured: 0.6 dB."""
_SURE, _SURE_OF_CHANGE = 3.0, 4.0
"""Standard errors: of a shift; of a change, whose own is less well known."""
_LANCZOS = 5
"""Zeros of the kernel on each side: with fewer it smooths, and noise looks smaller."""
_WHOLE = 0.999
"""Of a pixel that counts: no part of it comes from one that does not."""
_NOISE_KERNEL_VARIANCE = 36.0
"""Sum of squares of the second differences along y and x, (1, −2, 1)²."""


@dataclass(frozen=True, slots=True, eq=False)
class Twins:
    """One plane, exposed twice, and what the network made of the dim one; all (y, x)."""

    raw: NDArray[Any]
    reference: NDArray[Any]
    mean: NDArray[Any]
    half_width: NDArray[Any] | None
    """Of the interval at `LEVEL`, in counts, as the network and its card say; None: it gives no scale."""
    shift_px: float = 0.0
    """By which raw, mean and half width were moved to lie on the reference."""


def aligned(one: Twins) -> Twins:
    """Return a pair whose planes lie on each other, without the margin that motion leaves.

    Raises
    ------
    ValueError
        The exposures do not show the same: the specimen moved too far, changed, or the light did.
    """
    if one.reference.min() == one.reference.max():
        raise ValueError("the reference plane is constant")
    if min(one.reference.shape) < _LEAST_PX:
        raise ValueError(f"planes below {_LEAST_PX} px are too small to see whether the specimen moved")
    move = motion(one)
    if (length_px := math.hypot(*move)) > MAX_SHIFT_PX:
        raise ValueError(f"the specimen moved by {length_px:.1f} px between the two exposures")
    _check_alike(one, move)
    return _moved(one, move) if any(move) else one


def usable(one: Twins) -> NDArray[np.bool_]:
    """Return which pixels of a pair count, (y, x): a saturated one is a lower bound.

    Raises
    ------
    ValueError
        Too many are saturated.
    """
    ceiling = ceiling_of(one.reference)
    if ceiling is None:
        return np.ones(one.reference.shape, bool)
    kept: NDArray[np.bool_] = one.reference < ceiling
    if (share := 1 - float(kept.mean())) > _MAX_SATURATED:
        raise ValueError(f"{share:.1%} of the reference plane is saturated: take less reference.light")
    return kept


def line(reference: PlanePixels, raw: PlanePixels) -> tuple[float, float]:
    """Return (gain, offset) of the least squares line from the reference to its dim twin.

    Raises
    ------
    ValueError
        The reference is constant.
    """
    centred = reference - reference.mean()
    spread = float(np.mean(centred**2))
    if spread <= 0:
        raise ValueError("the reference plane is constant")
    gain = float(np.mean(centred * raw)) / spread
    return gain, float(raw.mean() - gain * reference.mean())


def white_noise_variance(plane: PlanePixels) -> float:
    """Return the variance of what differs from pixel to pixel, counts²."""
    return float(np.mean(_noise_squares(plane)))


def _noise_squares(plane: PlanePixels) -> PlanePixels:
    """Return a square for every pixel within the edges of which the mean is the variance of white noise, counts²."""
    along_y = plane[:-2] - 2 * plane[1:-1] + plane[2:]
    noise: PlanePixels = along_y[:, :-2] - 2 * along_y[:, 1:-1] + along_y[:, 2:]
    return noise**2 / _NOISE_KERNEL_VARIANCE


# -- where they lie -----------------------------------------------------------------------------------------------


def motion(one: Twins) -> Move:
    """Return by how much the first exposure must be moved to lie on the second; (0, 0) where that may be chance.

    Where the first exposure is too dark to tell, its restoration shows it.

    Raises
    ------
    ValueError
        They do not look like the same place.
    """
    reference, raw, mean = (_middle(plane) for plane in (one.reference, one.raw, one.mean))
    for seen in (raw, mean):
        coarse = registration.measure(reference, seen)
        if coarse.is_certain:
            move, error_px = _refined(reference, seen, (round(coarse.shift_px[0]), round(coarse.shift_px[1])))
            if error_px < _UNSURE_PX:
                return move if math.hypot(*move) > max(_LEAST_SHIFT_PX, _SURE * error_px) else (0.0, 0.0)
    raise ValueError("the two exposures have nothing in common: an empty plane, or another place")


def _middle(plane: NDArray[Any]) -> Pixels:
    """Return enough of a plane to see how it moved."""
    starts = [max(0, (size - _LARGEST_PX) // 2) for size in plane.shape]
    return np.asarray(plane[tuple(slice(start, start + _LARGEST_PX) for start in starts)], np.float32)


def _refined(reference: Pixels, seen: Pixels, start: Move) -> tuple[Move, float]:
    """Return the shift for which the reference, moved back, explains best what was seen; and its standard error.

    ::

        seen ≈ offset + gain·reference + a·∂y reference + b·∂x reference

    By least squares, from a start that is right within a pixel; the reference is moved by a/gain and b/gain until both
    are 0.
    """
    move, error_px = start, math.inf
    for _ in range(_STEPS):
        margin = _margin((move[0] + 1, move[1] + 1))
        here = shifted(reference, (-move[0], -move[1]))
        smooth_here = smooth(here[None].astype(np.float32), (0.0, _GRADIENT_PX, _GRADIENT_PX))[0]
        slopes = [np.gradient(smooth_here, axis=axis)[margin].ravel() for axis in (0, 1)]
        matrix = np.stack([np.ones_like(slopes[0]), here[margin].ravel(), *slopes]).astype(np.float64)
        wanted = seen[margin].ravel().astype(np.float64)
        inverse = np.linalg.pinv(matrix @ matrix.T)
        found = inverse @ (matrix @ wanted)
        if found[1] <= 0:
            return move, math.inf
        step = found[2:] / found[1]
        left = float(np.mean((wanted - found @ matrix) ** 2))
        error_px = math.sqrt(left * float(inverse[2, 2] + inverse[3, 3])) / float(found[1])
        move = (move[0] + float(np.clip(step[0], -1, 1)), move[1] + float(np.clip(step[1], -1, 1)))
    return move, error_px


def _moved(one: Twins, move: Move) -> Twins:
    """Move what belongs to the first exposure onto the second one."""
    margin = _margin(move)
    width = None if one.half_width is None else shifted(one.half_width.astype(np.float64), move, n_taps=1)[margin]
    return replace(
        one,
        raw=shifted(one.raw.astype(np.float64), move)[margin],
        reference=one.reference[margin],
        mean=shifted(one.mean.astype(np.float64), move)[margin],
        half_width=width,
        shift_px=math.hypot(*move),
    )


def _margin(move: Move) -> tuple[slice, slice]:
    most = math.ceil(max(abs(part) for part in move)) + _LANCZOS
    return slice(most, -most), slice(most, -most)


def shifted(plane: NDArray[Any], move: Move, *, n_taps: int = _LANCZOS) -> PlanePixels:
    """Move a plane by fractions of a pixel along (y, x), by Lanczos's kernel; what comes in at the edges is void.

    Parameters
    ----------
    n_taps : a side; 1 interpolates linearly
    """
    for axis, part in enumerate(move):
        if part == 0:
            continue
        whole = math.floor(part)
        weights = _weights(part - whole, n_taps)
        parts = (weight * np.roll(plane, whole + step, axis) for step, weight in weights)
        plane = np.sum(list(parts), axis=0)
    return plane


def _weights(fraction: float, n_taps: int) -> list[tuple[int, float]]:
    """Return what each neighbour counts, by its distance; their sum is 1."""
    steps = range(1 - n_taps, n_taps + 1)
    if n_taps == 1:
        return [(0, 1 - fraction), (1, fraction)]
    raw = [float(np.sinc(step - fraction) * np.sinc((step - fraction) / n_taps)) for step in steps]
    return [(step, weight / sum(raw)) for step, weight in zip(steps, raw, strict=True)]


# -- whether they show the same -----------------------------------------------------------------------------------


def _check_alike(one: Twins, move: Move) -> None:
    """Refuse a pair that differs by more than noise, where that is much of the error which it would measure."""
    margin, back = _margin(move), (-move[0], -move[1])
    reference = shifted(one.reference.astype(np.float64), back)[margin]
    counts = shifted(usable(one).astype(np.float64), back, n_taps=1)[margin] > _WHOLE
    raw, mean = one.raw[margin].astype(np.float64), one.mean[margin].astype(np.float64)
    gain, offset = line(reference[counts], raw[counts])
    change, by_chance = _structure(np.where(counts, raw - (gain * reference + offset), 0.0))
    error, _ = _structure(np.where(counts, mean - (gain * reference + offset), 0.0))
    if change > max(_MAX_CHANGE * error, _SURE_OF_CHANGE * by_chance):
        raise ValueError(
            "the specimen changed its shape or its focus between the two exposures: they differ from each other by "
            f"{min(math.sqrt(change / max(error, 1e-12)), 9.9):.1f} times what the restoration differs from them"
        )


def _structure(left: PlanePixels) -> tuple[float, float]:
    """Return the variance of what is no noise in a residual, smoothed, counts²; and its standard error.

    Rows and columns are taken off: those of many cameras have offsets of their own.
    """
    left = left - left.mean(axis=1, keepdims=True)
    left -= left.mean(axis=0, keepdims=True)
    inside = tuple(slice(min(_EDGE_PX, size // 4), -min(_EDGE_PX, size // 4)) for size in left.shape)
    smoothed = smooth(left[None].astype(np.float32), (0.0, _SMOOTH_PX, _SMOOTH_PX))[0][inside]
    taken_off = 2 * math.sqrt(math.pi) * _SMOOTH_PX * sum(1 / size for size in left.shape)
    local = smooth(_noise_squares(left)[None].astype(np.float32), (0.0, _LOCAL_PX, _LOCAL_PX))[0].astype(np.float64)
    noise = float(local.mean()) / (4 * math.pi * _SMOOTH_PX**2) * max(1 - taken_off, 0.0)
    alike = float(local.mean()) ** 2 / max(float(np.mean(local**2)), 1e-12)  # few bright pixels have most of the noise
    n_independent = max(alike * smoothed.size / (2 * math.pi * _SMOOTH_PX**2), 1.0)
    return float(np.mean(smoothed**2)) - noise, noise * math.sqrt(2 / n_independent)
