"""Wherever work is taken up again, the ranges are those of work that went straight through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from care_live.config import NormaliseConfig, RestoreConfig
from care_live.offline.range_history import RangeHistory
from care_live.offline.time_points import TimePoints
from care_live.recorded.array import ArrayRecording
from care_live.restore.engine import Engine
from tests.make.networks import noisy, save_network

MOVIE = np.stack([noisy((3, 16, 16), seed=t) * (1 + t % 3) for t in range(7)])
MOVIE[2] = 100  # empty: it teaches nothing
MODES = ["locked-after-k", "ema", "per-volume"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_network(tmp_path_factory.mktemp("network") / "net.onnx", filters=2, depth=1)


@pytest.mark.parametrize("mode", MODES)
def test_ranges_do_not_depend_on_where_work_begins(model: Path, mode: str) -> None:
    engine = Engine(model, RestoreConfig(provider="cpu", threads=1, normalise=NormaliseConfig(mode=mode)))
    points = TimePoints(ArrayRecording(MOVIE, "TZYX"), run_id="test")

    def low_high(order: list[int]) -> dict[int, tuple[float, float]]:
        engine.memories, history, found = {}, RangeHistory(points), {}
        for t in order:
            history.bring(engine, points.all[t])
            (restored,) = engine.restore(points.read(points.all[t]))
            history.restored(points.all[t])
            found[t] = restored.low, restored.high
        return found

    straight = low_high(list(range(7)))
    for order in ([5], [3, 4, 6], [6, 1, 5], [2], [3], [0, 4, 2, 6]):
        assert low_high(order) == {t: straight[t] for t in order}


def test_a_network_of_two_channels_has_a_range_for_each(tmp_path: Path) -> None:
    two = save_network(tmp_path / "two.onnx", filters=2, c_in=2)
    engine = Engine(two, RestoreConfig(provider="cpu", threads=1))
    points = TimePoints(ArrayRecording(np.stack([MOVIE, MOVIE[::-1]], axis=1), "TCZYX"), run_id="test")

    def low_high(order: list[int]) -> dict[int, list[tuple[float, float]]]:
        engine.memories, history, found = {}, RangeHistory(points), {}
        for t in order:
            history.bring(engine, points.all[t])
            found[t] = [(one.low, one.high) for one in engine.restore(points.read(points.all[t]))]
            history.restored(points.all[t])
        return found

    straight = low_high(list(range(7)))
    assert straight[6][0] != straight[6][1]
    assert low_high([6, 2, 4]) == {t: straight[t] for t in (6, 2, 4)}
