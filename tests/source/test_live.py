"""Live and snaps of real cores, in the programs that use them: nothing is taken from those who show the frames."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from care_live.live_frame import LiveFrame
from care_live.source.live_link import LiveLink

WAIT_S = 60.0


@pytest.fixture
def link() -> Iterator[LiveLink]:
    opened = LiveLink("tcp://127.0.0.1:0")
    yield opened
    opened.close()


@pytest.mark.mm
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pymmcore-plus", "pycromanager"])
def test_live_and_snap_of_a_core_are_shown_and_no_frame_is_taken_away(kind: str, link: LiveLink) -> None:
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.source.live_program", kind, link.address]
    program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        snapped = snap(program, link)
        assert snapped.conditions.snapped
        assert snapped.pixels.shape == (512, 512)
        order(program, "live")
        first, second = live_frame(link), live_frame(link)
        said, _ = program.communicate("end\n", timeout=WAIT_S)
    finally:
        program.kill()
        program.wait(WAIT_S)
    assert snapped.number < first.number < second.number
    assert second.host_time_ns > first.host_time_ns
    now = second.conditions
    assert (now.exposure_ms, now.snapped, now.z_um) == (20.0, False, 0.0)
    assert now.light_s == pytest.approx(0.02 * second.number)
    counted = json.loads(said.splitlines()[-1])
    assert counted["sent"] >= 3
    assert counted["left"] > second.number - first.number  # what the camera took is still there for the others


def order(program: subprocess.Popen[str], what: str) -> None:
    assert program.stdin is not None
    program.stdin.write(f"{what}\n")
    program.stdin.flush()


def live_frame(link: LiveLink) -> LiveFrame:
    """Return the next frame that is no snap; some of those may still be under way."""
    while (frame := link.frames.take(WAIT_S)) is not None:
        if not frame.conditions.snapped:
            return frame
    pytest.fail("no live frame came")


def snap(program: subprocess.Popen[str], link: LiveLink) -> LiveFrame:
    """Snap until a snap is shown: one that comes before a frame was wanted is not."""
    for _ in range(60):
        order(program, "snap")
        if (snapped := link.frames.take(WAIT_S / 60)) is not None:
            return snapped
    pytest.fail("no snap was shown")
