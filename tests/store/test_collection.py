"""The images of a run: their limits, their network, their size."""

from __future__ import annotations

import json

import pytest

from care_live.errors import StoreError
from care_live.images import LIMITS, VolumeKey
from care_live.store import PRODUCTS, RunReader
from tests.make.stored import MODEL, SHAPE, make_restored, make_volume, only_mean, open_writer


def test_a_restored_image_says_its_limits_and_its_network(full_run):
    for product in PRODUCTS[1:]:
        for folder in (full_run / product, full_run / product / "0"):
            described = json.loads((folder / "zarr.json").read_text())["attributes"]["care_live"]
            assert described["limits"] == LIMITS
            assert described["run_id"] == "run"
        card = {"name": "worm3d", "task": "denoise"}
        assert described["models"] == [{"name": MODEL.name, "sha256": MODEL.sha256, "card": card}]
        assert described["mantissa_bits"] == 10


def test_restored_volumes_may_be_deeper_or_flatter_than_raw(tmp_path):
    writer = open_writer(tmp_path)
    for t, depth in [(0, 12), (1, 12)]:
        volume = make_volume(VolumeKey(t))
        writer.write_raw(volume)
        writer.write_restored(only_mean(make_restored(volume, depth=depth)))
    writer.close()
    reader = RunReader(tmp_path / "run")
    assert reader.read("restored", VolumeKey(1)).shape == (12, *SHAPE[1:])
    assert reader.keys("laplace_scale") == []
    image = json.loads((tmp_path / "run/restored/0/zarr.json").read_text())["attributes"]["ome"]
    assert image["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"][2] == 0.5


def test_planes_of_another_shape_or_type_are_refused_by_name(tmp_path):
    writer = open_writer(tmp_path)
    writer.write_raw(make_volume(VolumeKey(0)))
    with pytest.raises(StoreError, match=r"\(21, 24\) px uint16 .* its first one was \(20, 24\) px uint16"):
        writer.write_raw(make_volume(VolumeKey(1), shape=(3, 21, 24)))
    assert writer.raw_keys() == [VolumeKey(0)]
    writer.close()
