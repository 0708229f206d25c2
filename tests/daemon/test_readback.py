"""Volumes of the run that is being written are read back, for viewers that ask late."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from care_live.daemon.readback import Stored
from care_live.errors import StoreError
from care_live.images import Restored, Volume, VolumeKey
from tests.make.stored import make_restored, make_volume, open_writer


def test_the_newest_is_the_restored_one_with_all_that_is_known(tmp_path: Path) -> None:
    raw = make_volume(VolumeKey(1))
    restored = make_restored(raw)
    with_bits = open_writer(tmp_path, restored_mantissa_bits=23)
    stored = Stored(with_bits.path)
    with_bits.write_raw(raw)
    only_raw = stored.newest(VolumeKey(1))
    assert isinstance(only_raw, Volume)
    np.testing.assert_array_equal(only_raw.pixels, raw.pixels)
    with_bits.write_restored(restored)
    came = stored.newest(VolumeKey(1))
    assert isinstance(came, Restored)
    assert (came.key, came.flags, came.model, came.low) == (restored.key, restored.flags, restored.model, restored.low)
    assert came.maps.keys() == restored.maps.keys()
    np.testing.assert_array_equal(came.mean, restored.mean)
    np.testing.assert_array_equal(came.volume.pixels, raw.pixels)
    with_bits.close()


def test_what_is_not_stored_is_none_or_refused(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    stored = Stored(writer.path, writer.reader())
    assert stored.newest(VolumeKey(0)) is None
    with pytest.raises(StoreError, match="has no raw volume"):
        stored.raw(VolumeKey(0))
    writer.write_raw(make_volume())
    np.testing.assert_array_equal(stored.raw(VolumeKey(0)).pixels, make_volume().pixels)
    writer.close()


def test_another_run_is_gone_to(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    writer.write_raw(make_volume())
    stored = Stored(tmp_path / "no-run-yet")
    stored.go_to(writer.reader())
    assert stored.raw(VolumeKey(0)).key == VolumeKey(0)
    writer.close()
