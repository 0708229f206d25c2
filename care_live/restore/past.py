"""Earlier time points of a time-lapse as further channels of a network, and what stands in for one that is not there.

The rule: an earlier time point that was not recorded, that was lost, or whose shape is another one, is replaced by the
next later one that the network reads. So the first volume of a time-lapse is read as if the specimen had stood still.
Networks are trained with the same rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np

from care_live.images import Counts, Volume, VolumeKey
from care_live.restore.geometry import fill_missing

T = TypeVar("T")
Row: TypeAlias = tuple[Volume, ...] | None
"""Of one earlier time point, a volume for each channel; None: it is not there."""


def wanted(keys: Sequence[VolumeKey], n_past: int) -> tuple[VolumeKey, ...]:
    """Return the earlier volumes that a network reads with these, the latest time point first.

    Parameters
    ----------
    keys : of one time point, one for each channel of the network
    n_past : time points before it

    Examples
    --------
    >>> [tuple(key) for key in wanted([VolumeKey(1, 0, 0)], 2)]
    [(0, 0, 0)]
    """
    return tuple(key._replace(t=key.t - back) for back in range(1, n_past + 1) for key in keys if key.t >= back)


def rows(
    keys: Sequence[VolumeKey],
    n_past: int,
    earlier: Mapping[VolumeKey, Volume],
    *,
    shape: Sequence[int],
    dtype: np.dtype[Any],
) -> tuple[Row, ...]:
    """Return the volumes of each earlier time point, the latest first; None where one of them is not there.

    Parameters
    ----------
    keys : of one time point, one for each channel of the network
    earlier : those there are
    shape, dtype : of a volume (z, y, x) now
    """
    found: list[Row] = []
    for back in range(1, n_past + 1):
        there = (earlier.get(key._replace(t=key.t - back)) for key in keys)
        row = tuple(one for one in there if one is not None and _is_readable(one, shape, dtype))
        found.append(row if len(row) == len(keys) else None)
    return tuple(found)


def completed(volumes: Sequence[Volume], n_past: int, earlier: Mapping[VolumeKey, Volume]) -> tuple[Volume, ...]:
    """Return what a network reads of a time point: its channels, then those of each earlier time point, by the rule.

    Parameters
    ----------
    volumes : one for each channel
    earlier : those there are
    """
    keys, first = [volume.key for volume in volumes], volumes[0].pixels
    return by_rule(tuple(volumes), rows(keys, n_past, earlier, shape=first.shape, dtype=first.dtype))


def by_rule(now: tuple[T, ...], past: Sequence[tuple[T, ...] | None]) -> tuple[T, ...]:
    """Return what stands for a time point and for each earlier one, where some of these are not there.

    Examples
    --------
    >>> by_rule(("now",), [None, ("two before",)])
    ('now', 'now', 'two before')
    """
    found = list(now)
    for row in past:
        found += found[-len(now) :] if row is None else row
    return tuple(found)


def _is_readable(earlier: Volume, shape: Sequence[int], dtype: np.dtype[Any]) -> bool:
    alike = earlier.pixels.shape == tuple(shape) and earlier.pixels.dtype == dtype
    return alike and bool(earlier.integrity.received) and (dtype.kind != "f" or bool(np.isfinite(earlier.pixels).all()))


def joined(now: Counts, earlier: Sequence[Volume]) -> Counts:
    """Return the pixels of a time point (c, z, y, x) followed by those of earlier volumes, missing planes filled."""
    if not earlier:
        return now
    before = np.stack([fill_missing(volume.pixels, volume.integrity) for volume in earlier])
    both: Counts = np.concatenate([now, before])
    return both
