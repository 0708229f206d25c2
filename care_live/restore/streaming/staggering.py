"""Which two planes share a block: (0, 1), (2, 3), … or (-1, 0), (1, 2), …

A convolution across planes reads two blocks for one if it begins where its input does not. What works on each plane
alone keeps the blocks that it is given, and two tensors can be added as blocks only where they begin alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from care_live.restore.streaming.blocks import N_PLANES
from care_live.restore.streaming.network import RANK, Network, Node, Z

_EVEN, _ODD = 0, -1
_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})


def starts(network: Network, n_at_once: int) -> dict[str, int]:
    """Return the first plane of the first block, 0 or -1, of each tensor whose planes are thin enough for blocks.

    Parameters
    ----------
    n_at_once : channels that a block may have
    """
    staggering = _Staggering(network, n_at_once)
    for node in network.nodes:
        staggering.meet(node)
    return dict(staggering.decided())


class _Staggering:
    """Tensors in blocks, which of them begin alike, and what would be best for some."""

    def __init__(self, network: Network, n_at_once: int) -> None:
        self._network, self._n_at_once = network, n_at_once
        self._near: dict[str, list[tuple[str, bool]]] = defaultdict(list)
        """Of each tensor, others, and whether they begin where it does not."""
        self._wishes: dict[str, int] = {}
        self._in_blocks: dict[str, None] = {}

    def meet(self, node: Node) -> None:
        """Take one operation into account."""
        name, held = node.outputs[0], [name for name in node.inputs if name in self._in_blocks]
        if len(self._network.shapes.get(name, ())) != RANK or not self._is_in_blocks(node, held):
            return
        self._in_blocks[name] = None
        flips = self._looks_around(node)
        for source in held:
            if self._network.n_planes(source) == self._network.n_planes(name):
                self._near[source].append((name, flips))
                self._near[name].append((source, flips))
            else:
                self._wish(node.op, source, name)

    def _wish(self, op: str, source: str, name: str) -> None:
        """Pooled planes are best in one block; repeated ones where a convolution reads (0, 0, 1, 1) for (1, 2)."""
        if op == "Resize":
            self._wishes.setdefault(name, _EVEN)
        elif op in _CONVOLUTIONS:
            self._wishes.setdefault(name, _ODD)
        else:
            self._wishes.setdefault(source, _EVEN)

    def decided(self) -> Iterator[tuple[str, int]]:
        """Yield each tensor once; the first wish is granted, and what hangs together follows it."""
        done: set[str] = set()
        for seed in (*self._wishes, *self._in_blocks):
            following = [(seed, self._wishes.get(seed, _ODD))]
            while following:
                name, start = following.pop()
                if name not in done:
                    done.add(name)
                    yield name, start
                    following += [
                        (other, _EVEN + _ODD - start if flips else start) for other, flips in self._near[name]
                    ]

    def _is_in_blocks(self, node: Node, held: list[str]) -> bool:
        if node.op not in _CONVOLUTIONS:
            return bool(held)
        _, c, n_planes, *_ = self._network.shapes[node.outputs[0]]
        thin = N_PLANES * c <= self._n_at_once and node.attributes.get("group", 1) == 1
        return thin and n_planes >= N_PLANES and (bool(held) or self._looks_around(node))

    def _looks_around(self, node: Node) -> bool:
        """Return whether an operation is a convolution across planes."""
        weight = self._network.constants.get(node.inputs[1]) if node.op in _CONVOLUTIONS else None
        return weight is not None and weight.ndim == RANK and weight.shape[Z] > 1
