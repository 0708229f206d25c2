"""Every plane that is followed beside a real Java Micro-Manager equals the plane of the finished file.

CARE_LIVE_JAVA_TIMES sets the number of time points, five planes each: 2000 make 10,000 planes.
"""

from __future__ import annotations

import os
import subprocess
import time
import zlib
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from care_live.config import FolderConfig
from care_live.images import Frame, PlaneIndex, RunEnded, SourceEvent
from care_live.recorded import open_recording
from care_live.source.follower import Follower
from tests.source.java_program import Kind, What, acquiring, java_program

N_TIMES = int(os.environ.get("CARE_LIVE_JAVA_TIMES", "24"))
N_PLANES = 5
_END_S = 180.0 + 0.5 * N_TIMES
"""A machine that does ten other things needs three times as long as one that does nothing else."""


pytestmark = [pytest.mark.java, pytest.mark.mm, pytest.mark.slow]


@pytest.mark.timeout(300 + 2 * _END_S)
@pytest.mark.parametrize(("kind", "size_px"), [("engine", 192), ("window", 512)])
def test_every_plane_equals_the_finished_file(tmp_path: Path, kind: Kind, size_px: int) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    with ExitStack() as stack, java_program(kind, tmp_path) as port:
        follower = stack.enter_context(closing(Follower(FolderConfig(directory=folder, idle_s=100), run_id="run")))
        with acquiring(
            "engine" if kind == "engine" else "ND_TIFF", port, folder, (N_TIMES, N_PLANES, size_px)
        ) as acquisition:
            came, ended = follow(follower, acquisition)
            acquisition.wait(60)
    assert ended == RunEnded("finished", n_delivered=N_TIMES * N_PLANES)
    (data_set,) = folder.iterdir()
    finished = checksums(data_set)
    assert len(set(finished.values())) == N_TIMES * N_PLANES, "the camera repeats itself"
    assert came == finished


def test_a_micro_manager_that_dies_leaves_what_it_wrote_and_nothing_else(tmp_path: Path) -> None:
    """Its file stays 4 GiB long, its index padded: neither says where the last whole image is."""
    folder = tmp_path / "data"
    folder.mkdir()
    follower = Follower(FolderConfig(directory=folder, idle_s=3), run_id="run")
    came: dict[PlaneIndex, int] = {}
    with (
        java_program("engine", tmp_path) as port,
        acquiring("engine", port, folder, (2000, N_PLANES, 192)) as acquisition,
    ):
        while len(came) < 100:
            assert acquisition.poll() in (None, 0)
            take(follower.next_event(1.0), came)
    while not isinstance(event := follower.next_event(1.0), RunEnded):  # the program has been killed
        take(event, came)
    follower.close()
    assert event == RunEnded("finished", "no new image for 3 s", n_delivered=len(came))
    assert 100 <= len(came) < 2000 * N_PLANES
    (data_set,) = folder.iterdir()
    assert checksums(data_set) == came
    assert len(set(came.values())) == len(came)


def take(event: SourceEvent | None, came: dict[PlaneIndex, int]) -> None:
    if isinstance(event, Frame):
        came[event.index] = zlib.crc32(event.pixels.tobytes())


@pytest.mark.timeout(600)
def test_the_other_formats_of_the_window_are_followed(tmp_path: Path) -> None:
    formats: tuple[What, ...] = ("MULTIPAGE_TIFF", "SINGLEPLANE_TIFF_SERIES")
    with java_program("window", tmp_path) as port:
        for what in formats:
            folder = tmp_path / what
            folder.mkdir()
            follower = Follower(FolderConfig(directory=folder), run_id="run")
            with acquiring(what, port, folder, (6, 4, 128)) as acquisition:
                came, ended = follow(follower, acquisition)
                acquisition.wait(60)
            follower.close()
            assert ended == RunEnded("finished", n_delivered=24)
            (data_set,) = folder.iterdir()
            assert came == checksums(data_set)
            assert len(set(came.values())) == 24, "the camera repeats itself"


def follow(follower: Follower, acquisition: subprocess.Popen[bytes]) -> tuple[dict[PlaneIndex, int], RunEnded]:
    """Return the checksum of every plane that came, and how the run ended."""
    came: dict[PlaneIndex, int] = {}
    deadline = time.monotonic() + _END_S
    while time.monotonic() < deadline and acquisition.poll() in (None, 0):
        event = follower.next_event(1.0)
        if isinstance(event, RunEnded):
            return came, event
        take(event, came)
    pytest.fail(f"no end within {_END_S:g} s, {len(came)} planes came; the acquisition says {acquisition.poll()}")


def checksums(data_set: Path) -> dict[PlaneIndex, int]:
    recording = open_recording(data_set)
    found = {index: zlib.crc32(recording.read_plane(index).tobytes()) for index in recording.contents.order}
    recording.close()
    return found
