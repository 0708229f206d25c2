"""A disk that is read-only, full, or becomes so during a run, as a user meets it: one line, and nothing lost."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from care_live.errors import StoreError
from care_live.images import VolumeKey
from care_live.store import RunReader, verify
from tests.make.runs import command, config, movie, replay, run, settings
from tests.test_cli import fails, toml

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="mounts disks of its own")]

SHAPE = (8, 128, 128)
"""A quarter of a MiB, of noise."""
N_VOLUMES = 24
Mount = Callable[..., Path]


def ordered(*words: object) -> None:
    """Run a command of the system, or skip the test by what it said."""
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{words[0]} is not possible here: {done.stderr.strip()}")


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mount something on ``tmp_path/disk``."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mounted(*words: object) -> Path:
        ordered("mount", *words, disk)
        return disk

    yield mounted
    while os.path.ismount(disk):
        subprocess.run(["umount", disk], check=True)


def ram(*options: str) -> tuple[str, ...]:
    return ("-t", "tmpfs", "-o", ",".join(options), "tmpfs")


def live(folder: Path, disk: Path, speed: object = "fastest", **store: object) -> subprocess.CompletedProcess[str]:
    """Replay the movie into a disk, as a user would."""
    sections = {"store": {"directory": str(disk / "runs"), "full_wait_s": 1.0} | store, "restore": {"policy": "wait"}}
    tree = settings(folder, replay(folder / "movie.tif", speed), **sections)
    (folder / "config.toml").write_text(toml(tree))
    return command("run", "config.toml", "--run-id", "test", "-q", cwd=folder)


def check_stored(disk: Path, pixels: np.ndarray) -> int:
    """Compare what is acknowledged with what was recorded; return how many raw volumes that is."""
    path = disk / "runs" / "test"
    assert not list(path.rglob("*.partial"))
    assert verify(path).clean
    reader = RunReader(path)
    assert all((reader.read("raw", key) == pixels[key.t]).all() for key in reader.keys("raw"))
    return len(reader.keys("raw"))


@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path):
    movie(tmp_path / "movie.tif", times=2)
    (tmp_path / "disk").mkdir(mode=0o555)
    fails(live(tmp_path, tmp_path / "disk"), 1, "cannot be written", "choose another store.directory")


@pytest.mark.parametrize(
    ("options", "said"),
    [(("size=4m", "ro"), "cannot be written"), (("size=4m",), "4 MiB free, 256 MiB must stay so")],
    ids=["read-only", "too-small"],
)
def test_a_disk_that_will_not_do_is_refused_before_anything_is_exposed(tmp_path, mount, options, said):
    movie(tmp_path / "movie.tif", times=2)
    disk = mount(*ram(*options))
    fails(live(tmp_path, disk), 1, said, "choose another store.directory")
    assert not list(disk.iterdir())


def test_a_disk_that_fills_up_ends_the_run_and_the_next_one_goes_on(tmp_path, mount):
    pixels = movie(tmp_path / "movie.tif", times=N_VOLUMES, shape=SHAPE)
    disk = mount(*ram("size=3m"))
    full = live(tmp_path, disk, keep_free_mib=0)
    assert (full.returncode, full.stdout) == (1, "")
    assert "no space left on the disk" in full.stderr.splitlines()[-1]
    assert "Traceback" not in full.stderr
    assert 0 < check_stored(disk, pixels) < N_VOLUMES
    mount("-o", "remount,ro", "tmpfs")
    fails(live(tmp_path, disk, keep_free_mib=0), 1, "cannot be written")
    mount("-o", "remount,rw,size=64m", "tmpfs")
    assert live(tmp_path, disk, keep_free_mib=0).returncode == 0
    assert check_stored(disk, pixels) == N_VOLUMES
    assert RunReader(disk / "runs" / "test").raw_only() == []


def test_volumes_wait_for_somebody_to_free_the_disk(tmp_path, mount):
    pixels = movie(tmp_path / "movie.tif", times=N_VOLUMES, shape=SHAPE)
    disk = mount(*ram("size=32m"))
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(30 * 2**20))
    over = threading.Event()

    def free_when_asked(daemon):
        def free() -> None:
            while "waits for the disk" not in daemon.status().detail and not over.wait(0.05):
                pass
            ballast.unlink()

        threading.Thread(target=free).start()

    store = {"directory": str(disk / "runs"), "keep_free_mib": 0}
    status = run(config(tmp_path, replay(tmp_path / "movie.tif"), store=store), meanwhile=free_when_asked)
    over.set()
    assert (status.received_planes, status.lost_planes) == (N_VOLUMES * SHAPE[0], 0)
    assert check_stored(disk, pixels) == N_VOLUMES


def test_a_disk_that_turns_read_only_ends_the_run_and_the_next_one_goes_on(tmp_path, mount):
    """It may cut off the journal's last line, which acknowledges nothing yet; the next run mends that."""
    pixels = movie(tmp_path / "movie.tif", times=60, shape=SHAPE)
    image = tmp_path / "image"
    ordered("truncate", "-s", "64M", image)
    ordered("mkfs.ext4", "-q", image)
    disk = mount("-o", "loop", image)
    over = threading.Event()

    def fail_soon(daemon):
        def fail() -> None:
            while daemon.status().stored_raw < 3 and not over.wait(0.01):
                pass
            ordered("mount", "-o", "remount,abort", disk)  # what the kernel does to a disk that fails

        threading.Thread(target=fail).start()

    store = {"directory": str(disk / "runs"), "keep_free_mib": 0, "full_wait_s": 1.0}
    with pytest.raises(StoreError, match="Read-only file system"):
        run(config(tmp_path, replay(tmp_path / "movie.tif", speed=20.0), store=store), meanwhile=fail_soon)
    over.set()
    subprocess.run(["umount", disk], check=True)
    mount("-o", "loop", image)
    assert {VolumeKey(0), VolumeKey(1), VolumeKey(2)} <= set(RunReader(disk / "runs" / "test").keys("raw"))
    assert live(tmp_path, disk, keep_free_mib=0).returncode == 0
    assert check_stored(disk, pixels) == 60
