"""How far a network sees, derived from its layers: the halo that makes a tiled result the whole one."""

from __future__ import annotations

from typing import NamedTuple


class Stretch(NamedTuple):
    """Pixels from first to last, both read."""

    first: int
    last: int

    def widened(self, by: int) -> Stretch:
        return Stretch(self.first - by, self.last + by)

    def pooled(self, factor: int) -> Stretch:
        """Return the pixels of the coarser level from which these are made by upsampling."""
        return Stretch(self.first // factor, self.last // factor)

    def unpooled(self, factor: int) -> Stretch:
        """Return the pixels of the finer level that are pooled into these."""
        return Stretch(self.first * factor, self.last * factor + factor - 1)

    def joined(self, other: Stretch) -> Stretch:
        return Stretch(min(self.first, other.first), max(self.last, other.last))


def unet_reads(wanted: Stretch, *, depth: int, kernel: int, pool: int, convolutions: int = 2) -> Stretch:
    """Return what a U-Net must read along one axis to compute the wanted pixels.

    Examples
    --------
    >>> unet_reads(Stretch(0, 3), depth=2, kernel=3, pool=2)
    Stretch(first=-22, last=25)
    """
    margin = convolutions * (kernel // 2)
    decoded = wanted.widened(margin)
    if depth == 0:  # the bottom
        return decoded
    below = unet_reads(decoded.pooled(pool), depth=depth - 1, kernel=kernel, pool=pool, convolutions=convolutions)
    return decoded.joined(below.unpooled(pool)).widened(margin)


def projection_reads(wanted: Stretch, *, depth: int, kernel: int, pool: int, convolutions: int) -> Stretch:
    """Return what a projection network, which has no skip connections, must read along a lateral axis."""
    margin = convolutions * (kernel // 2)
    stretch = wanted.widened(kernel // 2)  # the last convolution
    for _ in range(depth):
        stretch = stretch.widened(margin).pooled(pool)
    stretch = stretch.widened(margin)
    for _ in range(depth):
        stretch = stretch.unpooled(pool).widened(margin)
    return stretch.joined(wanted)


def halo(read: Stretch, wanted: Stretch) -> int:
    """Return the larger of the two margins around an aligned interior, in whole interiors: tiles are aligned, too.

    Examples
    --------
    >>> halo(Stretch(-22, 25), Stretch(0, 3))
    24
    """
    size = wanted.last - wanted.first + 1
    margin = max(wanted.first - read.first, read.last - wanted.last)
    return -(-margin // size) * size
