"""A recording ends with the same pixels as the daemon's own run, whatever happened to the link."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from msgspec.structs import replace

from care_live.cli.watching import record_command
from care_live.config import Config, StoreConfig
from care_live.daemon.readback import Stored
from care_live.daemon.run import Daemon as LiveDaemon
from care_live.images import NetworkInUse, NotRestored, Plan, RunStarted, StateChanged, VolumeKey
from care_live.live_frame import LIVE_RUN
from care_live.publish import Publisher, Subscriber
from care_live.publish.subscriber import AWAY_S
from care_live.store import RunReader, RunWriter, open_run, verify
from care_live.viewer.recorded_run import RecordingReport
from care_live.viewer.recorder import Recorder
from tests.make import runs, samples
from tests.make.networks import save_network
from tests.make.waiting import until
from tests.publish.relay import Relay

N_TIMES = 8


class Daemon:
    """Stores and publishes volumes as a daemon does: raw first, then restored."""

    def __init__(self, directory: Path, *, address: str = "", replay_mib: int = 64) -> None:
        self.run: RunWriter = open_run(StoreConfig(directory=directory), samples.started(N_TIMES))
        stored = Stored(self.run.path)
        address = address or f"tcp://127.0.0.1:{runs.free_ports(1)[0]}"  # a second daemon can have it after this one
        self.publisher = Publisher(
            samples.config(bind_pull=address, replay_mib=replay_mib), replay_from_store=stored.newest
        )
        self.publisher.start(samples.started(N_TIMES), NetworkInUse(samples.MODEL, {"name": "worm3d", "limits": "few"}))
        self.run.describe_network(NetworkInUse(samples.MODEL, {"name": "worm3d", "limits": "few"}))

    def restore(self, *times: int) -> None:
        for t in times:
            restored = samples.restored(t)
            self.run.write_raw(restored.volume)
            self.publisher.publish(restored)
            self.run.write_restored(restored)

    def skip(self, t: int) -> None:
        note = NotRestored(VolumeKey(t), "skipped", "restoration lags")
        self.run.write_raw(samples.volume(t))
        self.run.note(note)
        self.publisher.skipped(note)

    def change(self, t: int) -> None:
        change = StateChanged(VolumeKey(t), "suspect", "a frame was lost")
        self.run.note(change)
        self.publisher.change(change)

    def end(self) -> None:
        self.run.note(samples.ENDED)
        self.publisher.end(samples.ENDED)

    def close(self) -> None:
        self.publisher.close()
        self.run.close()


class Recordings(threading.Thread):
    """A recorder at work."""

    def __init__(self, address: str, directory: Path, config: StoreConfig | None = None) -> None:
        super().__init__(name="test-recorder")
        self._address, self._config = address, config or StoreConfig(directory=directory)
        self.stopping = threading.Event()
        self.came = threading.Condition()
        self.n_messages = 0
        self.result = RecordingReport()
        self.start()

    def run(self) -> None:
        with Subscriber(self._address, mode="every") as subscriber:
            recorder = Recorder(subscriber, self._config)
            self.result = recorder.recording
            recorder.record(self.stopping, self._told)

    def _told(self, _: RecordingReport) -> None:
        with self.came:
            self.n_messages += 1
            self.came.notify_all()

    def wait_for_message(self, number: int) -> None:
        with self.came:
            assert self.came.wait_for(lambda: self.n_messages >= number, 60), self.result

    def wait_for(self, n_raw: int) -> None:
        with self.came:
            assert self.came.wait_for(lambda: self.result.n_raw >= n_raw, 60), self.result

    def wait_for_restored(self, number: int) -> None:
        with self.came:
            assert self.came.wait_for(lambda: self.result.n_restored >= number, 60), self.result


def connected(settings: Config, directory: Path) -> Recordings:
    """Start a recorder of a daemon, and wait until it has the start of the run."""
    recording = Recordings(settings.publish.bind_pull, directory)
    recording.wait_for_message(1)
    return recording


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    served = Daemon(tmp_path / "daemon")
    yield served
    served.close()


def test_live_is_not_recorded_and_the_run_after_it_is(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "daemon")
    daemon.publisher.start(RunStarted(LIVE_RUN, Plan({}, (8, 8), endless=True), {"live": True}), samples.NETWORK)
    for t in range(3):
        frame = samples.restored(t)
        daemon.publisher.publish(replace(frame, raw=replace(frame.volume, run_id=LIVE_RUN)))
    recorder = Recordings(daemon.publisher.address_pull, tmp_path / "copy")
    try:
        recorder.wait_for_message(0)
        daemon.publisher.start(samples.started(N_TIMES), samples.NETWORK)
        daemon.restore(*range(N_TIMES))
        daemon.end()
        recorder.join(100)
        assert not recorder.is_alive()
    finally:
        recorder.stopping.set()
        recorder.join(60)
        daemon.close()
    assert [path.name for path in (tmp_path / "copy").iterdir()] == [recorder.result.run_id]
    assert recorder.result.n_raw == N_TIMES


def shards_of(run: Path) -> dict[str, bytes]:
    """Return the bytes of every shard but the raw ones, which are packed as the load of the machine allows."""
    return {name: path.read_bytes() for name, path in _acknowledged(run, "c/**/*") if not name.startswith("raw/")}


def _acknowledged(run: Path, pattern: str) -> Iterator[tuple[str, Path]]:
    """Yield files by their names, but for what a kill left before its journal line: that lies in quarantine."""
    for path in run.rglob(pattern):
        if path.is_file() and path.relative_to(run).parts[0] != "quarantine":
            yield str(path.relative_to(run)), path


def metadata_of(run: Path) -> dict[str, str]:
    """Return the metadata of every group and array, but for when the writer began, and the contrast for viewers.

    The contrast is that of the first volume that was written: a recorder may get a later one first.
    """
    found = {name: path.read_text() for name, path in _acknowledged(run, "zarr.json")}
    return {name: re.sub(r'"began_us": *\d+|"window": *\{[^}]*\}', "", text) for name, text in found.items()}


def assert_same(recorded: Path, original: Path) -> None:
    assert shards_of(recorded) == shards_of(original)
    assert metadata_of(recorded) == metadata_of(original) != {}
    assert verify(recorded).problems == verify(original).problems == ()
    there, here = RunReader(original), RunReader(recorded)
    for product in ("raw", "restored"):
        assert here.keys(product) == there.keys(product)
        for key in there.keys(product):
            assert here.state(key, product) == there.state(key, product)
    for key in there.keys("raw"):
        np.testing.assert_array_equal(here.read("raw", key), there.read("raw", key))
    assert here.not_restored() == there.not_restored()
    assert here.ended is not None and there.ended is not None and here.ended.reason == there.ended.reason


@pytest.mark.slow
def test_a_recording_has_the_same_pixels_as_the_run(daemon: Daemon, tmp_path: Path) -> None:
    recording = Recordings(daemon.publisher.address_pull, tmp_path / "copy")
    daemon.restore(0, 1, 2)
    daemon.skip(3)
    daemon.restore(4)
    daemon.change(2)
    recording.wait_for(5)
    daemon.restore(5, 6, 7)
    daemon.end()
    recording.join(90)
    assert (recording.result.n_raw, recording.result.n_restored, recording.result.gaps) == (8, 7, [])
    assert_same(tmp_path / "copy" / "run-1", daemon.run.path)


@pytest.mark.slow
def test_a_skipped_volume_that_is_stored_only_later_is_no_gap(daemon: Daemon, tmp_path: Path) -> None:
    """The message that a volume is skipped may overtake the volume's way to the disk."""
    recording = Recordings(daemon.publisher.address_pull, tmp_path / "copy")
    daemon.restore(*range(N_TIMES - 1))
    recording.wait_for(N_TIMES - 1)
    n_messages = recording.n_messages
    daemon.publisher.skipped(note := NotRestored(VolumeKey(N_TIMES - 1), "skipped", "restoration lags"))
    recording.wait_for_message(n_messages + 2)  # that it is skipped, and that the store has none
    daemon.run.write_raw(samples.volume(N_TIMES - 1))
    daemon.run.note(note)
    daemon.end()
    recording.join(90)
    assert (recording.result.n_raw, recording.result.gaps) == (N_TIMES, [])
    assert_same(tmp_path / "copy" / "run-1", daemon.run.path)


@pytest.mark.slow
@pytest.mark.parametrize(("n_in", "n_out"), [(2, 1), (3, 2), (2, 2), (1, 2)], ids=str)
def test_a_network_that_mixes_channels_leaves_no_raw_one_out(tmp_path: Path, n_in: int, n_out: int) -> None:
    """A real daemon; its restored volumes carry one raw channel each, and the network reads more or fewer."""
    shape = (4, n_in, 6, 32, 40)
    pixels = np.random.default_rng(5).integers(90, 900, shape).astype(np.uint16)
    tifffile.imwrite(tmp_path / "movie.tif", pixels)
    model = save_network(tmp_path / "mixes.onnx", c_in=n_in, c_out=n_out)
    source = runs.replay(tmp_path / "movie.tif", speed=60.0) | {"axes": "TCZYX"}
    settings = runs.config(tmp_path, source, restore={"model": str(model), "policy": "latest"})
    recording: list[Recordings] = []
    runs.run(settings, meanwhile=lambda _: recording.append(connected(settings, tmp_path / "copy")))
    recording[0].join(90)
    result = recording[0].result
    assert (result.n_raw, result.n_restored, result.gaps) == (4 * n_in, 4 * n_out, [])
    original, copy = tmp_path / "runs" / "test", tmp_path / "copy" / "test"
    assert_same(copy, original)
    there, here = RunReader(original), RunReader(copy)
    for key in there.keys("restored"):
        assert here.restoration(key).sources == there.restoration(key).sources
    assert here.raw_only() == there.raw_only() == []
    for t, c in np.ndindex(4, n_in):
        assert (here.read("raw", VolumeKey(t, 0, c)) == pixels[t, c]).all()


@pytest.mark.slow
def test_the_cards_of_all_networks_are_recorded(tmp_path: Path) -> None:
    """Another network takes over in the middle of the run."""
    runs.movie(tmp_path / "movie.tif", times=8)
    other = save_network(tmp_path / "other.onnx", seed=2)
    endless = runs.replay(tmp_path / "movie.tif", speed=40.0, loops=0)
    settings = runs.config(tmp_path, endless, restore={"policy": "wait"})
    recording: list[Recordings] = []

    def drain_when_swapped(daemon: LiveDaemon) -> None:
        until(lambda: daemon.status().restored, 120)
        daemon.swap({"model": str(other)})
        until(lambda: daemon.status().swap.startswith("took over"), 120)
        n_restored = daemon.status().restored
        until(lambda: daemon.status().restored > n_restored + 1, 120)
        daemon.drain()

    def meanwhile(daemon: LiveDaemon) -> None:
        recording.append(connected(settings, tmp_path / "copy"))
        threading.Thread(target=drain_when_swapped, args=(daemon,)).start()

    runs.run(settings, meanwhile=meanwhile)
    recording[0].join(90)
    there, here = RunReader(tmp_path / "runs" / "test"), RunReader(tmp_path / "copy" / "test")
    assert {noted.name for noted in there.models} == {"tiny", "other"}
    assert {noted.sha256: noted.card for noted in here.models} == {noted.sha256: noted.card for noted in there.models}
    assert recording[0].result.gaps == []
    assert_same(tmp_path / "copy" / "test", tmp_path / "runs" / "test")


@pytest.mark.slow
def test_a_link_that_is_cut_twice_loses_nothing(daemon: Daemon, tmp_path: Path) -> None:
    with Relay(daemon.publisher.address_pull) as relay:
        recording = Recordings(relay.address, tmp_path / "copy")
        daemon.restore(0, 1)
        recording.wait_for(2)
        for first in (2, 5):
            relay.cut()
            daemon.restore(first, first + 1)
            daemon.change(first)
            relay.mend()
            daemon.restore(first + 2)
            recording.wait_for(first + 3)
        daemon.end()
        recording.join(90)
    assert recording.result.gaps == []
    assert_same(tmp_path / "copy" / "run-1", daemon.run.path)


@pytest.mark.slow
def test_a_link_that_is_gone_for_seconds_twice_loses_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Volumes go on all the while, and memory keeps only one of them: the others come from the store."""
    daemon = Daemon(tmp_path / "daemon", replay_mib=0)
    with Relay(daemon.publisher.address_pull) as relay:
        recording = Recordings(relay.address, tmp_path / "copy")
        daemon.restore(0)
        recording.wait_for(1)
        for n_away, times in enumerate(((1, 2, 3), (4, 5, 6)), 1):
            relay.cut()
            for t in times:
                daemon.restore(t)
                time.sleep(AWAY_S / len(times))
            until(lambda n=n_away: caplog.text.count("away, waiting") == n)  # type: ignore[misc]
            relay.mend()
            recording.wait_for(times[-1] + 1)
        daemon.restore(7)
        daemon.end()
        recording.join(90)
    daemon.close()
    assert recording.result.gaps == []
    assert_same(tmp_path / "copy" / "run-1", daemon.run.path)
    assert caplog.text.count("away, waiting") == 2 and caplog.text.count("daemon back") == 2


@pytest.mark.slow
def test_a_recorder_that_comes_late_gets_what_memory_has_forgotten_from_the_store(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "daemon", replay_mib=0)
    daemon.restore(*range(N_TIMES))
    daemon.end()
    recording = Recordings(daemon.publisher.address_pull, tmp_path / "copy")
    recording.join(90)
    daemon.close()
    assert (recording.result.n_raw, recording.result.gaps) == (8, [])
    assert_same(tmp_path / "copy" / "run-1", daemon.run.path)


@pytest.mark.slow
def test_a_recording_goes_on_with_a_new_daemon_and_asks_for_what_it_missed(tmp_path: Path) -> None:
    """The first daemon dies while the recorder is away; the second knows those volumes from the store alone."""
    first = Daemon(tmp_path / "daemon")
    address = first.publisher.address_pull
    recording = Recordings(address, tmp_path / "copy")
    first.restore(0, 1)
    recording.wait_for(2)
    recording.stopping.set()
    recording.join(90)
    first.restore(2, 3)
    first.close()
    second = Daemon(tmp_path / "daemon", address=address)
    recording = Recordings(address, tmp_path / "copy")
    second.restore(4)
    recording.wait_for(5)
    second.restore(5, 6, 7)
    second.end()
    recording.join(90)
    second.close()
    assert (recording.result.n_raw, recording.result.gaps) == (8, [])
    there, here = RunReader(second.run.path), RunReader(tmp_path / "copy" / "run-1")
    assert here.keys("restored") == there.keys("restored")
    for key in there.keys("restored"):
        assert (here.read("restored", key) == there.read("restored", key)).all()


def test_what_cannot_be_had_is_named_and_the_exit_code_is_1(tmp_path: Path) -> None:
    with Publisher(samples.config(replay_mib=0)) as publisher:
        publisher.start(samples.started(3), samples.NETWORK)
        for t in range(3):
            publisher.publish(samples.restored(t))
        publisher.end(samples.ENDED)
        result = CliRunner().invoke(record_command, [publisher.address_pull, str(tmp_path), "-q"])
    assert result.exit_code == 1
    assert "not-stored" in result.output and "1 raw, 1 restored volumes" in result.output
