"""A numpy array as a recording, so that arrays and files go through the same rooms."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.errors import ConfigError
from care_live.images import Counts, Plan, PlaneIndex, read_only
from care_live.recorded.recording import Contents, Stamp, converted, every_index, number_dtype, stacks_of

_AXES = "TCZYX"
_GUESSED = {2: "YX", 3: "ZYX"}


class ArrayRecording:
    """One array at one stage position.

    Parameters
    ----------
    array : of any axes
    axes : letters of TCZYX in the order of the array; None: YX or ZYX for two and three axes
    voxel_size_um : (z, y, x)

    Raises
    ------
    ConfigError
        The axes are unknown, doubled, too few or too many, or name colour samples.
    SourceError
        The pixels are of a type that cannot be read.
    """

    def __init__(
        self, array: NDArray[Any], axes: str | None = None, *, voxel_size_um: tuple[float, float, float] = (1, 1, 1)
    ) -> None:
        array = np.asarray(array)
        self.axes = check_axes(axes or _GUESSED.get(array.ndim, ""), array.shape)
        present = [axis for axis in _AXES if axis in self.axes]
        ordered = array.transpose([self.axes.index(axis) for axis in present])
        shape = [array.shape[self.axes.index(axis)] if axis in present else 1 for axis in _AXES]
        self._pixels = ordered.reshape(shape)  # (t, c, z, y, x)
        order = every_index(dict(zip(_AXES, shape, strict=True)))
        n_channels = shape[1]
        plan = Plan(
            stacks=stacks_of(order),
            shape_px=(shape[3], shape[4]),
            dtype=number_dtype(array.dtype, "the array"),
            voxel_size_um=voxel_size_um,
            channels=tuple(f"channel {c}" for c in range(n_channels)) if n_channels > 1 else ("default",),
        )
        self.contents = Contents(plan, order, {"format": "array", "axes": self.axes}, array.dtype.name)

    def read_plane(self, index: PlaneIndex) -> Counts:
        plane = self._pixels[index.t, index.c, index.z]
        return read_only(np.ascontiguousarray(converted(plane, self.contents.plan.dtype)))

    def stamp(self, index: PlaneIndex) -> Stamp:
        return Stamp()

    def close(self) -> None:
        """Do nothing: the array is its owner's."""


def check_axes(axes: str, shape: tuple[int, ...]) -> str:
    """Return the axes in capitals.

    Raises
    ------
    ConfigError
        They are not what an array of this shape can have.
    """
    axes = axes.upper()
    if "S" in axes:
        raise ConfigError(f"axes {axes!r} name colour samples (S): give one colour, or name the axis C for channels")
    if not axes:
        raise ConfigError(f"an array of shape {shape} needs its axes named: letters of {_AXES}, such as axes='TZYX'")
    if not set(axes) <= set(_AXES) or len(set(axes)) != len(axes) or not {"Y", "X"} <= set(axes):
        raise ConfigError(f"axes are {axes!r}; wanted letters of {_AXES}, each once, Y and X among them")
    if len(axes) != len(shape):
        raise ConfigError(f"axes {axes!r} name {len(axes)} axes, but the array has {len(shape)}: its shape is {shape}")
    if 0 in shape:
        raise ConfigError(f"the array is empty: its shape is {shape}")
    return axes
