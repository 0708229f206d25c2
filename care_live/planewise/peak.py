"""How much is alive at once while onnxruntime runs a graph: it does not run the nodes as the file lists them."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import TypeAlias, TypeVar

Name = TypeVar("Name", bound=Hashable)
ReadsAndMakes: TypeAlias = tuple[Sequence[Name], Sequence[Name]]
"""Names of a node's inputs and outputs."""


def most_alive(nodes: Sequence[ReadsAndMakes[Name]], sizes: Mapping[Name, int], kept: Collection[Name]) -> int:
    """Return the most elements alive at once when values die after their last use.

    Parameters
    ----------
    nodes : of the graph
    sizes : elements of every value; what is not there (a weight, say) counts nothing
    kept : inputs and outputs of the graph, which belong to the caller
    """
    ran = [nodes[i] for i in order(nodes)]
    made = {name for _, outputs in nodes for name in outputs}
    last_use = {name: i for i, (inputs, _) in enumerate(ran) for name in inputs}
    alive = most = sum(sizes.get(name, 0) for name in set(kept) - made)
    for i, (inputs, outputs) in enumerate(ran):
        alive += sum(sizes.get(name, 0) for name in outputs)
        most = max(most, alive)
        ended = {name for name in inputs if last_use[name] == i and name in made and name not in kept}
        alive -= sum(sizes[name] for name in ended if name in sizes)
    return most


def order(nodes: Sequence[ReadsAndMakes[Name]]) -> list[int]:
    """Return the order in which onnxruntime runs nodes: depth first from the last result back to what it needs.

    So a merged ensemble's members advance together, plane by plane, and not one after the other as they are listed:
    that takes far more memory.
    """
    makers = {name: i for i, (_, outputs) in enumerate(nodes) for name in outputs if name != ""}
    used = {name for inputs, _ in nodes for name in inputs}
    waiting = [(i, False) for i, (_, outputs) in enumerate(nodes) if used.isdisjoint(outputs)]
    seen: set[int] = set()
    ordered: list[int] = []
    while waiting:
        i, is_ready = waiting.pop()
        if is_ready:
            ordered.append(i)
        elif i not in seen:
            seen.add(i)
            waiting.append((i, True))
            before = {makers[name] for name in nodes[i][0] if name in makers}
            waiting.extend((j, False) for j in sorted(before - seen))
    return ordered
