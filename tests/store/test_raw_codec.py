"""The codec of raw volumes may change from one to the next; whatever it is, the same pixels come back."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import zarr

from care_live.images import VolumeKey
from care_live.recorded import open_recording
from care_live.store import RunReader, verify
from care_live.store.raw_codec import CodecPicker
from tests.make.stored import make_plan, make_volume, open_writer

_ZSTD, _LZ4, _STORED = 4, 1, 0x2
"""In the flags of a Blosc chunk: the format in the upper three bits; and that nothing is packed."""


def blosc_flags(run: Path, t: int) -> int:
    """Return the flags of the first chunk of a volume's shard."""
    data = (run / "raw" / "0" / "0" / "c" / str(t) / "0" / "0" / "0" / "0").read_bytes()
    return data[2]


def test_each_codec_gives_the_pixels_back_in_one_run_and_the_journal_says_which(tmp_path: Path) -> None:
    codecs = ("zstd", "lz4", "none", "zstd")
    for t, codec in enumerate(codecs):
        writer = open_writer(tmp_path, make_plan(n_t=4), codec=codec)
        writer.write_raw(make_volume(VolumeKey(t)))
        writer.close()
    run = tmp_path / "run"
    flags = [blosc_flags(run, t) for t in range(4)]
    assert [flag >> 5 for flag in (flags[0], flags[1], flags[3])] == [_ZSTD, _LZ4, _ZSTD]
    assert flags[2] & _STORED
    lines = [line for line in (run / "journal.jsonl").read_text().splitlines() if '"kind":"raw"' in line]
    assert [('"codec":"lz4"' in line, '"codec":"none"' in line) for line in lines] == [
        (False, False),
        (True, False),
        (False, True),
        (False, False),
    ]
    assert verify(run).clean
    reader, array = RunReader(run), zarr.open_array(run / "raw" / "0" / "0", mode="r")
    recording = open_recording(run)
    for t in range(4):
        wanted = make_volume(VolumeKey(t)).pixels
        np.testing.assert_array_equal(reader.read_raw(VolumeKey(t)).pixels, wanted)
        np.testing.assert_array_equal(array[t, 0], wanted)
        for index in (one for one in recording.contents.order if one.t == t):
            np.testing.assert_array_equal(recording.read_plane(index), wanted[index.z])
    recording.close()


def picker(*, busy: float, disk: float = 0.1, load: float = 0.0) -> CodecPicker:
    """Return one that has seen volumes every second."""
    ticks = itertools.count()
    made = CodecPicker("auto", clock=lambda: float(next(ticks)), load=lambda: load)
    for _ in range(8):
        made.note(packing_s=busy * (1 - disk), disk_s=busy * disk)
    return made


@pytest.mark.parametrize(
    ("busy", "disk", "load", "wanted"),
    [
        (0.05, 0.1, 0.1, "zstd"),
        (0.6, 0.1, 0.1, "lz4"),
        (0.05, 0.1, 2.0, "lz4"),
        (0.6, 0.9, 0.1, "zstd"),
    ],
    ids=["idle", "store busy", "machine busy", "slow disk"],
)
def test_auto_picks_by_load_and_disk(busy: float, disk: float, load: float, wanted: str) -> None:
    assert picker(busy=busy, disk=disk, load=load).pick() == wanted


def test_auto_stays_where_it_is_between_busy_and_idle() -> None:
    seen = picker(busy=0.6)
    assert seen.pick() == "lz4"
    for _ in range(8):
        seen.note(packing_s=0.2, disk_s=0.0)
    assert seen.pick() == "lz4"
    for _ in range(8):
        seen.note(packing_s=0.05, disk_s=0.0)
    assert seen.pick() == "zstd"
