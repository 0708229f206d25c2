"""Which two planes share a pack: (0, 1), (2, 3), … or (-1, 0), (1, 2), …

A convolution across planes reads two packs for one if it begins where its input does not. What works on each plane
alone keeps the packs that it is given, and two tensors can be added as packs only where they begin alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from care_live.planewise.ir import PlaneLayer

N_PACKED = 2
"""Planes of a pack."""
_EVEN, _ODD = 0, -1
_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})


def pack_starts(layers: Mapping[str, PlaneLayer], n_at_once: int) -> dict[str, int]:
    """Return the first plane of the first pack, 0 or -1, of each tensor whose planes are thin enough for packs.

    Parameters
    ----------
    n_at_once : channels that a pack may have
    """
    staggering = _Staggering(layers, n_at_once)
    for name in layers:
        staggering.meet(name)
    return dict(staggering.decided())


class _Staggering:
    """Tensors in packs, which of them begin alike, and what would be best for some."""

    def __init__(self, layers: Mapping[str, PlaneLayer], n_at_once: int) -> None:
        self._layers, self._n_at_once = layers, n_at_once
        self._near: dict[str, list[tuple[str, bool]]] = defaultdict(list)
        """Of each tensor, others, and whether they begin where it does not."""
        self._wishes: dict[str, int] = {}
        self._in_packs: dict[str, None] = {}

    def meet(self, name: str) -> None:
        """Take one tensor into account."""
        layer = self._layers[name]
        held = [source for source in layer.sources if source in self._in_packs]
        if not self._is_in_packs(layer, held):
            return
        self._in_packs[name] = None
        for source in held:
            if self._layers[source].n_planes == layer.n_planes:
                self._near[source].append((name, layer.reach > 1))
                self._near[name].append((source, layer.reach > 1))
            else:
                self._wish(layer.kind, source, name)

    def _wish(self, kind: str, source: str, name: str) -> None:
        """Pooled planes are best in one pack; repeated ones where a convolution reads (0, 0, 1, 1) for (1, 2)."""
        if kind == "Resize":
            self._wishes.setdefault(name, _EVEN)
        elif kind in _CONVOLUTIONS:
            self._wishes.setdefault(name, _ODD)
        else:
            self._wishes.setdefault(source, _EVEN)

    def decided(self) -> Iterator[tuple[str, int]]:
        """Yield each tensor once; the first wish is granted, and what hangs together follows it."""
        done: set[str] = set()
        for seed in (*self._wishes, *self._in_packs):
            following = [(seed, self._wishes.get(seed, _ODD))]
            while following:
                name, start = following.pop()
                if name not in done:
                    done.add(name)
                    yield name, start
                    near = self._near[name]
                    following += [(other, _EVEN + _ODD - start if flips else start) for other, flips in near]

    def _is_in_packs(self, layer: PlaneLayer, held: list[str]) -> bool:
        if layer.kind not in _CONVOLUTIONS:
            return bool(held)
        thin = N_PACKED * layer.n_channels <= self._n_at_once and layer.mixes
        return thin and layer.n_planes >= N_PACKED and (bool(held) or layer.reach > 1)
