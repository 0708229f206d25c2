"""One image of a run, while other images of the same process are opened."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from care_live.errors import StoreError
from care_live.store.zarr_images import ImageGroup

SHAPE = (3, 16, 24)
DEADLINE_S = 60.0


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_black_volume_has_a_file_though_another_thread_opens_images(
    tmp_path: Path, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that has begun to open its image before the writer, and ends while the writer opens its own."""
    ImageGroup.create(tmp_path / "raw" / "read", SHAPE, dtype)
    reader_is_in, writer_is_in = threading.Event(), threading.Event()
    open_array = zarr.open_array

    def opened_in_between(*, store: Path, mode: str) -> Any:
        if store.parent.name == "read":
            reader_is_in.set()
            assert writer_is_in.wait(DEADLINE_S)
        else:
            writer_is_in.set()
            reader.join(DEADLINE_S)
        return open_array(store=store, mode=mode)  # type: ignore[arg-type]

    monkeypatch.setattr(zarr, "open_array", opened_in_between)
    reader = threading.Thread(target=ImageGroup, args=(tmp_path / "raw" / "read",))
    reader.start()
    assert reader_is_in.wait(DEADLINE_S)
    image = ImageGroup.create(tmp_path / "raw" / "written", SHAPE, dtype)
    black = np.zeros(SHAPE, dtype)
    stored = image.write(0, 0, black)
    assert not reader.is_alive()
    assert stored.file_bytes > 0
    assert (image.read(0, 0, stored) == black).all()


def test_an_image_in_another_order_of_bytes_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "raw" / "0"
    ImageGroup.create(path, SHAPE, "uint16")
    metadata = json.loads((path / "0/zarr.json").read_bytes())
    metadata["codecs"][0]["configuration"]["codecs"][0]["configuration"]["endian"] = "big"
    (path / "0/zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(StoreError, match="is not as it was made"):
        ImageGroup(path, writable=True).write(0, 0, np.ones(SHAPE, np.uint16))
