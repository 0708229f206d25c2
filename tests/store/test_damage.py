"""Every byte of a run's journal, shards and metadata damaged: our own errors, and never pixels that are not true."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr

from care_live.errors import StoreError
from care_live.images import VolumeKey
from care_live.store import RunReader, verify
from tests.make.stored import make_pixels, make_plan, make_restored, make_volume, open_writer

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (2, 6, 6)
PLAN = make_plan(n_t=3, shape=SHAPE)
SHARD = "raw/0/0/c/1/0/0/0/0"

READ = """
import sys
from pathlib import Path
from care_live.errors import StoreError
from care_live.images import VolumeKey
from care_live.store import RunReader
try:
    RunReader(Path(sys.argv[1])).read("raw", VolumeKey(1))
except StoreError as error:
    print("refused", error)
"""


@pytest.fixture
def run(tmp_path):
    writer = open_writer(tmp_path, PLAN)
    for t in range(2):
        writer.write_raw(make_volume(VolumeKey(t), SHAPE))
        writer.write_restored(make_restored(make_volume(VolumeKey(t), SHAPE)))
    writer.close()
    return tmp_path / "run"


def cut(sound: bytes) -> Iterator[bytes]:
    """Yield every beginning of a file."""
    yield from (sound[:n] for n in range(len(sound)))


def flip(sound: bytes, every: int = 1) -> Iterator[bytes]:
    """Yield a file with one bit of one byte flipped, for each byte; which bit changes from byte to byte."""
    for n in range(0, len(sound), every):
        yield sound[:n] + bytes([sound[n] ^ 1 << n % 8]) + sound[n + 1 :]


def check_reading(run: Path) -> None:
    """Verify and read everything: what is returned is true."""
    try:
        verify(run)
        reader = RunReader(run)
    except StoreError:
        return
    for key in reader.keys("raw"):
        check_volume(reader, "raw", key, make_pixels(key, SHAPE))
    for key in reader.keys("restored"):
        check_volume(reader, "restored", key, make_restored(make_volume(key, SHAPE)).mean)


def check_volume(reader: RunReader, product: str, key: VolumeKey, wanted: np.ndarray) -> None:
    try:
        found = reader.read(product, key)
    except StoreError:
        return
    np.testing.assert_allclose(found, wanted, rtol=0 if product == "raw" else 2**-11)


def raw_shards(run: Path) -> set[bytes]:
    """Return the files of raw shards, wherever they lie."""
    return {path.read_bytes() for path in run.rglob("raw/0/0/c/*/*/*/0/0") if path.is_file()}


def goes_on(run: Path) -> bool:
    """Let a writer go on in a copy of a run and store one more volume; tell whether it was allowed."""
    copy = run.parent / "copy" / run.name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run, copy)
    try:
        writer = open_writer(copy.parent, PLAN)
        try:
            if VolumeKey(2) not in writer.raw_keys():
                writer.write_raw(make_volume(VolumeKey(2), SHAPE))
        finally:
            writer.close()
    except StoreError:
        return False
    finally:
        assert raw_shards(copy) >= raw_shards(run)
    return True


def check_journal(run: Path, *, damaged_lines: bool) -> None:
    """Look whether a reader sees the damage, and nothing that was not stored."""
    try:
        reader = RunReader(run)
    except StoreError:
        return  # how it began is lost
    assert bool(reader.damaged_lines) is damaged_lines
    assert {*reader.keys("raw"), *reader.keys("restored")} <= {VolumeKey(0), VolumeKey(1)}


@pytest.mark.slow
@pytest.mark.parametrize("damage", [cut, flip])
def test_each_byte_of_the_journal(run, damage: Callable[[bytes], Iterator[bytes]]):
    """A cut one goes on, all its raw volumes kept; a flipped one is read and never continued."""
    journal = run / "journal.jsonl"
    for n, damaged in enumerate(damage(journal.read_bytes())):
        journal.write_bytes(damaged)
        check_journal(run, damaged_lines=damage is flip)
        if n % 53 == 0:
            check_reading(run)
            assert goes_on(run) is (damage is cut and b"\n" in damaged)


@pytest.mark.slow
@pytest.mark.parametrize("damage", [cut, flip])
@pytest.mark.parametrize("product", ["raw", "restored"])
def test_each_byte_of_a_shard(run, product, damage):
    name = SHARD.replace("raw", product)
    volume = make_volume(VolumeKey(1), SHAPE)
    wanted = volume.pixels if product == "raw" else make_restored(volume).mean
    sound = (run / name).read_bytes()
    for n, damaged in enumerate(damage(sound)):
        (run / name).write_bytes(damaged)
        check_volume(RunReader(run), product, VolumeKey(1), wanted)
        if n % 29 == 0:
            assert not verify(run).clean
    assert goes_on(run)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["raw/0/0/zarr.json", "raw/0/zarr.json", "zarr.json", "OME/zarr.json"])
def test_each_byte_of_the_metadata(run, name):
    sound = (run / name).read_bytes()
    for n, damaged in enumerate(flip(sound, every=13)):
        (run / name).write_bytes(damaged)
        check_reading(run)
        if n % 11 == 0:
            goes_on(run)


@pytest.mark.slow
@pytest.mark.parametrize("field", [4, 8, 12], ids=["bytes", "block", "compressed"])
def test_a_chunk_whose_sizes_are_damaged_ends_no_process(run, field):
    """Blosc reads and writes as far as these sizes say."""
    damaged = bytearray((run / SHARD).read_bytes())
    damaged[field : field + 4] = (0x7FFFFFF0).to_bytes(4, "little")
    (run / SHARD).write_bytes(damaged)
    reads_in_a_process(run)


@pytest.mark.slow
@pytest.mark.parametrize("field", [4, 8, 12], ids=["bytes", "block", "compressed"])
def test_a_run_without_checksums_behind_its_chunks_goes_on_and_ends_no_process(tmp_path, field):
    """As all runs were before."""
    open_writer(tmp_path, PLAN).close()
    codec = zarr.codecs.BloscCodec(cname="zstd", clevel=1, shuffle="shuffle")
    shape = {"shape": (1, 1, *SHAPE), "chunks": (1, 1, *SHAPE), "shards": (1, 1, *SHAPE), "dtype": "uint16"}
    zarr.create_array(tmp_path / "run/raw/0/0", **shape, compressors=codec, dimension_names=list("tczyx"))
    writer = open_writer(tmp_path, PLAN)
    for t in range(2):
        writer.write_raw(make_volume(VolumeKey(t), SHAPE))
    writer.close()
    run = tmp_path / "run"
    assert verify(run).clean
    damaged = bytearray((run / SHARD).read_bytes())
    damaged[field : field + 4] = (0x7FFFFFF0).to_bytes(4, "little")
    (run / SHARD).write_bytes(damaged)
    reads_in_a_process(run)


def reads_in_a_process(run: Path) -> None:
    """Read the damaged volume in a process of its own, and see that it is refused."""
    command = [sys.executable, "-c", READ, str(run)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout[:7]) == (0, "refused"), done.stderr
