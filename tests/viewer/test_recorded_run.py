"""What memory forgets, a disk that fills, a daemon that dies, a publisher that lies: nothing is missing in silence."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from care_live.config import StoreConfig
from care_live.daemon.readback import Stored
from care_live.errors import StoreError
from care_live.images import NetworkInUse, Plan, RunStarted, VolumeKey, read_only
from care_live.publish import Publisher, Subscriber
from care_live.publish import log as log_of_run
from care_live.recorded.journal_lines import JOURNAL_NAME
from care_live.store import RunReader, RunWriter, open_run, verify
from care_live.viewer.recorder import Recorder
from tests.make import runs, samples
from tests.make.small_disk import fill
from tests.publish.relay import Relay
from tests.viewer.test_recorder import Daemon, Recordings, assert_same, connected

pytestmark = pytest.mark.slow


def test_what_memory_cannot_keep_waits_for_the_store(tmp_path: Path) -> None:
    """A daemon that restores after the acquisition is faster than its store, and keeps nothing in memory."""
    runs.movie(tmp_path / "movie.tif", times=30)
    settings = runs.config(
        tmp_path, runs.replay(tmp_path / "movie.tif"), restore={"policy": "defer"}, publish={"replay_mib": 0}
    )
    recording: list[Recordings] = []
    runs.run(settings, meanwhile=lambda _: recording.append(connected(settings, tmp_path / "copy")))
    recording[0].join(90)
    result = recording[0].result
    assert (result.n_raw, result.n_restored, result.gaps) == (30, 30, [])
    assert_same(tmp_path / "copy" / "test", tmp_path / "runs" / "test")


class Shedding(Daemon):
    """A daemon whose disk takes no restored volumes, and whose memory keeps none."""

    def shed(self, *times: int) -> None:
        for t in times:
            restored = samples.restored(t)
            self.run.write_raw(restored.volume)
            self.publisher.publish(restored)


def test_a_restored_volume_that_the_daemon_shed_is_a_gap(tmp_path: Path) -> None:
    daemon = Shedding(tmp_path / "daemon", replay_mib=0)
    daemon.restore(0)
    daemon.shed(1, 2)
    daemon.restore(3)
    daemon.end()
    recording = Recordings(daemon.publisher.address_pull, tmp_path / "copy")
    recording.join(90)
    daemon.close()
    assert (recording.result.n_raw, recording.result.n_restored) == (4, 2)
    assert [gap.split(":")[0] for gap in recording.result.gaps] == [
        "restored volume (1, 0, 0)",
        "restored volume (2, 0, 0)",
    ]


def test_a_daemon_that_ends_waits_for_a_recorder_that_gets_on(tmp_path: Path) -> None:
    """The link is slow: at the end of the run the recorder is many seconds behind."""
    volumes = [samples.restored(t, shape=(4, 128, 128)) for t in range(12)]
    plan = replace(samples.started(12).plan, shape_px=(128, 128))
    publisher = Publisher(samples.config())
    with Relay(publisher.address_pull, bytes_per_s=2.5e6) as relay:
        recording = Recordings(relay.address, tmp_path)
        publisher.start(RunStarted("run-1", plan), samples.NETWORK)
        for restored in volumes:
            publisher.publish(restored)
        publisher.end(samples.ENDED)
        recording.wait_for(1)
        publisher.close()
        recording.join(90)
    assert (recording.result.n_raw, recording.result.n_restored, recording.result.gaps) == (12, 12, [])


def test_a_restored_volume_that_is_stored_late_is_asked_for_again(tmp_path: Path) -> None:
    daemon = Shedding(tmp_path / "daemon", replay_mib=0)
    daemon.shed(0)
    daemon.restore(1)
    recording = Recordings(daemon.publisher.address_pull, tmp_path / "copy")
    recording.wait_for(2)
    daemon.run.write_restored(samples.restored(0))
    recording.wait_for_restored(2)
    daemon.end()
    recording.join(90)
    daemon.close()
    assert (recording.result.n_restored, recording.result.gaps) == (2, [])


def test_a_recorder_that_joins_after_the_log_has_forgotten_most_of_the_run_gets_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_of_run, "MAX_ENTRIES", 4)
    daemon = Daemon(tmp_path / "daemon")
    for networks in ((), (NetworkInUse(samples.MODEL, {"name": "worm3d", "limits": "few"}),)):
        daemon.publisher.describe_networks(*networks)  # the start that holds is not the first message
    with Subscriber(daemon.publisher.address_pull) as early:
        wait_until(lambda: early.next(1.0) is not None and early.run is not None and early.run.seq == 2)
    daemon.restore(*range(6))
    daemon.change(1)
    recording = Recordings(daemon.publisher.address_pull, tmp_path / "copy")
    recording.wait_for_restored(3)
    daemon.restore(6, 7)
    daemon.end()
    recording.join(90)
    daemon.close()
    assert (recording.result.n_raw, recording.result.n_restored, recording.result.gaps) == (8, 8, [])
    assert_same(tmp_path / "copy" / "run-1", daemon.run.path)
    assert RunReader(tmp_path / "copy" / "run-1").state(VolumeKey(1)) == "suspect"


class Resumed(Daemon):
    """A daemon that goes on with a run, and announces only what is left of it."""

    def __init__(self, directory: Path, address: str, left: Plan) -> None:
        self.run: RunWriter = open_run(StoreConfig(directory=directory), RunStarted("run-1", left))
        self.publisher = Publisher(samples.config(bind_pull=address), replay_from_store=Stored(self.run.path).newest)
        self.publisher.start(RunStarted("run-1", left), samples.NETWORK)


@pytest.mark.parametrize("came_before", [True, False], ids=["was-there", "comes-late"])
def test_what_an_earlier_session_stored_unseen_is_asked_for(tmp_path: Path, came_before: bool) -> None:
    """The first daemon dies; the second has nothing left to record, so that it announces and publishes nothing."""
    first = Daemon(tmp_path / "daemon")
    address = first.publisher.address_pull
    if came_before:
        early = Recordings(address, tmp_path / "copy")
        first.skip(0)
        first.restore(1)
        early.wait_for(2)
        early.stopping.set()
        early.join(90)
        first.run.write_restored(samples.restored(0))
        first.restore(*range(2, 8))
    else:
        first.restore(*range(8))
    first.close()
    left = Plan({}, samples.SHAPE[1:], channels=("channel-0",), voxel_size_um=(2.0, 0.5, 0.5))
    second = Resumed(tmp_path / "daemon", address, left)
    late = Recordings(address, tmp_path / "copy")
    second.end()
    late.join(90)
    second.close()
    assert (late.result.n_raw, late.result.n_restored, late.result.gaps) == (8, 8, [])


def ram(*options: str) -> tuple[str, ...]:
    return ("mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run([*ram("size=64m"), str(disk)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_recorder_on_a_full_disk_sheds_restored_volumes_first_and_gets_them_later(
    tmp_path: Path, small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    daemon = Daemon(tmp_path / "daemon")
    config = StoreConfig(directory=small_disk, keep_free_mib=20, full_wait_s=60)
    recording = Recordings(daemon.publisher.address_pull, small_disk, config)
    daemon.restore(0)
    recording.wait_for_restored(1)
    ballast = fill(small_disk, leave_mib=15)  # between the half of it and all of it: raw only
    daemon.restore(1, 2, 3)
    recording.wait_for(4)
    assert recording.result.n_restored == 1
    ballast.unlink()
    fill(small_disk, leave_mib=5)  # nothing at all
    daemon.restore(4)
    wait_until(lambda: "waits for the disk" in caplog.text)
    assert recording.result.n_raw == 4
    ballast.unlink()
    recording.wait_for_restored(5)
    daemon.end()
    recording.join(90)
    daemon.close()
    assert (recording.result.n_raw, recording.result.n_restored, recording.result.gaps) == (5, 5, [])
    assert "goes on" in caplog.text and "left out" in caplog.text
    assert verify(small_disk / "run-1").clean


def test_a_disk_that_stays_full_ends_the_recording_with_an_error_and_all_that_was_stored(
    tmp_path: Path, small_disk: Path
) -> None:
    daemon = Daemon(tmp_path / "daemon")
    daemon.restore(0, 1)
    with Subscriber(daemon.publisher.address_pull, mode="every") as subscriber:
        recorder = Recorder(subscriber, StoreConfig(directory=small_disk, keep_free_mib=20, full_wait_s=0.5))

        def take_space(_: object) -> None:
            if recorder.recording.n_raw == 1 and not (small_disk / "ballast").exists():
                fill(small_disk, leave_mib=5)

        with pytest.raises(StoreError, match="must stay so"):
            recorder.record(threading.Event(), take_space)
    daemon.close()
    reader = RunReader(small_disk / "run-1")
    assert (reader.read("raw", VolumeKey(0)) == samples.volume(0).pixels).all()


def test_a_publisher_that_sends_what_is_not_of_the_run_is_refused_volume_by_volume(tmp_path: Path) -> None:
    fine, wide = samples.restored(0), samples.restored(1, shape=(4, 16, 32))
    deep, other = samples.restored(2, shape=(9, 16, 24)), msgspec.structs.replace(samples.volume(3), run_id="other")
    eight = msgspec.structs.replace(samples.volume(4), pixels=read_only(samples.volume(4).pixels.astype(np.uint8)))
    far = msgspec.structs.replace(samples.volume(0), key=VolumeKey(2**40))
    channel = msgspec.structs.replace(samples.volume(5), key=VolumeKey(5, 3, 7))
    odd = samples.restored(6)
    odd = msgspec.structs.replace(odd, maps=odd.maps | {"laplace_scale": read_only(np.ones((1, 2, 3), np.float32))})
    with Publisher(samples.config()) as publisher:
        recording = Recordings(publisher.address_pull, tmp_path)
        publisher.start(samples.started(8), samples.NETWORK)
        for sent in (fine, wide, deep, eight, far, channel, odd):
            publisher.publish(sent)
        publisher.publish(other)
        publisher.publish(samples.restored(7))
        publisher.end(samples.ENDED)
        recording.join(90)
    refused = "\n".join(recording.result.gaps)
    for said in ("(4, 16, 32) uint16", "(9, 16, 24) uint16", "uint8", "1099511627776", "1 positions and 1 channels"):
        assert said in refused
    assert "restored arrays are" in refused
    reader = RunReader(tmp_path / "run-1")
    assert reader.keys("restored") == [VolumeKey(0), VolumeKey(7)]
    assert verify(tmp_path / "run-1").clean


def test_two_recorders_do_not_write_one_folder(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "daemon")
    first = Recordings(daemon.publisher.address_pull, tmp_path / "copy")
    daemon.restore(0, 1)
    first.wait_for(2)
    with Subscriber(daemon.publisher.address_pull, mode="every") as subscriber:
        second = Recorder(subscriber, StoreConfig(directory=tmp_path / "copy"))
        with pytest.raises(StoreError, match="is being written by"):
            second.record(threading.Event())
    daemon.restore(*range(2, 8))
    daemon.end()
    first.join(90)
    daemon.close()
    assert first.result.gaps == []
    assert_same(tmp_path / "copy" / "run-1", daemon.run.path)


def test_a_run_that_is_recorded_twice_is_the_same_afterwards(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "daemon")
    daemon.restore(*range(8))
    daemon.end()
    for _ in range(2):
        recording = Recordings(daemon.publisher.address_pull, tmp_path / "copy")
        recording.join(90)
        assert (recording.result.n_raw, recording.result.n_restored, recording.result.gaps) == (8, 8, [])
    daemon.close()
    assert_same(tmp_path / "copy" / "run-1", daemon.run.path)


def test_a_recorder_that_is_killed_again_and_again_ends_with_the_same_bytes(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "daemon")
    journal, n_before = tmp_path / "copy" / "run-1" / JOURNAL_NAME, 0

    def n_lines() -> int:
        """Return how many records are whole: what a kill cut off is gone at the next start."""
        return journal.read_bytes().count(b"\n") if journal.exists() else 0

    for t in range(6):
        recorder = record(daemon.publisher.address_pull, tmp_path / "copy")
        daemon.restore(t)
        wait_until(lambda before=n_before: n_lines() > before)  # type: ignore[misc]
        recorder.send_signal(signal.SIGKILL)
        recorder.communicate(timeout=60)
        n_before = n_lines() + t % 2  # killed after the first of its two lines, or after both
    last = record(daemon.publisher.address_pull, tmp_path / "copy")
    daemon.restore(6, 7)
    daemon.end()
    said, _ = last.communicate(timeout=120)
    daemon.close()
    assert last.returncode == 0, said
    assert "8 raw, 8 restored volumes, 0 gaps" in said
    assert_same(tmp_path / "copy" / "run-1", daemon.run.path)


def wait_until(happens: Callable[[], bool], timeout_s: float = 90) -> None:
    deadline = time.monotonic() + timeout_s
    while not happens():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def record(address: str, directory: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "care_live", "record", address, str(directory)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
