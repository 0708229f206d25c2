"""TIFF, as others have written it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
import tifffile

from care_live.errors import ConfigError, SourceError
from care_live.images import PlaneIndex
from care_live.recorded import open_recording
from tests.conftest import need_data
from tests.make.recordings import same_everywhere


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


def write(path: Path, *shape: int, **options: object) -> Path:
    tifffile.imwrite(path, np.arange(np.prod(shape), dtype=np.uint16).reshape(shape), **options)
    return path


def axes_of(path: Path, axes: str | None = None) -> str:
    with contextlib.closing(open_recording(path, axes=axes)) as recording:
        return str(recording.contents.summary["axes"])


def test_one_set_of_axes_wins_over_the_file_where_it_fits(tmp_path: Path) -> None:
    movie = write(tmp_path / "movie.tif", 4, 2, 16, 18, imagej=True, metadata={"axes": "TCYX"})
    assert axes_of(movie) == "TCYX"
    assert axes_of(movie, "TZYX") == "TZYX"
    assert axes_of(movie, "ZYX") == "TCYX"


def test_several_sets_of_axes_are_for_files_that_name_none(tmp_path: Path) -> None:
    movie = write(tmp_path / "movie.tif", 4, 2, 16, 18, imagej=True, metadata={"axes": "TCYX"})
    assert axes_of(movie, "ZYX,TZYX") == "TCYX"
    plain = [write(tmp_path / f"{len(shape)}.tif", *shape) for shape in ((6, 16, 18), (2, 6, 16, 18), (16, 18))]
    assert [axes_of(path, "ZYX,TZYX") for path in plain] == ["ZYX", "TZYX", "YX"]
    with pytest.raises(ConfigError, match=r"give axes, such as TZYX"):
        open_recording(plain[1])
    with pytest.raises(
        ConfigError, match=r"does not name its 4 axes \(2x6x16x18\), and ZYX are others: give both, as in ZYX,TZYX"
    ):
        open_recording(plain[1], axes="ZYX")
    with pytest.raises(ConfigError, match=r"axes are 'ZZ'"):
        open_recording(plain[1], axes="TZYX,ZZ")


def test_no_axes_make_planes_of_colours(tmp_path: Path) -> None:
    colours = tmp_path / "rgb.tif"
    tifffile.imwrite(colours, np.zeros((16, 18, 3), np.uint8), photometric="rgb")
    with pytest.raises(SourceError, match="is in colour: 3 samples"):
        open_recording(colours, axes="ZYX")
    planar = tmp_path / "planar.tif"
    tifffile.imwrite(planar, np.zeros((3, 16, 18), np.uint8), photometric="rgb", planarconfig="separate")
    with pytest.raises(SourceError, match="give axes, such as CYX"):
        open_recording(planar)
    assert axes_of(planar, "ZYX") == "ZYX"


@pytest.mark.parametrize("dtype", ["int8", "int32", "float64"])
def test_other_numbers_are_read_as_what_networks_take(tmp_path: Path, dtype: str) -> None:
    pixels = np.random.default_rng(2).integers(-100, 100, (3, 16, 18)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels, ome=True, metadata={"axes": "ZYX"})
    with contextlib.closing(open_recording(tmp_path / "a.ome.tif", any_numbers=True)) as recording:
        plane = recording.read_plane(PlaneIndex(z=1))
        np.testing.assert_array_equal(plane, pixels[1])
        assert plane.dtype.name == recording.contents.plan.dtype != dtype
        assert not plane.flags.writeable
        assert recording.contents.conversion == f"{dtype} pixels are read as {plane.dtype}"
    with pytest.raises(SourceError, match=f"holds {dtype} pixels; wanted uint8 or uint16 camera counts"):
        open_recording(tmp_path / "a.ome.tif")
