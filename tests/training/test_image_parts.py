"""Parts of images that are not read whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from care_live.training.data.image_parts import OnDisk, plane_in, rows_in
from tests.training.conftest import blobs


@pytest.mark.parametrize("of", [lambda image: rows_in(image, slice(8, 40)), lambda image: plane_in(image, 2)])
def test_parts_of_an_image_on_disk_are_those_in_memory_and_stay_there(tmp_path: Path, of: Any) -> None:
    stack = blobs(1, (4, 48, 32))[None, None].astype(np.uint16)
    stored = zarr.create_array(tmp_path / "image.zarr", data=stack, chunks=(1, 1, 2, 16, 16))
    here, there = (of(OnDisk(array, 0, True)) for array in (stack, stored))
    assert isinstance(here, np.ndarray)
    assert not isinstance(there, np.ndarray)
    window = (slice(None),) * (here.ndim - 2) + (slice(3, 11), slice(1, None, 3))
    for at in (window, slice(None), (slice(0, 1),)):
        assert np.array_equal(here[at], there[at])
    assert (there.shape, there.ndim) == (here.shape, here.ndim)
