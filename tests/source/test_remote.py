"""Tap and daemon over real sockets: slow, broken, restarted, refused, encrypted; nothing is lost in silence."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from care_live.config import RemoteConfig
from care_live.errors import ConfigError
from care_live.images import (
    Frame,
    PlaneIndex,
    RunEnded,
    RunStarted,
    SequenceEnded,
    SourceEvent,
    StillAcquiring,
)
from care_live.source import tap, tap_sender
from care_live.source.remote import Remote
from care_live.source.tap_line import TapLine
from care_live.wire import frame_memory
from care_live.wire.frame_memory import FrameMemoryReader
from care_live.wire.keys import allow, write_pair
from care_live.wire.last_wait import LastWait
from care_live.wire.sockets import new_pair
from tests.source.tapped import bring, drain, events, frames, image, over, unused_address


@pytest.fixture(autouse=True, params=["over the link", "in memory"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let frames come in both ways; those here are too small for memory, and larger ones would take longer."""
    if request.param == "in memory":
        monkeypatch.setattr(frame_memory, "SMALLEST_BYTES", 1)
    return str(request.param)


class Cable:
    """A TCP cable that can be cut and mended."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._server.getsockname()[1]}"
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._cut = False
        self._run(self._accept)

    def _run(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            if self._cut:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._to_port))
            self._ends += [near, far]
            self._run(self._carry, near, far)
            self._run(self._carry, far, near)

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            hang_up(source, sink)

    def cut(self) -> None:
        self._cut = True
        hang_up(*self._ends)
        self._ends = []

    def mend(self) -> None:
        self._cut = False

    def close(self) -> None:
        self.cut()
        hang_up(self._server)
        for thread in self._threads:
            thread.join(60)


def hang_up(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


@pytest.mark.slow
def test_a_cable_that_is_cut_for_a_while_loses_nothing(remote: Remote) -> None:
    planned = events(n_t=30, n_z=5)
    cable = Cable(int(remote.address.rpartition(":")[2]))
    tapped = tap(cable.address, events=planned)
    got: list[SourceEvent] = []
    reader = threading.Thread(target=lambda: got.extend(drain(remote, within_s=90)))
    reader.start()
    bringer = threading.Thread(target=bring, args=(tapped, planned), kwargs={"pause_s": 0.02})
    bringer.start()
    for _ in range(3):
        time.sleep(0.5)
        cable.cut()
        time.sleep(0.3)
        cable.mend()
    bringer.join()
    reader.join()
    assert [frame.index for frame in frames(got)] == [PlaneIndex(t=i // 5, z=i % 5) for i in range(150)]
    assert all((frame.pixels == i).all() for i, frame in enumerate(frames(got)))
    assert got[-1] == RunEnded("finished", n_delivered=150)
    assert over(tapped)
    cable.close()


def test_frames_come_in_memory_once_the_daemon_has_answered(
    remote: Remote, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, from_memory = FrameMemoryReader.read, []
    monkeypatch.setattr(
        FrameMemoryReader, "read", lambda self, head, slot: from_memory.append(slot) or read(self, head, slot)
    )
    planned = events(n_t=20, n_z=5)
    tapped = tap(remote.address, events=planned)
    bringer = threading.Thread(target=bring, args=(tapped, planned), kwargs={"pause_s": 0.01})
    bringer.start()
    got = frames(drain(remote))
    bringer.join()
    assert [int(frame.pixels[0, 0]) for frame in got] == list(range(100))
    assert bool(from_memory) == (way == "in memory")
    assert over(tapped)


def test_a_daemon_that_is_started_anew_goes_on_where_the_old_one_was() -> None:
    planned = events(n_t=20, n_z=5)
    address = unused_address()
    first = Remote(RemoteConfig(bind=address), run_id="run")
    tapped = tap(address, events=planned)
    bringer = threading.Thread(target=bring, args=(tapped, planned), kwargs={"pause_s": 0.01})
    bringer.start()
    before = [first.next_event(60.0) for _ in range(31)]  # the start and 30 frames
    first.close()  # as when it is killed
    second = Remote(RemoteConfig(bind=address), run_id="run")
    after = drain(second)
    bringer.join()
    assert isinstance(after[0], RunStarted)
    assert isinstance(before[0], RunStarted)
    assert after[0].plan == before[0].plan
    assert after[0].tap == before[0].tap != "", "by which the store knows that it is the same acquisition"
    numbers = [int(frame.pixels[0, 0]) for frame in frames([e for e in before if e]) + frames(after)]
    assert numbers == list(range(100)), "every frame once: what the first one had, and then the rest"
    assert over(tapped)
    second.close()


@pytest.mark.slow
def test_stop_reaches_the_tap(remote: Remote) -> None:
    planned = events(n_t=1000)
    tapped = tap(remote.address, events=planned)
    bringer = threading.Thread(target=bring, args=(tapped, planned[:200]), kwargs={"pause_s": 0.01})
    bringer.start()
    assert isinstance(remote.next_event(60.0), RunStarted)
    remote.stop()
    ended = drain(remote)[-1]
    assert isinstance(ended, RunEnded)
    assert (ended.reason, ended.detail) == ("aborted", "the daemon ordered the end")
    bringer.join()
    assert over(tapped)


def test_a_second_tap_is_refused_and_the_first_goes_on(remote: Remote) -> None:
    planned = events(2, 5)
    tapped = tap(remote.address, events=planned)
    tapped(image(0), {"Axes": planned[0]["axes"]})
    assert isinstance(remote.next_event(60.0), RunStarted)
    second = tap(remote.address, events=planned)
    bring(second, planned)
    until = time.monotonic() + 60
    while not second.feed.is_over() and time.monotonic() < until:
        remote.next_event(0.05)
    assert second.feed.is_over()
    bring(tapped, planned[1:], first=1)
    assert isinstance(drain(remote)[-1], RunEnded)
    assert over(tapped)


@pytest.mark.slow
def test_a_tap_that_vanishes_ends_the_run() -> None:
    remote = Remote(RemoteConfig(bind="tcp://127.0.0.1:0"), run_id="run", silent_s=1.5)
    cable = Cable(int(remote.address.rpartition(":")[2]))
    tapped = tap(cable.address, events=events())
    tapped(image(0), {"Axes": {"time": 0, "z": 0}})
    assert isinstance(remote.next_event(60.0), RunStarted)
    cable.cut()
    ended = drain(remote)[-1]
    assert isinstance(ended, RunEnded)
    assert (ended.reason, "nothing was received" in ended.detail) == ("failed", True)
    tapped.close(within_s=0.1)
    remote.close()
    cable.close()


def test_a_daemon_that_was_stopped_for_a_minute_does_not_take_that_for_silence() -> None:
    """As by Ctrl-Z, or in a virtual machine that was paused: what the tap sent meanwhile is read afterwards."""
    stood_still_ns = 0
    remote = Remote(
        RemoteConfig(bind="tcp://127.0.0.1:0"), run_id="run", clock_ns=lambda: time.monotonic_ns() + stood_still_ns
    )
    cable = Cable(int(remote.address.rpartition(":")[2]))
    planned = events(n_t=1)
    tapped = tap(cable.address, events=planned)
    tapped(image(0), {"Axes": {"time": 0, "z": 0}})
    assert isinstance(remote.next_event(60.0), RunStarted)
    cable.cut()  # nothing comes in the first moment after it goes on
    while remote.next_event(0.1) is not None:
        pass
    stood_still_ns = 60_000_000_000
    assert not isinstance(remote.next_event(0.0), RunEnded)
    cable.mend()
    bring(tapped, planned[1:], first=1)
    assert drain(remote)[-1] == RunEnded("finished", n_delivered=5)
    assert over(tapped)
    remote.close()
    cable.close()


def test_a_slow_link_takes_its_time_at_the_end_of_a_run(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up a minute after the last frame that it took, not a minute after the run."""
    now_s, progressed = 0.0, threading.Event()

    class Watched(LastWait):
        def note_progress(self) -> None:
            super().note_progress()
            progressed.set()

    monkeypatch.setattr(tap_sender, "LastWait", lambda: Watched(lambda: now_s))
    tapped = tap(remote.address, events=events())
    bring(tapped, events())
    tapped.feed.end("finished")
    got: list[SourceEvent] = []
    for event in iter(lambda: remote.next_event(20.0), None):
        got.append(event)
        if progressed.wait(1.0):
            progressed.clear()
            now_s += 50.0
        if isinstance(event, RunEnded):
            break
    assert len(frames(got)) == 20
    assert now_s > 60.0, "else this shows nothing"
    assert tapped.close()


def test_open_volumes_wait_while_the_link_to_the_tap_is_cut(remote: Remote) -> None:
    cable = Cable(int(remote.address.rpartition(":")[2]))
    tapped = tap(cable.address, events=events())
    tapped(image(0), {"Axes": {"time": 0, "z": 0}})
    assert isinstance(remote.next_event(60.0), RunStarted)
    assert isinstance(remote.next_event(60.0), Frame)
    cable.cut()
    assert remote.next_event(20.0) == StillAcquiring()
    cable.mend()
    tapped.feed.end("finished")
    assert isinstance(drain(remote)[-1], RunEnded)
    assert over(tapped)
    cable.close()


def test_one_run_after_the_other_when_it_begins_anew(remote: Remote) -> None:
    for name in ("run", "second", "third"):
        planned = events(n_t=1)
        bring(tap(remote.address, events=planned), planned)
        *_, last, ended = drain(remote)
        assert isinstance(last, Frame) and (last.run_id, last.index) == (name, PlaneIndex(z=4))
        assert isinstance(ended, RunEnded)
        remote.begin_anew("second" if name == "run" else "third")


def test_acquisitions_during_a_run_wait_for_their_turn_in_order() -> None:
    """Three that follow each other while the daemon is still at the first: each becomes a run, whole."""
    paused_s = 0.0
    line = TapLine(lambda: time.monotonic() + paused_s)
    remote = Remote(RemoteConfig(bind="tcp://127.0.0.1:0"), run_id="first", line=line)
    planned = events(n_t=1)
    taps = [tap(remote.address, events=planned)]
    taps[0](image(0), {"Axes": planned[0]["axes"]})
    got = [remote.next_event(60.0)]
    assert isinstance(got[0], RunStarted)
    idle = tap(remote.address, events=planned)  # its acquisition has not begun, and keeps none waiting
    for number, name in enumerate(("second", "third"), start=1):
        taps.append(tap(remote.address, events=planned))
        bring(taps[-1], planned, first=100 * number)
        until = time.monotonic() + 60
        while len(line) < number:
            got.append(remote.next_event(0.05))
            assert time.monotonic() < until, f"the {name} tap does not wait"
    taps[0].feed.end("finished")
    drain(remote)
    for number, name in enumerate(("second", "third"), start=1):
        paused_s += 600  # what the run before has left is restored, and nothing is received
        remote.begin_anew(name)
        come = frames(drain(remote))
        assert [int(one.pixels[0, 0]) for one in come] == [100 * number + z for z in range(5)]
        assert {one.run_id for one in come} == {name}
    assert all(over(one) for one in taps)
    assert len(line) == 0
    idle.close(within_s=0.1)
    remote.close()


def test_hardware_sequences_travel(remote: Remote) -> None:
    planned = events(1, 5)
    tapped = tap(remote.address, events=planned)
    assert tapped.hardware(planned) == planned
    bring(tapped, planned)
    got = drain(remote)
    assert {frame.sequence_id for frame in frames(got)} == {0}
    assert got[-2] == SequenceEnded(0, 5, 5)
    assert over(tapped)


def test_garbage_on_the_port_changes_nothing(remote: Remote) -> None:
    port = int(remote.address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as stranger:
        stranger.sendall(np.random.default_rng(0).bytes(4096))
        planned = events(2, 5)
        tapped = tap(remote.address, events=planned)
        bring(tapped, planned)
        assert len(frames(drain(remote))) == 10
        assert over(tapped)


# -- keys ---------------------------------------------------------------------------------------------------------


def keys(folder: Path, role: str) -> tuple[RemoteConfig, Path, str]:
    server, guest = new_pair(), new_pair()
    write_pair(folder / "server.key", server)
    write_pair(folder / "guest.key", guest)
    allow(folder / "allowed", guest.public, "scope", role)  # type: ignore[arg-type]
    config = RemoteConfig(
        bind="tcp://127.0.0.1:0", server_key_file=folder / "server.key", authorized_keys_file=folder / "allowed"
    )
    return config, folder / "guest.key", server.public


@pytest.mark.slow
def test_with_keys_an_operator_sends_and_others_do_not(tmp_path: Path) -> None:
    config, guest_key, daemon_key = keys(tmp_path, "operator")
    remote = Remote(config, run_id="run")
    stranger_key = tmp_path / "stranger.key"
    write_pair(stranger_key, new_pair())
    planned = events(2, 5)
    stranger = tap(remote.address, events=planned, key_file=stranger_key, daemon_key=daemon_key)
    plain = tap(remote.address, events=planned)
    for one in (stranger, plain):
        bring(one, planned)
    assert all(remote.next_event(0.2) is None for _ in range(5))
    assert not remote.has_begun
    tapped = tap(remote.address, events=planned, key_file=guest_key, daemon_key=daemon_key)
    bring(tapped, planned)
    assert len(frames(drain(remote))) == 10
    for one in (stranger, plain):
        one.close(within_s=0.1)
    assert over(tapped)
    remote.close()


def test_a_viewer_may_not_send_frames(tmp_path: Path) -> None:
    config, guest_key, daemon_key = keys(tmp_path, "viewer")
    remote = Remote(config, run_id="run")
    planned = events(1, 2)
    tapped = tap(remote.address, events=planned, key_file=guest_key, daemon_key=daemon_key)
    bring(tapped, planned)
    until = time.monotonic() + 60
    while not tapped.feed.is_over() and time.monotonic() < until:
        assert remote.next_event(0.05) is None
    assert tapped.feed.is_over()
    remote.close()


def test_an_open_address_needs_keys() -> None:
    with pytest.raises(ConfigError, match="server_key_file"):
        Remote(RemoteConfig(bind="tcp://0.0.0.0:0"), run_id="run")
    with pytest.raises(ConfigError, match="both"):
        Remote(RemoteConfig(server_key_file=Path("x")), run_id="run")


def test_a_taken_port_is_said(remote: Remote) -> None:
    with pytest.raises(ConfigError, match="taken"):
        Remote(RemoteConfig(bind=remote.address), run_id="run")
