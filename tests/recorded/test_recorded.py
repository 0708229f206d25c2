"""What a recording yields equals what a direct read of the file gives, plane for plane."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from care_live.errors import CareLiveError, ConfigError, SourceError
from care_live.recorded import open_recording


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
