"""What a recording yields equals what a direct read of the file gives, plane for plane."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from care_live.errors import CareLiveError, ConfigError, SourceError
from care_live.images import PlaneIndex, VolumeKey
from care_live.recorded import Recording, open_recording
from tests.conftest import need_data
from tests.make.plates import write_plate


def same_everywhere(recording: Recording, direct: np.ndarray, axes: str) -> None:
    """Compare every plane with an array of axes *axes* (a subset of TPCZYX)."""
    for index in recording.contents.order:
        place = {"T": index.t, "P": index.p, "C": index.c, "Z": index.z}
        plane = recording.read_plane(index)
        assert not plane.flags.writeable
        np.testing.assert_array_equal(plane, direct[tuple(place[a] for a in axes[:-2])])
    assert len(recording.contents.order) == int(np.prod(direct.shape[:-2]))


@pytest.mark.parametrize(
    ("name", "axes", "read_as"),
    [
        ("cho_3d_timelapse/Fluo-N3DH-CHO_02_img.tif", "TZYX", "TZYX"),
        ("cho_3d_timelapse/Fluo-N3DH-CHO_02_ERR_SEG.tif", "TZYX", "TZYX"),
        ("droplet_4d/ExampleTifSequence.tif", None, "TZYX"),
        ("mitosis_5d_crop/xyzct-mitosis.tif", None, "TZCYX"),
        ("telomeres_lowlight_stream/timelapse_telomeres_2d.tif", None, "TYX"),
        ("pollen/pollen.tif", "ZYX", "ZYX"),
        ("faim_bead_repeat_stacks/E07_s1_w1_z01.tif", None, "YX"),
    ],
)
def test_real_tiff(name: str, axes: str | None, read_as: str) -> None:
    path = need_data(name)
    recording = open_recording(path, axes=axes)
    same_everywhere(recording, tifffile.imread(path), read_as)
    recording.close()


def test_imagej_header_gives_voxels_and_times() -> None:
    recording = open_recording(need_data("telomeres_lowlight_stream/timelapse_telomeres_2d.tif"))
    assert recording.contents.plan.voxel_size_um == pytest.approx((1.0, 0.11, 0.11))
    assert recording.stamp(PlaneIndex(t=3)).elapsed_us == 150_000
    recording.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n_t", "channels", "n_z"),
    [
        ("v3/ndtiff3.2_multichannel", 8, ("DAPI", "FITC"), 16),
        ("v3/12_bit_pycromanager_mda", 4, ("DAPI", "FITC"), 1),
        ("v3/ndtiffv3.0_test", 5, ("0", "1"), 1),
        ("v2/ndtiffv2.0_test", 5, ("0", "1"), 1),
    ],
)
def test_real_ndtiff(name: str, n_t: int, channels: tuple[str, ...], n_z: int) -> None:
    folder = need_data("ndtiff_micromanager") / name
    recording = open_recording(folder)
    plan = recording.contents.plan
    assert len(plan.stacks) == n_t * len(channels)
    assert plan.channels == channels
    assert plan.stacks[VolumeKey(n_t - 1, 0, 1)] == tuple(range(n_z))
    series = direct_ndtiff(folder)
    for index in recording.contents.order:
        axes = {"time": index.t, "channel": index.c if channels[0] == "0" else channels[index.c], "z": index.z}
        np.testing.assert_array_equal(recording.read_plane(index), series[frozenset(axes.items())])
    recording.close()


def direct_ndtiff(folder: Path) -> dict[frozenset, np.ndarray]:
    """Read the pages of the TIFF with tifffile: page n is the n-th image of the index."""
    from ndstorage.ndtiff_index import read_ndtiff_index

    folder = folder / "Full resolution" if (folder / "Full resolution").exists() else folder
    index = read_ndtiff_index((folder / "NDTiff.index").read_bytes(), verbose=False)
    with tifffile.TiffFile(next(folder.glob("*.tif"))) as file:
        pages = {page.dataoffsets[0]: page for page in file.pages}
        return {
            frozenset({"z": 0, **dict(axes)}.items()): pages[where.pix_offset].asarray()
            for axes, where in index.items()
        }


def test_positions_and_channels_of_the_window_keep_their_names() -> None:
    for name in ("nd_tiff", "image_stack_files/mp_1_MMStack_worm-a.ome.tif"):
        recording = open_recording(need_data("micromanager_window") / name)
        plan = recording.contents.plan
        assert (plan.positions, plan.channels) == (("worm-a", "worm-b"), ("DAPI", "FITC"))
        assert plan.stacks == {VolumeKey(t, p, c): (0, 1, 2, 3, 4) for t in (0, 1) for p in (0, 1) for c in (0, 1)}
        recording.close()


def test_colour_ndtiff_is_refused() -> None:
    with pytest.raises(SourceError, match="colour"):
        open_recording(need_data("ndtiff_micromanager/v3/ndtiff3.2_magellan_explore_rgb"))


def test_real_plate_is_positions() -> None:
    path = need_data("ome_zarr_hcs_plate/single-plane-hcs.zarr")
    recording = open_recording(path)
    plan = recording.contents.plan
    assert plan.positions == ("E/08/0", "E/07/0")
    assert plan.voxel_size_um == pytest.approx((1.0, 2.7336, 2.7336))
    direct = np.stack([zarr.open_array(path / name / "0", mode="r")[:] for name in plan.positions])
    same_everywhere(recording, direct, "PCYX")
    recording.close()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_versions(tmp_path: Path, version: str) -> None:
    pixels = np.random.default_rng(3).integers(0, 65535, (2, 2, 5, 24, 32), np.uint16)
    path = tmp_path / "image.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    array = group.create_array("0", shape=pixels.shape, dtype=pixels.dtype, chunks=(1, 1, 2, 16, 16))
    array[:] = pixels
    multiscales = [
        {
            "axes": [
                {"name": "t", "type": "time", "unit": "millisecond"},
                {"name": "c", "type": "channel"},
                *({"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"),
            ],
            "datasets": [
                {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [250, 1, 2000, 200, 100]}]}
            ],
        }
    ]
    if version == "0.4":
        group.attrs["multiscales"] = multiscales
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales}
    recording = open_recording(path)
    same_everywhere(recording, pixels, "TCZYX")
    assert recording.contents.plan.voxel_size_um == pytest.approx((2.0, 0.2, 0.1))
    assert recording.stamp(PlaneIndex(t=1)).elapsed_us == 250_000
    recording.close()


def test_big_endian_and_compressed(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 65535, (3, 4, 32, 48), np.uint16)
    for name, options in {"big": {"byteorder": ">"}, "zlib": {"compression": "zlib"}}.items():
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, pixels, photometric="minisblack", **options)
        recording = open_recording(path, axes="TZYX")
        same_everywhere(recording, pixels, "TZYX")
        assert recording.read_plane(PlaneIndex()).dtype == np.dtype("uint16")
        recording.close()


def test_ome_tiff_with_positions_and_times(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 4095, (2, 3, 2, 4, 20, 24), np.uint16)  # P T C Z Y X
    path = tmp_path / "run.ome.tif"
    times = [0.5 * i for i in range(3 * 2 * 4)]
    with tifffile.TiffWriter(path, ome=True) as writer:
        for position in pixels:
            writer.write(
                position,
                photometric="minisblack",
                metadata={
                    "axes": "TCZYX",
                    "PhysicalSizeX": 0.1,
                    "PhysicalSizeY": 0.2,
                    "PhysicalSizeZ": 1.5,
                    "Channel": {"Name": ["DAPI", "FITC"]},
                    "Plane": {"DeltaT": times, "DeltaTUnit": ["s"] * 24, "ExposureTime": [10.0] * 24,
                              "ExposureTimeUnit": ["ms"] * 24},
                },
            )  # fmt: skip
    recording = open_recording(path)
    same_everywhere(recording, pixels, "PTCZYX")
    plan = recording.contents.plan
    assert (plan.channels, plan.voxel_size_um) == (("DAPI", "FITC"), (1.5, 0.2, 0.1))
    stamp = recording.stamp(PlaneIndex(t=0, p=0, c=0, z=1))
    assert (stamp.elapsed_us, stamp.exposure_ms) == (500_000, 10.0)
    recording.close()


def bad_inputs(folder: Path) -> dict[str, tuple[Path, str | None, type[CareLiveError], str]]:
    text = folder / "notes.tif"
    text.write_text("no image")
    floats = folder / "floats.tif"
    tifffile.imwrite(floats, np.zeros((3, 8, 8), np.float32), photometric="minisblack")
    plain = folder / "plain.tif"
    tifffile.imwrite(plain, np.zeros((3, 8, 8), np.uint16), photometric="minisblack")
    empty = folder / "empty"
    empty.mkdir()
    group = folder / "group.zarr"
    zarr.open_group(group, mode="w")
    broken = folder / "broken"
    broken.mkdir()
    (broken / "NDTiff.index").write_bytes(b"\xff" * 64)
    return {
        "nothing there": (folder / "absent.tif", None, ConfigError, "no data set"),
        "no image": (text, None, SourceError, "cannot be read as TIFF"),
        "floats": (floats, "ZYX", SourceError, "float32"),
        "no axes": (plain, None, ConfigError, "give axes"),
        "too many axes": (plain, "TZYX", ConfigError, "3 axes"),
        "unknown axis": (plain, "QYX", ConfigError, "TPCZYX"),
        "an empty folder": (empty, None, SourceError, "neither"),
        "a Zarr without an image": (group, None, SourceError, "multiscales"),
        "a broken index": (broken, None, SourceError, "broken"),
    }


@pytest.mark.parametrize("case", ["nothing there", "no image", "floats", "no axes", "too many axes", "unknown axis",
                                  "an empty folder", "a Zarr without an image", "a broken index"])  # fmt: skip
def test_bad_input_is_one_clear_line(tmp_path: Path, case: str) -> None:
    path, axes, error, says = bad_inputs(tmp_path)[case]
    with pytest.raises(error, match=says) as caught:
        open_recording(path, axes=axes)
    assert "\n" not in str(caught.value)


def test_an_address_is_read_by_zarrs_own_stores() -> None:
    """Any file system of fsspec will do: here one in memory, as ``s3://`` on a server."""
    pytest.importorskip("fsspec")
    address = "memory://bucket/plate.zarr"
    pixels = np.arange(2 * 3 * 8 * 9, dtype=np.uint16).reshape(2, 3, 8, 9)
    write_plate(address, ["A/1"], pixels)
    recording = open_recording(address)
    assert recording.contents.plan.positions == ("A/1/0", "A/1/1")
    same_everywhere(recording, pixels, "PZYX")
    recording.close()
    with pytest.raises(SourceError, match="cannot be read as OME-Zarr"):
        open_recording("memory://bucket/none.zarr")
