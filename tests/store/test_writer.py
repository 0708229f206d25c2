"""What was stored is what is read back, by the writer, by a reader, by zarr itself and by OME-Zarr's validators."""

from __future__ import annotations

import json

import numpy as np
import ome_zarr_models.v05
import pytest
import yaozarrs
import zarr

from care_live.errors import StoreError
from care_live.images import ModelIdentity, StateChanged, VolumeKey
from care_live.store import STORED_PRODUCTS, RunReader, verify
from tests.make.stored import MODEL, SHAPE, make_pixels, make_plan, make_restored, make_volume, only_mean, open_writer


def test_raw_comes_back_bit_for_bit_with_all_that_is_known_of_it(full_run):
    reader = RunReader(full_run)
    for key in reader.keys("raw"):
        volume, wanted = reader.read_raw(key), make_volume(key)
        np.testing.assert_array_equal(volume.pixels, wanted.pixels)
        assert volume.pixels.dtype == np.uint16
        assert not volume.pixels.flags.writeable
        for name in ("run_id", "key", "voxel_size_um", "integrity", "closed", "state", "acquired_us", "exposure_ms"):
            assert getattr(volume, name) == getattr(wanted, name)


def test_restored_comes_back_rounded_to_the_bits_that_were_asked_for(full_run):
    reader = RunReader(full_run)
    for key in reader.keys("restored"):
        wanted = make_restored(make_volume(key))
        for product, pixels in [
            ("restored", wanted.mean),
            ("laplace_scale", wanted.maps["laplace_scale"]),
            ("disagreement", wanted.maps["disagreement"]),
        ]:
            found = reader.read(product, key)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, pixels, rtol=2**-11)
        made = reader.restoration(key)
        assert (made.model, made.low, made.high, made.flags) == (MODEL, 3.0, 180.0, ("late",))
        assert made.sources == (key,)


def test_a_reader_knows_the_run(full_run):
    reader = RunReader(full_run)
    assert reader.plan == make_plan(n_t=2, n_p=2, n_c=2)
    assert (reader.run_id, reader.voxel_size_um, reader.summary) == ("run", (2.0, 0.5, 0.5), {"microscope": "virtual"})
    assert reader.raw_only() == [VolumeKey(1, 1, 1)]
    assert reader.not_restored()[VolumeKey(1, 1, 1)].reason == "skipped"
    assert reader.ended is not None and reader.ended.reason == "finished"
    assert [model.card["task"] for model in reader.models] == ["denoise"]
    assert len(reader.keys("disagreement")) == 7


def test_validators_and_zarr_open_every_image(full_run):
    yaozarrs.validate_zarr_store(str(full_run))
    ome_zarr_models.v05.BioFormats2Raw.from_zarr(zarr.open_group(full_run, mode="r"))
    series = json.loads((full_run / "OME" / "zarr.json").read_text())["attributes"]["ome"]["series"]
    assert series == [f"{product}/{p}" for product in STORED_PRODUCTS for p in (0, 1)]
    for path in series:
        yaozarrs.validate_zarr_store(str(full_run / path))
        group = zarr.open_group(full_run / path, mode="r")
        image = ome_zarr_models.v05.Image.from_zarr(group).ome_attributes
        assert [axis.name for axis in image.multiscales[0].axes] == list("tczyx")
        scale = image.multiscales[0].datasets[0].coordinateTransformations[0].scale
        assert tuple(scale) == (10.0, 1.0, 2.0, 0.5, 0.5)
        assert [channel["label"] for channel in image.omero["channels"]] == ["channel-0", "channel-1"]
        assert group["0"].shape == (2, 2, *SHAPE)
        assert group["0"].shards == (1, 1, *SHAPE)
    np.testing.assert_array_equal(
        zarr.open_array(full_run / "raw/1/0", mode="r")[1, 0], make_pixels(VolumeKey(1, 1, 0))
    )


def test_eight_bit_raw_stays_eight_bit(tmp_path):
    writer = open_writer(tmp_path, make_plan(dtype="uint8"))
    writer.write_raw(make_volume(dtype="uint8"))
    assert RunReader(writer.path).read_raw(VolumeKey(0)).pixels.dtype == np.uint8
    writer.close()


def test_a_volume_of_zeros_is_stored_too(tmp_path):
    writer = open_writer(tmp_path)
    writer.write_raw(make_volume(pixels=np.zeros(SHAPE, np.uint16)))
    assert not RunReader(writer.path).read_raw(VolumeKey(0)).pixels.any()
    writer.close()
    assert verify(tmp_path / "run").clean


def test_volumes_of_unknown_depth_may_grow_and_shrink(tmp_path):
    writer = open_writer(tmp_path, make_plan(stacks={}))
    depths = [2, 9, 1, 25]
    for t, depth in enumerate(depths):
        writer.write_raw(make_volume(VolumeKey(t), shape=(depth, 20, 24)))
    writer.close()
    reader = RunReader(tmp_path / "run")
    for t, depth in enumerate(depths):
        np.testing.assert_array_equal(reader.read("raw", VolumeKey(t)), make_pixels(VolumeKey(t), (depth, 20, 24)))
    assert verify(tmp_path / "run").clean


@pytest.mark.parametrize("shape", [(1, 1, 1), (9, 600, 30), (8, 512, 513), (33, 5, 7)])
def test_any_volume_shape_is_cut_into_chunks_and_put_together(tmp_path, shape):
    writer = open_writer(tmp_path, make_plan(shape=shape))
    volume = make_volume(shape=shape, pixels=np.arange(np.prod(shape), dtype=np.uint16).reshape(shape))
    writer.write_raw(volume)
    np.testing.assert_array_equal(RunReader(writer.path).read_raw(VolumeKey(0)).pixels, volume.pixels)
    writer.close()


def test_a_network_that_mixes_channels_restores_all_its_sources(tmp_path):
    writer = open_writer(tmp_path, make_plan(n_c=2))
    volumes = [make_volume(VolumeKey(0, 0, c), state="provisional") for c in range(2)]
    for volume in volumes:
        writer.write_raw(volume)
    writer.write_restored(make_restored(volumes[0], sources=tuple(volume.key for volume in volumes)))
    assert writer.raw_only() == []
    writer.note(StateChanged(VolumeKey(0, 0, 0), "confirmed"))
    writer.note(StateChanged(VolumeKey(0, 0, 1), "suspect", "the camera lost a frame"))
    writer.close()
    reader = RunReader(tmp_path / "run")
    assert reader.state(VolumeKey(0, 0, 0)) == "confirmed"
    assert reader.state(VolumeKey(0, 0, 0), "restored") == "suspect"


def test_a_volume_that_is_restored_anew_with_fewer_maps_leaves_none_behind(tmp_path):
    """The first volume of a daemon may not be compared with the photons, and so has no map of that."""
    writer = open_writer(tmp_path, make_plan())
    volume = make_volume(VolumeKey(0))
    writer.write_raw(volume)
    writer.write_restored(make_restored(volume))
    writer.write_restored(only_mean(make_restored(volume)))
    writer.close()
    reader = RunReader(tmp_path / "run")
    assert reader.keys("restored") == [VolumeKey(0)] and reader.keys("evidence") == []
    assert verify(tmp_path / "run").clean


def test_a_restored_volume_is_replaced_and_a_raw_one_never(tmp_path):
    writer = open_writer(tmp_path)
    volume = make_volume()
    writer.write_raw(volume)
    writer.write_restored(make_restored(volume))
    other = ModelIdentity("other", "b" * 64)
    maps = make_restored(volume).maps | {"mean": np.full(SHAPE, 2.0, np.float32)}
    writer.write_restored(make_restored(volume, model=other, maps=maps))
    with pytest.raises(StoreError, match="stored already"):
        writer.write_raw(volume)
    writer.close()
    reader = RunReader(tmp_path / "run")
    assert reader.read("restored", VolumeKey(0)).max() == 2.0
    assert reader.restoration(VolumeKey(0)).model == other
    assert verify(tmp_path / "run").clean


def test_a_reader_sees_what_comes_and_asks_only_for_what_is_safe(tmp_path):
    writer = open_writer(tmp_path)
    reader = RunReader(tmp_path / "run")
    for t in range(3):
        with pytest.raises(StoreError, match="has no raw volume"):
            reader.read("raw", VolumeKey(t))
        writer.write_raw(make_volume(VolumeKey(t)))
        reader.refresh()
        assert reader.keys("raw")[-1] == VolumeKey(t)
        np.testing.assert_array_equal(reader.read("raw", VolumeKey(t)), make_pixels(VolumeKey(t)))
    writer.close()
