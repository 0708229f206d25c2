"""Stacks for two workers, and another network for them."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from care_live.daemon.worker_group import WorkerGroup
from care_live.images import VolumeKey
from tests.make.networks import noisy
from tests.make.records import volume
from tests.make.waiting import until


def stacks(p: int, n: int = 4) -> list:
    return [volume(noisy((3, 16, 16), seed=t) * (t + 1), VolumeKey(t, p)) for t in range(n)]


def swapped(group: WorkerGroup, model: Path, until_state: str, p: int, within_s: float = 60.0) -> list[str]:
    """Order a network and restore with each worker in turn until the swap has this state; return who restored."""
    names: list[str] = []
    stack = stacks(p, n=1)[0]
    group.order_swap(model, interval_s=lambda: None, even_if_slow=True)

    def restored() -> bool:
        key = VolumeKey(len(names), p)
        worker = group.workers[len(names) % 2]
        assert group.may_take(worker, [key])
        names.append(group.restore(worker, [replace(stack, key=key)])[0].model.name)
        group.watch()
        return group.swap_state.startswith(until_state)

    until(restored, within_s)
    return names


def names_of(group: WorkerGroup) -> list[str]:
    return [worker.network.identity.name for worker in group.workers]
