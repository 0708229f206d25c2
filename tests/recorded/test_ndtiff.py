"""NDTiff that was cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from care_live.errors import SourceError
from care_live.images import VolumeKey
from care_live.recorded import open_recording
from tests.conftest import need_data


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
