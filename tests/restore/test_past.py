"""Earlier time points as further channels: which are read, and what stands in for one that is not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from care_live.config import RestoreConfig
from care_live.errors import RestoreError
from care_live.images import Volume, VolumeKey
from care_live.percentiles import measure
from care_live.restore import past
from care_live.restore.engine import Engine
from tests.make.networks import noisy, save_network, volume


def at(t: int, *, c: int = 0, shape: tuple[int, int, int] = (4, 8, 8), **given: object) -> Volume:
    return volume(noisy(shape, seed=10 * t + c), t=t, c=c, **given)  # type: ignore[arg-type]


def times(volumes: tuple[Volume, ...]) -> list[tuple[int, int]]:
    return [(one.key.t, one.key.c) for one in volumes]


def known(*volumes: Volume) -> dict[VolumeKey, Volume]:
    return {one.key: one for one in volumes}


@pytest.mark.parametrize(
    ("there", "read"),
    [
        ((1, 2), [3, 2, 1]),
        ((2,), [3, 2, 2]),
        ((1,), [3, 3, 1]),
        ((), [3, 3, 3]),
        ((0, 1, 2, 4), [3, 2, 1]),
    ],
    ids=["all", "two before is lost", "the last one is lost", "none", "later ones and older ones are not read"],
)
def test_the_next_later_one_stands_in_for_one_that_is_not_there(there: tuple[int, ...], read: list[int]) -> None:
    found = past.completed([at(3)], 2, known(*map(at, there)))
    assert [t for t, _ in times(found)] == read


def test_channels_come_together_or_not_at_all() -> None:
    now, there = [at(2, c=0), at(2, c=1)], known(at(1, c=0), at(0, c=0), at(0, c=1))
    assert times(past.completed(now, 2, there)) == [(2, 0), (2, 1), (2, 0), (2, 1), (0, 0), (0, 1)]
    assert past.wanted([one.key for one in now], 3) == (
        VolumeKey(1, 0, 0),
        VolumeKey(1, 0, 1),
        VolumeKey(0, 0, 0),
        VolumeKey(0, 0, 1),
    )


def test_one_of_another_shape_type_or_without_planes_is_not_read() -> None:
    other = at(1, shape=(5, 8, 8))
    bytes_ = volume(noisy((4, 8, 8)).astype(np.uint8), t=1)
    empty = at(1, missing=[0, 1, 2, 3])
    for one in (other, bytes_, empty):
        assert times(past.completed([at(2)], 1, known(one))) == [(2, 0), (2, 0)]


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return save_network(tmp_path / "net.onnx", past=2)


def opened(path: Path, **config: object) -> Engine:
    return Engine(path, RestoreConfig(provider="cpu", threads=1, **config))  # type: ignore[arg-type]


def test_the_network_gets_the_earlier_ones_in_the_range_of_the_present(network: Path) -> None:
    first, second, now = (at(t, shape=(8, 24, 24)) for t in range(3))
    now = volume(now.pixels * 2, t=2)  # so that the ranges differ
    read = past.completed([now], 2, known(first, second))
    (restored,) = opened(network).restore(read)
    span = measure(now.pixels, 2, 99.8)
    stacked = np.stack([now.pixels, second.pixels, first.pixels])[None]
    wanted = bare_of(network, stacked, span.low, span.high)
    assert np.allclose(restored.mean, wanted, rtol=0, atol=1e-6 * span.width)
    assert (restored.low, restored.high) == (span.low, span.high)
    assert restored.sources == (now.key,)
    assert restored.earlier == (second.key, first.key)
    assert restored.volume is now


def bare_of(network: Path, stacked: np.ndarray, low: float, high: float) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    ranges = {"low": np.full(3, low, np.float32), "high": np.full(3, high, np.float32)}
    mean: np.ndarray = session.run(["mean"], {"raw": stacked, **ranges})[0]
    return mean[0, 0]


def test_without_a_past_the_present_stands_in(network: Path) -> None:
    now = at(5, shape=(8, 24, 24))
    engine = opened(network)
    (alone,) = engine.restore([now])
    (asked,) = engine.restore(past.completed([now], 2, {}))
    assert (alone.mean == asked.mean).all()
    assert alone.earlier == asked.earlier == ()
    with pytest.raises(RestoreError, match="takes 1 channels"):
        engine.restore([now, now])


def test_a_missing_plane_of_an_earlier_one_is_filled_and_flags_nothing(network: Path) -> None:
    gap, now = at(1, shape=(8, 24, 24), missing=[3]), at(2, shape=(8, 24, 24))
    pixels = gap.pixels.copy()
    pixels[3] = pixels[2]
    engine = opened(network)
    (restored,) = engine.restore(past.completed([now], 2, known(gap)))
    (wanted,) = engine.restore(past.completed([now], 2, known(volume(pixels, t=1))))
    assert (restored.mean == wanted.mean).all()
    assert "missing_plane" not in restored.flags


def test_tiles_do_not_change_the_result(network: Path) -> None:
    read = past.completed([at(2, shape=(8, 60, 52))], 2, known(at(1, shape=(8, 60, 52)), at(0, shape=(8, 60, 52))))
    (whole,), (tiled,) = opened(network).restore(read), opened(network, tile_px=(8, 32, 32)).restore(read)
    assert np.abs(whole.mean - tiled.mean).max() < 1e-5 * (whole.high - whole.low)
