"""The images of a run: their limits, their network, their size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from care_live.errors import StoreError
from care_live.images import LIMITS, ModelIdentity, NetworkInUse, VolumeKey
from care_live.store import STORED_PRODUCTS, RunReader, RunWriter
from tests.make.stored import MODEL, SHAPE, make_plan, make_restored, make_volume, only_mean, open_writer


def test_a_restored_image_says_its_limits_and_its_network(full_run):
    for product in STORED_PRODUCTS[1:]:
        for folder in (full_run / product, full_run / product / "0"):
            described = json.loads((folder / "zarr.json").read_text())["attributes"]["care_live"]
            assert described["limits"] == LIMITS
            assert described["run_id"] == "run"
        card = {"name": "worm3d", "task": "denoise"}
        assert described["models"] == [{"name": MODEL.name, "sha256": MODEL.sha256, "card": card}]
        assert described["mantissa_bits"] == 10


def test_another_network_is_named_in_an_image_with_its_next_volume_and_not_in_all_at_once(tmp_path):
    """Of a plate there are thousands: raw volumes would wait for as many syncs of the disk."""
    writer = open_writer(tmp_path, make_plan(n_t=2, n_p=2))
    writer.describe_network(NetworkInUse(MODEL, {"name": "worm3d"}))
    for p in range(2):
        store(writer, VolumeKey(0, p))
    writer.describe_network(NetworkInUse(ModelIdentity("another", "b" * 64), {"name": "another"}))
    assert networks_of(tmp_path, 0) == networks_of(tmp_path, 1) == ["worm3d"]
    store(writer, VolumeKey(1, 0))
    assert networks_of(tmp_path, 0) == ["worm3d", "another"]
    assert networks_of(tmp_path, 1) == ["worm3d"]
    writer.close()
    assert [model.name for model in RunReader(tmp_path / "run").models] == ["worm3d", "another"]


def store(writer: RunWriter, key: VolumeKey) -> None:
    volume = make_volume(key)
    writer.write_raw(volume)
    writer.write_restored(only_mean(make_restored(volume)))


def networks_of(folder: Path, p: int) -> list[str]:
    """Return the networks that the metadata of a restored image name."""
    attributes = json.loads((folder / f"run/restored/{p}/zarr.json").read_text())["attributes"]
    return [model["name"] for model in attributes["care_live"]["models"]]


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
