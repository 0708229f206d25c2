"""An inference process that dies or hangs is replaced, whatever it was at; a slow one is left in peace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

from care_live.errors import RestoreError
from care_live.percentiles import Span
from care_live.restore.ranges import LearntRange
from care_live.worker import protocol
from care_live.worker.client import RestoreProcess
from care_live.worker.inference_process import Inference
from tests.make.inference import planes_of, settings
from tests.make.networks import noisy, volume

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
needs_sigstop = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot stop a process in its tracks")
DEATH = r"died \(exit code -9: ended by force.*memory runs out.*raw is safe"


@contextmanager
def dies_when_asked(process: RestoreProcess) -> Iterator[None]:
    """Let the child take no more messages, and kill it once the next volume was sent to it."""
    assert process.supervisor.process_id is not None
    child, send = psutil.Process(process.supervisor.process_id), Inference.send

    def sent_in_vain(inference: Inference, message: protocol.InferenceRequest) -> None:
        send(inference, message)
        if isinstance(message, protocol.Work) and inference.process_id == child.pid:
            child.kill()

    child.suspend()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Inference, "send", sent_in_vain)
        yield


@needs_sigstop
def test_a_killed_child_costs_one_volume_and_comes_back(process: RestoreProcess) -> None:
    stack = volume(noisy((6, 20, 22)))
    (before,) = process.restore([stack])
    assert process.supervisor.process_id is not None
    restarts = process.supervisor.n_restarts
    with dies_when_asked(process), pytest.raises(RestoreError, match=DEATH):
        process.restore([stack])
    (after,) = process.restore([stack])
    assert (after.mean == before.mean).all()
    assert process.supervisor.n_restarts == restarts + 1


def test_a_child_that_dies_again_and_again_gets_smaller_tiles(network: Path) -> None:
    process = RestoreProcess(settings(network))
    process.start()
    try:
        stack = volume(noisy((8, 300, 300)))
        (before,) = process.restore([stack])
        for _ in range(2):
            process.revive()
            with dies_when_asked(process), pytest.raises(RestoreError, match="died"):
                process.restore([stack])
        (after,) = process.restore([stack])
        assert "degraded" in after.flags
        assert (after.mean == before.mean).all()
    finally:
        process.stop()


@needs_sigstop
def test_a_hung_child_is_replaced(process: RestoreProcess) -> None:
    assert process.supervisor.process_id is not None
    os.kill(process.supervisor.process_id, signal.SIGSTOP)
    with pytest.raises(RestoreError, match="hung"):
        process.restore([volume(noisy((6, 20, 22)))])
    assert len(process.restore([volume(noisy((6, 20, 22)))])) == 1


@needs_sigstop
def test_a_child_that_hangs_while_planes_come_is_replaced(process: RestoreProcess) -> None:
    process.learn({(0, 3): LearntRange(Span(90.0, 500.0), 3)})
    stack = volume(noisy((12, 20, 22)), c=3)
    (wanted,) = process.restore([stack])
    assert process.supervisor.process_id is not None
    os.kill(process.supervisor.process_id, signal.SIGSTOP)
    opened, planes = planes_of(stack)
    process.arrivals.begin(opened)
    for placed in planes:
        process.arrivals.place(placed)
    restarts = process.supervisor.n_restarts
    while process.supervisor.n_restarts == restarts:  # the last plane has not come yet: no call asks for the volume
        process.watch()
        time.sleep(0.1)
    (restored,) = process.restore([stack])
    assert np.allclose(restored.mean, wanted.mean, rtol=0, atol=1e-3)


def test_a_child_that_is_replaced_while_no_volume_waits_gets_ready_by_itself(process: RestoreProcess) -> None:
    """Streams go to workers that are ready: one that is not asked would never get a volume again."""
    assert process.supervisor.is_ready and process.supervisor.process_id is not None
    os.kill(process.supervisor.process_id, getattr(signal, "SIGKILL", signal.SIGTERM))
    restarts, until_s = process.supervisor.n_restarts, time.monotonic() + 120
    while not (process.supervisor.is_ready and process.supervisor.n_restarts > restarts):
        assert time.monotonic() < until_s, "it stays 'starting'"
        process.watch()
        time.sleep(0.05)


def test_a_large_volume_on_a_busy_machine_is_no_hang() -> None:
    hang_s = 3.0
    process = RestoreProcess(settings(None, hang_s=hang_s))
    process.start()
    spin = [sys.executable, "-c", "while True: pass"]
    crowd = [subprocess.Popen(spin) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        (restored,) = process.restore([volume(noisy((32, 384, 384)))])
        assert restored.infer_s > hang_s, "the volume was too small to look hung"
        assert process.supervisor.n_restarts == 0
    finally:
        for one in crowd:
            one.kill()
            one.wait()
        process.stop()
