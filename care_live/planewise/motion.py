"""Which plane needs which: integers only.

Along z every layer is one of two things. A `SlidingWindow` slides over its input (convolution, pooling); a
`Spread` lays its input out (nearest upsampling, transposed convolution). Planes outside the stack are zero
planes, which is what 'same' padding means, so a layer just doesn't read them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias


class KernelTap(NamedTuple):
    """One plane that an output plane reads, and with which plane of the kernel."""

    kernel: int
    plane: int


@dataclass(frozen=True, slots=True)
class SlidingWindow:
    """Output plane m reads input planes ``m·step - pad … m·step - pad + size - 1``."""

    size: int
    step: int = 1
    pad: int = 0
    """Zero planes before the first plane."""

    def taps(self, plane: int, n_planes: int) -> tuple[KernelTap, ...]:
        """Return what an output plane reads of an input of `n_planes`.

        Examples
        --------
        >>> SlidingWindow(3, pad=1).taps(0, 8)
        (KernelTap(kernel=1, plane=0), KernelTap(kernel=2, plane=1))
        """
        first = plane * self.step - self.pad
        return tuple(KernelTap(j, first + j) for j in range(self.size) if 0 <= first + j < n_planes)


@dataclass(frozen=True, slots=True)
class Spread:
    """Input plane i adds to output planes ``i·step - pad … i·step - pad + size - 1``."""

    size: int
    step: int
    pad: int = 0

    def taps(self, plane: int, n_planes: int) -> tuple[KernelTap, ...]:
        """Return what an output plane reads of an input of `n_planes`.

        Examples
        --------
        >>> Spread(2, 2).taps(5, 8)
        (KernelTap(kernel=1, plane=2),)
        """
        last = (plane + self.pad) // self.step
        first = -(-(plane + self.pad - self.size + 1) // self.step)
        return tuple(
            KernelTap(plane + self.pad - self.step * i, i) for i in range(max(0, first), min(n_planes - 1, last) + 1)
        )


Motion: TypeAlias = SlidingWindow | Spread


def padded_planes(n_planes: int, before: int, after: int, boundary: str) -> tuple[int | None, ...]:
    """Return which recorded plane stands at each plane that the network sees; None is a plane of zeros.

    Examples
    --------
    >>> padded_planes(6, 1, 1, "reflect")
    (1, 0, 1, 2, 3, 4, 5, 4)
    >>> padded_planes(2, 0, 2, "zero")
    (0, 1, None, None)
    """
    seen = range(-before, n_planes + after)
    if boundary == "reflect":
        period = max(1, 2 * (n_planes - 1))
        return tuple(min(z % period, period - z % period) for z in seen)
    return tuple(z if 0 <= z < n_planes else None for z in seen)
