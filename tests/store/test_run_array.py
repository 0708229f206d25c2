"""A run as one array: what numpy's own array of the same volumes gives, and what is not there yet."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from msgspec.structs import replace

import care_live
from care_live.config import StoreConfig
from care_live.errors import StoreError
from care_live.images import RunStarted, VolumeKey
from care_live.store import RunReader, open_run
from tests.make.networks import noisy, save_network
from tests.make.stored import make_plan, make_restored, make_volume


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunReader:
    folder = tmp_path_factory.mktemp("run")
    movie = np.stack([np.stack([noisy((3, 12, 14), seed=10 * t + c) for c in range(2)]) for t in range(3)])
    tifffile.imwrite(folder / "movie.ome.tif", movie, ome=True, metadata={"axes": "TCZYX"})
    model = save_network(folder / "net.onnx", filters=2)
    care_live.restore(folder / "movie.ome.tif", folder / "out", model=model, provider="cpu", threads=1, progress=False)
    return care_live.open_run(folder / "out")


@pytest.mark.parametrize("product", ["raw", "restored"])
def test_it_is_indexed_as_an_array_of_numpy(run: RunReader, product: str) -> None:
    ours = run.array(product)
    whole = np.stack([np.stack([run.read(product, key) for key in run.keys(product) if key.t == t]) for t in range(3)])
    assert (ours.shape, ours.dtype, ours.ndim) == (whole.shape, whole.dtype, 5)
    np.testing.assert_array_equal(np.asarray(ours), whole)
    for index in (1, (0, 1), (slice(1, 3), 0, -1), (2, slice(None), 1, 4), (-1, -1, slice(0, 2), ..., 3)[:3]):
        np.testing.assert_array_equal(ours[index], whole[index])
    assert ours[3:].size == 0
    with pytest.raises(IndexError):
        ours[3]


def test_what_is_not_there_has_no_number_and_no_size(run: RunReader) -> None:
    assert run.array("restored", p=5).shape == (0, 0, 0, 0, 0)
    assert run.array("disagreement").shape == (0, 0, 0, 0, 0)
    with pytest.raises(StoreError, match="no 'restord': wanted one of raw, restored"):
        run.array("restord")
    has = run.has
    run.has = lambda product, key: key.t != 1 and has(product, key)  # type: ignore[method-assign]
    try:
        assert np.isnan(run.array("restored")[1]).all()
        assert not np.isnan(run.array("restored")[0]).any()
        assert (run.array("raw")[1] == 0).all()
    finally:
        del run.has


def test_a_volume_that_is_restored_anew_is_read_anew(tmp_path: Path) -> None:
    raw = make_volume()
    writer = open_run(StoreConfig(directory=tmp_path), RunStarted("run", make_plan(1), {}))
    writer.write_raw(raw)
    array = writer.reader().array("restored")
    for value in (1.0, 2.0):
        restored = make_restored(raw)
        mean = np.full_like(restored.maps["mean"], value)
        writer.write_restored(replace(restored, maps={**restored.maps, "mean": mean}))
        assert (array[0, 0] == value).all()
    writer.close()


def test_a_channel_with_more_planes_may_come_later(tmp_path: Path) -> None:
    keys, depths = [VolumeKey(0, 0, c) for c in range(2)], (2, 4)
    stacks = {key: tuple(range(depth)) for key, depth in zip(keys, depths, strict=True)}
    writer = open_run(StoreConfig(directory=tmp_path), RunStarted("run", make_plan(n_c=2, stacks=stacks)))
    volumes = [make_volume(key, (depth, 20, 24)) for key, depth in zip(keys, depths, strict=True)]
    writer.write_raw(volumes[0])
    reader = RunReader(tmp_path / "run")
    ours = reader.array("raw")
    np.testing.assert_array_equal(ours[0, 0], volumes[0].pixels)
    writer.write_raw(volumes[1])
    reader.refresh()
    np.testing.assert_array_equal(ours[0, 0, :2], volumes[0].pixels)
    np.testing.assert_array_equal(ours[0, :, -1], [np.zeros((20, 24)), volumes[1].pixels[-1]])
    writer.close()


def test_a_coarser_map_has_larger_voxels(tmp_path: Path) -> None:
    with contextlib.closing(open_run(StoreConfig(directory=tmp_path), RunStarted("run", make_plan()))) as writer:
        volume = make_volume()
        restored = make_restored(volume)
        coarse = restored.maps["evidence"][:, ::2, ::2]
        writer.write_raw(volume)
        writer.write_restored(replace(restored, maps=dict(restored.maps) | {"evidence": coarse}))
        reader = RunReader(writer.path)
        z_um, y_um, x_um = reader.array("restored").voxel_size_um
        assert reader.array("evidence").shape[2:] == coarse.shape
        assert reader.array("evidence").voxel_size_um == (z_um, 2 * y_um, 2 * x_um)
