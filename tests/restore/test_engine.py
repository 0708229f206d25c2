"""The engine: every task, tiled exactly, with flags that tell what happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from care_live.config import NormaliseConfig, RestoreConfig
from care_live.errors import ModelError, RestoreError
from care_live.images import Restored
from care_live.model.card import ModelCard
from care_live.percentiles import measure
from care_live.restore.engine import Engine
from tests.make.networks import Graph, noisy, save_graph, save_network, volume


def engine(path: Path, **config: Any) -> Engine:
    return Engine(path, RestoreConfig(provider="cpu", threads=1, **config))


def bare(path: Path, pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    """What onnxruntime itself says of counts (n, c, …space) with one range for every channel."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    n = pixels.shape[1]
    ranges = {"low": np.full(n, low, np.float32), "high": np.full(n, high, np.float32)}
    return np.stack(session.run(None, {"raw": pixels, **ranges}))


def same(restored: Restored, other: Restored) -> None:
    assert (restored.mean == other.mean).all()
    assert "laplace_scale" in restored.maps
    assert (restored.maps["laplace_scale"] == other.maps["laplace_scale"]).all()


def test_the_untiled_volume_is_what_the_network_says(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx")
    pixels = noisy((12, 40, 48))
    (restored,) = engine(path).restore([volume(pixels)])
    span = measure(pixels, 2, 99.8)
    mean, width = bare(path, pixels[None, None], span.low, span.high)[:, 0, 0]
    assert np.allclose(restored.mean, mean, rtol=0, atol=1e-6 * span.width)
    assert "laplace_scale" in restored.maps
    assert np.allclose(restored.maps["laplace_scale"], width, rtol=0, atol=1e-6 * span.width)
    assert (restored.low, restored.high) == (span.low, span.high)
    assert restored.flags == frozenset()
    assert "disagreement" not in restored.maps
    assert not restored.mean.flags.writeable


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 2])
def test_tiled_equals_whole_bitwise(tmp_path: Path, depth: int) -> None:
    path = save_network(tmp_path / "net.onnx", depth=depth)
    stack = volume(noisy((9, 150, 131)))
    tile = (64, 64, 64)
    same(engine(path, tile_px=tile).restore([stack])[0], engine(path).restore([stack])[0])


@pytest.mark.parametrize("n_planes", [44, 50])
def test_tiled_in_z_too(tmp_path: Path, n_planes: int) -> None:
    """Planes that share a block are summed in another order when a tile begins between them."""
    path = save_network(tmp_path / "net.onnx")
    stack = volume(noisy((n_planes, 20, 24)))
    (tiled,), (whole,) = engine(path, tile_px=(20, 24, 24)).restore([stack]), engine(path).restore([stack])
    if n_planes == 44:
        same(tiled, whole)
    for head in ("mean", "laplace_scale"):
        assert np.abs(tiled.maps[head] - whole.maps[head]).max() < 1e-6 * (whole.high - whole.low)


def test_two_dimensional_networks_go_plane_by_plane(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx", ndim=2)
    pixels = noisy((3, 50, 62))
    (restored,) = engine(path, tile_px=(1, 32, 32)).restore([volume(pixels)])
    span = measure(pixels, 2, 99.8)
    for z in range(3):
        mean, _ = bare(path, pixels[None, None, z], span.low, span.high)[:, 0, 0]
        assert (restored.mean[z] == mean).all()


def test_channels_share_one_network(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx", c_in=2)
    first, second = noisy((8, 24, 24), 1), noisy((8, 24, 24), 2)
    restored = engine(path).restore([volume(first, c=0), volume(second, c=1)])
    assert [result.key.c for result in restored] == [0, 1]
    assert restored[0].low == measure(first, 2, 99.8).low
    assert restored[1].high == measure(second, 2, 99.8).high
    with pytest.raises(RestoreError, match="takes 2 channels"):
        engine(path).restore([volume(first)])
    with pytest.raises(RestoreError, match="one shape"):
        engine(path).restore([volume(first), volume(second[:4], c=1)])


def test_two_channels_become_one(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx", c_in=2, c_out=1)
    restored = engine(path).restore([volume(noisy((8, 24, 24), s), c=s) for s in (0, 1)])
    assert len(restored) == 1
    assert restored[0].key.c == 0


@pytest.mark.slow
def test_an_ensemble_tells_its_disagreement(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx", members=3)
    stack = volume(noisy((8, 40, 40)))
    (restored,) = engine(path, tile_px=(8, 24, 24)).restore([stack])
    assert "disagreement" in restored.maps
    assert 0 < restored.maps["disagreement"].max() <= 1
    assert (restored.maps["disagreement"] == engine(path).restore([stack])[0].maps["disagreement"]).all()


def test_missing_planes_are_filled_and_do_not_move_the_range(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx")
    pixels = noisy((8, 24, 24))
    gap = pixels.copy()
    gap[3] = 0
    filled = pixels.copy()
    filled[3] = pixels[2]
    (restored,) = engine(path).restore([volume(gap, missing=[3])])
    assert "missing_plane" in restored.flags
    span = measure(pixels[[0, 1, 2, 4, 5, 6, 7]], 2, 99.8)
    assert (restored.low, restored.high) == (span.low, span.high)
    wanted = bare(path, filled[None, None], span.low, span.high)[0, 0, 0]
    assert np.allclose(restored.mean, wanted, rtol=0, atol=1e-6 * span.width)


@pytest.mark.parametrize(("value", "flagged"), [(65535, True), (4095, True), (4094, False)])
def test_saturation_is_flagged(tmp_path: Path, value: int, flagged: bool) -> None:
    pixels = noisy((8, 24, 24))
    pixels[0, 0, :5] = value
    (restored,) = engine(save_network(tmp_path / "net.onnx")).restore([volume(pixels)])
    assert ("saturated" in restored.flags) == flagged


def test_an_empty_volume_keeps_the_range_of_the_one_before(tmp_path: Path) -> None:
    ours = engine(save_network(tmp_path / "net.onnx"), normalise=NormaliseConfig(mode="per-volume"))
    (before,) = ours.restore([volume(noisy((8, 24, 24)))])
    (empty,) = ours.restore([volume(np.full((8, 24, 24), 100, np.uint16), t=1)])
    assert "empty" in empty.flags
    assert (empty.low, empty.high) == (before.low, before.high)


def test_what_is_no_number_is_mended_and_flagged(tmp_path: Path) -> None:
    graph = Graph(3, seed=0)
    counts = graph.add("Cast", "raw", to=1)
    graph.add("Log", counts, output="mean")
    graph.add("Add", counts, graph.constant(1.0), output="laplace_scale")
    card = ModelCard(name="log", divisor=(1, 1, 1), halo_px=(0, 0, 0), heads=("mean", "laplace_scale"))
    path = save_graph(tmp_path / "log.onnx", graph, card)
    pixels = noisy((8, 24, 24))
    pixels[2, 3, 4] = 0
    (restored,) = engine(path).restore([volume(pixels)])
    assert "nan_fixed" in restored.flags
    assert "laplace_scale" in restored.maps
    assert restored.mean[2, 3, 4] == 0.0
    assert np.isinf(restored.maps["laplace_scale"][2, 3, 4])
    assert np.isfinite(restored.mean).all()


def test_a_card_with_too_small_a_halo_is_refused(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx", halo_px=(6, 8, 8))
    with pytest.raises(ModelError, match="differ from the whole"):
        engine(path)


def test_eight_bit_cameras(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx")
    pixels = (noisy((8, 24, 24)) // 4).astype(np.uint8)
    span = measure(pixels, 2, 99.8)
    (restored,) = engine(path).restore([volume(pixels)])
    wanted = bare(path, pixels[None, None].astype(np.uint16), span.low, span.high)[0, 0, 0]
    assert np.allclose(restored.mean, wanted, rtol=0, atol=1e-6 * span.width)


@pytest.mark.parametrize("dtype", ["int16", "uint32", "float32"])
def test_other_numbers_than_camera_counts_give_what_the_same_counts_give(tmp_path: Path, dtype: str) -> None:
    path = save_network(tmp_path / "net.onnx", filters=2)
    config = RestoreConfig(provider="cpu", threads=1)
    counts = noisy((5, 24, 30), seed=1)
    wanted = Engine(path, config).restore([volume(counts)])[0]
    found = Engine(path, config, numbers=True).restore([volume(counts.astype(dtype))])[0]
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))
    np.testing.assert_allclose(found.mean, wanted.mean, rtol=1e-5)
    assert found.flags == wanted.flags


def test_a_dim_stack_of_fractions_is_no_empty_volume(tmp_path: Path) -> None:
    """What lies between 0 and 1 has a range below the noise floor of a camera."""
    path = save_network(tmp_path / "net.onnx", filters=2)
    engine = Engine(path, RestoreConfig(provider="cpu", threads=1), numbers=True)
    counts = noisy((5, 24, 30), seed=1).astype(np.float32)
    bright = engine.restore([volume(counts)])[0]
    engine.memories = {}
    dim = engine.restore([volume(counts / 65536)])[0]
    assert not dim.flags
    np.testing.assert_allclose(dim.mean * 65536, bright.mean, rtol=1e-3)


def test_a_pixel_that_is_not_a_number_is_refused(tmp_path: Path) -> None:
    engine = Engine(save_network(tmp_path / "net.onnx", filters=2), RestoreConfig(provider="cpu"), numbers=True)
    pixels = noisy((5, 24, 30), seed=1).astype(np.float32)
    pixels[2, 3, 4:6] = np.nan, np.inf
    with pytest.raises(RestoreError, match="has 2 pixels that are infinite or not a number"):
        engine.restore([volume(pixels)])
