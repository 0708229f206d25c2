"""Time points, rows and planes of an image; of one on disk only what is looked at is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class OnDisk:
    """One time point of an array, of numpy or Zarr; a slice of it is read when it is taken."""

    array: Any
    t: int | None
    """Time point, None where the array has no such axis."""
    has_channels: bool

    @property
    def shape(self) -> tuple[int, ...]:
        inner = self.array.shape if self.t is None else self.array.shape[1:]
        return tuple(inner) if self.has_channels else (1, *inner)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, window: Any) -> NDArray[Any]:
        window = window if isinstance(window, tuple) else (window,)
        first = () if self.t is None else (self.t,)
        if self.has_channels:
            return np.asarray(self.array[(*first, *window)])
        shown: NDArray[Any] = np.asarray(self.array[(*first, *window[1:])])[None][window[:1]]
        return shown


def rows_in(image: Any, rows: slice) -> Any:
    """Return rows (y) of an image (c, [z,] y, x), as one."""
    return image[:][..., rows, :] if _is_in_memory(image) else _Rows(image, rows)


def plane_in(image: Any, z: int) -> Any:
    """Return a plane of an image (c, z, y, x), as (c, y, x)."""
    return image[:][:, z] if _is_in_memory(image) else _Plane(image, z)


def _is_in_memory(image: Any) -> bool:
    return isinstance(getattr(image, "array", image), np.ndarray)


@dataclass(frozen=True, slots=True)
class _Rows:
    image: Any
    rows: slice

    @property
    def shape(self) -> tuple[int, ...]:
        n = len(range(*self.rows.indices(self.image.shape[-2])))
        return (*self.image.shape[:-2], n, self.image.shape[-1])

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, window: Any) -> NDArray[Any]:
        *before, y, x = _whole(window, self.ndim)
        chosen = range(*self.rows.indices(self.image.shape[-2]))[y]
        return np.asarray(self.image[(*before, slice(chosen.start, chosen.stop, chosen.step), x)])


@dataclass(frozen=True, slots=True)
class _Plane:
    image: Any
    z: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.image.shape[0], *self.image.shape[2:])

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, window: Any) -> NDArray[Any]:
        channels, y, x = _whole(window, self.ndim)
        return np.asarray(self.image[(channels, slice(self.z, self.z + 1), y, x)])[:, 0]


def _whole(window: Any, n_axes: int) -> tuple[slice, ...]:
    given = window if isinstance(window, tuple) else (window,)
    return (*given, *[slice(None)] * (n_axes - len(given)))
