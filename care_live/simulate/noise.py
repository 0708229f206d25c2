"""Fast, honest random numbers for cameras: Poisson and normal deviates by table.

numpy draws 262,144 Poisson deviates in some 20 ms, which is too slow for 100 frames of 512x512 a second.
Here 16 random bits choose from small tables instead. Tails end at one in 65,536 (4.3 sigma), mean and
variance are exact to about a thousandth.
"""

from __future__ import annotations

from functools import lru_cache
from math import lgamma
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]

_TABLE_UP_TO = 8.0
_LEVELS_PER_ELECTRON = 32
_U16 = 1 << 16
_COLUMNS = 32
_THRESHOLDS = 1 << 11
_POOL = 1 << 20
_RUN = 1 << 16


def generator(*key: int) -> np.random.Generator:
    """Return the generator that belongs to a key, such as (seed, exposure number)."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(key)))


def normal(shape: tuple[int, ...], rng: np.random.Generator) -> Pixels:
    """Draw standard normal deviates, float32: runs from a fixed pool, each from a random place in it.

    From frame to frame a pixel's deviates are independent; two frames may share a run, shifted.
    """
    return _run_of(_normal_pool(), int(np.prod(shape)), rng).reshape(shape)


def poisson(expected: Pixels, rng: np.random.Generator) -> Pixels:
    """Draw Poisson deviates.

    Parameters
    ----------
    expected : float32 >= 0, any shape

    Returns
    -------
    float32 whole numbers, same shape

    Notes
    -----
    Up to 8 a table of 257 distributions is used; ``expected`` is rounded up or down at random to the
    nearest two so that the mean stays exact. Above 8 the normal asymptotic expansion of the inverse
    cumulative distribution is used.

    References
    ----------
    Giles, "Approximation of the inverse Poisson cumulative distribution function", ACM TOMS 42 (2016).
    """
    flat = expected.ravel()
    bits = _bits(flat.size, rng)
    level = np.minimum(flat, _TABLE_UP_TO) * np.float32(_LEVELS_PER_ELECTRON)
    level += _run_of(_uniform_pool(), flat.size, rng)
    column = bits & np.uint16(_COLUMNS - 1)
    entry = _alias_table().take(level.astype(np.int32) * _COLUMNS + column)
    drawn = np.where(bits >> 5 < entry >> 5, column, entry & np.uint16(_COLUMNS - 1)).astype(np.float32)
    bright = np.flatnonzero(flat > _TABLE_UP_TO)
    drawn[bright] = _expansion(flat[bright], _quantiles().take(bits[bright]))
    return drawn.reshape(expected.shape)


def _bits(n: int, rng: np.random.Generator) -> NDArray[np.uint16]:
    return np.frombuffer(rng.bytes(2 * n), np.uint16)


def _run_of(pool: Pixels, n: int, rng: np.random.Generator) -> Pixels:
    starts = rng.integers(0, len(pool) - _RUN, size=-(-n // _RUN))
    runs = [pool[start : start + min(_RUN, n - i * _RUN)] for i, start in enumerate(starts)]
    return runs[0] if len(runs) == 1 else np.concatenate(runs)


@lru_cache(maxsize=1)
def _normal_pool() -> Pixels:
    drawn = generator(0x6A55).standard_normal(_POOL)
    return _locked((drawn - drawn.mean()) / drawn.std())


@lru_cache(maxsize=1)
def _uniform_pool() -> Pixels:
    """Return deviates in (0, 1) whose mean is exactly one half."""
    drawn = generator(0x0D17).permutation(_POOL)
    return _locked((drawn + 0.5) / _POOL)


def _locked(drawn: NDArray[np.float64]) -> Pixels:
    pool = drawn.astype(np.float32)
    pool.setflags(write=False)
    return pool


def _expansion(expected: Pixels, deviate: Pixels) -> Pixels:
    root = np.sqrt(expected)
    square = deviate * deviate
    shift = np.float32(1 / 3) + square / 6 - deviate * (1 + square / 2) / (36 * root)
    return np.asarray(np.maximum(np.floor(expected + root * deviate + shift), 0), np.float32)


@lru_cache(maxsize=1)
def _quantiles() -> Pixels:
    """Return the 65,536 quantiles of the standard normal distribution, of unit variance."""
    half = np.array([NormalDist().inv_cdf((i + 0.5) / _U16) for i in range(_U16 // 2, _U16)])
    half /= np.sqrt(np.mean(half**2))
    return np.concatenate([-half[::-1], half]).astype(np.float32)


@lru_cache(maxsize=1)
def _alias_table() -> NDArray[np.uint16]:
    """Return, flattened, 32 columns for each expectation: 11 bits of threshold, then 5 bits of alias.

    References
    ----------
    Walker's alias method: a column keeps its own count below the threshold and gives its alias above it, so
    one small look-up draws from the whole distribution.
    """
    counts = np.arange(_COLUMNS)
    log_factorial = np.array([lgamma(k + 1) for k in counts])
    expected = np.arange(_TABLE_UP_TO * _LEVELS_PER_ELECTRON + 2) / _LEVELS_PER_ELECTRON
    expected[0] = 1e-9
    mass = np.exp(counts * np.log(expected)[:, None] - expected[:, None] - log_factorial)
    mass /= mass.sum(axis=1, keepdims=True)
    return np.concatenate([_alias_row(row) for row in mass])


def _alias_row(mass: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Level out one distribution: every column is filled up by one that has too much."""
    share = mass * _COLUMNS
    alias = np.arange(_COLUMNS)
    open_columns = set(range(_COLUMNS))
    while open_columns:
        least = min(open_columns, key=share.__getitem__)
        most = max(open_columns, key=share.__getitem__)
        open_columns.remove(least)
        alias[least] = most
        share[most] -= 1 - share[least] if most != least else 0
    threshold = np.clip(np.rint(share * _THRESHOLDS), 0, _THRESHOLDS - 1).astype(np.int64)
    return (threshold << 5 | alias).astype(np.uint16)
