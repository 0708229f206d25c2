"""The training bench: what it counts, and that ours trains on exactly what it is given."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("benches._training_ours")


def numbered(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return n pairs of small noisy patches; the first voxel of each is its number."""
    targets = np.random.default_rng(1).random((n, 1, 4, 8, 8), dtype=np.float32)
    inputs = targets + 0.1
    inputs[:, 0, 0, 0, 0] = np.arange(n)
    return inputs, targets


def test_an_epoch_takes_every_patch_once_with_its_target(ours: ModuleType) -> None:
    inputs, targets = numbered(3 * ours.BATCH)
    draw = ours.batches((inputs, targets), seed=1)
    for _epoch in range(2):
        drawn = [next(draw) for _ in range(3)]
        order = np.concatenate([batch[0][:, 0, 0, 0, 0] for batch in drawn]).astype(int)
        assert sorted(order) == list(range(len(inputs)))
        assert np.array_equal(np.concatenate([batch[1] for batch in drawn]), targets[order])


def test_updates_are_those_asked_for_and_repeatable(ours: ModuleType) -> None:
    pairs, raw = numbered(ours.BATCH), np.ones((4, 8, 12), np.float32)
    one, two = (ours.train(pairs, raw, seed=3, n_updates=3) for _ in range(2))
    assert one.n_updates == 3
    assert one.restored.shape == raw.shape
    assert np.array_equal(one.restored, two.restored)


def test_cpu_seconds_bound_the_updates(ours: ModuleType) -> None:
    """A second an update from the second on: 22 seconds are 23 updates."""
    pairs, raw = numbered(ours.BATCH), np.ones((4, 8, 8), np.float32)
    looks = iter([0.0, 4.0, 9.0, 14.0, 19.0, 22.0])  # after updates 1, 5, 10, 15, 20 and the last
    trained = ours.train(pairs, raw, seed=1, cpu_seconds=22.0, clock=lambda: next(looks))
    assert (trained.n_updates, trained.cpu_seconds) == (23, 22.0)


@pytest.mark.parametrize(("n_done", "spent_s", "wanted"), [(6, 5.0, 61), (61, 60.0, 61), (71, 70.0, 71)])
def test_the_plan_fills_the_cpu_seconds_and_takes_nothing_back(
    ours: ModuleType, n_done: int, spent_s: float, wanted: int
) -> None:
    assert ours.affordable(n_done, spent_s=spent_s, cpu_seconds=60.0) == wanted


def test_restored_volumes_are_in_the_units_of_the_targets(ours: ModuleType) -> None:
    """Targets of 1000 and some: what comes out of a hardly trained network is near them, not near 0."""
    inputs, targets = numbered(ours.BATCH)
    trained = ours.train((inputs, targets + 1000), np.ones((4, 8, 8), np.float32), seed=1, n_updates=2)
    assert abs(float(trained.restored.mean()) - 1000) < 20
