"""The engine's process and its parent: it waits for the word, and does not outlive the daemon."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from care_live.config import AcquisitionConfig, Channel, MicroManagerConfig
from care_live.images import Frame, RunStarted, SourceEvent
from care_live.source.engine_process import Driven

pytestmark = [pytest.mark.mm, pytest.mark.slow]
LONG = MicroManagerConfig(
    acquisition=AcquisitionConfig(time_points=1000, z_planes=10, channels=(Channel(preset="DAPI", exposure_ms=1.0),))
)


def test_nothing_is_exposed_before_the_first_event_is_asked_for() -> None:
    source = Driven(LONG, run_id="run")
    try:
        wait_until_idle(psutil.Process(source.process_id))
        asked_ns = time.monotonic_ns()
        got: list[SourceEvent] = []
        while not got or not isinstance(got[-1], Frame):
            event = source.next_event(0.5)
            got += [] if event is None else [event]
        assert isinstance(got[0], RunStarted)
        assert got[0].tap == "", "the daemon's own acquisition is never taken for another one that goes into its run"
        assert isinstance(got[-1], Frame)
        assert got[-1].host_time_ns > asked_ns
    finally:
        source.close()


def wait_until_idle(process: psutil.Process) -> None:
    """Wait until it has loaded all that it loads."""
    used_s = [-2.0, -1.0]
    while sum(process.cpu_times()[:2]) < 1.0 or used_s[-1] > used_s[-2] + 0.02:
        time.sleep(1.0)
        used_s.append(sum(process.cpu_times()[:2]))


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_the_microscope_is_let_go_when_the_daemon_is_killed() -> None:
    script = f"""
        import time
        from care_live.config import MicroManagerConfig
        from care_live.images import Frame
        from care_live.source.engine_process import Driven
        source = Driven(MicroManagerConfig.model_validate_json({LONG.model_dump_json()!r}), run_id="run")
        while not isinstance(source.next_event(0.5), Frame):
            pass
        print(source.process_id, flush=True)
        time.sleep(60)
    """
    daemon = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
    assert daemon.stdout is not None
    engine = psutil.Process(int(daemon.stdout.readline()))
    daemon.kill()
    daemon.wait()
    daemon.stdout.close()
    assert not psutil.wait_procs([engine], timeout=90)[1], "the next daemon could not open the camera"
