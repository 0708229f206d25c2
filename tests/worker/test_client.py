"""Inference in a child process: the same numbers, and no death or hang of it hurts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from care_live.config import NormaliseConfig
from care_live.errors import RestoreError
from care_live.percentiles import Span, measure
from care_live.restore.engine import Engine
from care_live.restore.ranges import LearntRange
from care_live.worker import protocol
from care_live.worker.client import RestoreProcess
from tests.make.inference import planes_of, settings
from tests.make.networks import noisy, save_network, volume


def test_it_has_eight_methods() -> None:
    """Supervision and hot swap are parts of their own: what only asks one of them belongs there."""
    methods = [name for name, one in vars(RestoreProcess).items() if callable(one) and not name.startswith("_")]
    assert len(methods) <= 8, methods


def kill(process: RestoreProcess) -> None:
    assert process.supervisor.process_id is not None
    child = psutil.Process(process.supervisor.process_id)
    child.kill()
    child.wait()


def test_it_says_what_the_engine_says(network: Path, process: RestoreProcess) -> None:
    engine = Engine(network, settings(network))
    assert process.supervisor.n_restarts == 0
    assert process.network == protocol.NetworkReady(engine.card, engine.identity, "cpu")
    kept = []
    for t in range(6):
        stack = volume(noisy((6, 20, 22), seed=t), t=t)
        (ours,), (wanted,) = process.restore([stack]), engine.restore([stack])
        kept.append((ours, wanted))
        assert (ours.low, ours.high, ours.flags, ours.key) == (wanted.low, wanted.high, wanted.flags, wanted.key)
        assert ours.volume is stack
        assert not ours.mean.flags.writeable
    for ours, wanted in kept:  # results stay while later volumes come
        assert (ours.mean == wanted.mean).all()
        assert "laplace_scale" in ours.maps
        assert (ours.maps["laplace_scale"] == wanted.maps["laplace_scale"]).all()


@pytest.mark.slow
def test_a_child_that_died_while_idle_costs_nothing(process: RestoreProcess) -> None:
    kill(process)
    assert len(process.restore([volume(noisy((6, 20, 22)))])) == 1


@pytest.mark.slow
def test_the_locked_range_survives_a_restart(process: RestoreProcess) -> None:
    stacks = [volume(noisy((6, 20, 22), seed=t, offset=100 + 20 * t), t=t, c=1) for t in range(5)]
    locked = [process.restore([stack])[0] for stack in stacks[:4]][-1]
    kill(process)
    after = process.restore([stacks[4]])[0]
    assert (after.low, after.high) == (locked.low, locked.high)


def test_an_interrupted_run_goes_on_with_its_range(process: RestoreProcess) -> None:
    process.learn({(0, 7): LearntRange(Span(90.0, 500.0), 3)})
    (restored,) = process.restore([volume(noisy((6, 20, 22)), c=7)])
    assert (restored.low, restored.high) == (90.0, 500.0)


def test_warm_up_teaches_nothing_and_changes_nothing(process: RestoreProcess) -> None:
    stack = volume(noisy((10, 26, 30)), c=8)
    process.supervisor.warm_up((10, 26, 30))
    (restored,) = process.restore([stack])
    span = measure(stack.pixels, 2, 99.8)
    assert (restored.low, restored.high) == (span.low, span.high)


def test_an_error_of_the_engine_is_raised_here_and_the_child_stays(process: RestoreProcess) -> None:
    before = process.supervisor.process_id
    with pytest.raises(RestoreError, match="takes 1 channels"):
        process.restore([volume(noisy((6, 20, 22)), c=c) for c in (0, 1)])
    assert len(process.restore([volume(noisy((6, 20, 22)))])) == 1
    assert process.supervisor.process_id == before


@pytest.mark.skipif(sys.platform == "win32", reason="console events go to the whole group there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_what_the_whole_group_is_sent_does_not_end_it(process: RestoreProcess, number: signal.Signals) -> None:
    assert process.supervisor.process_id is not None
    before = process.supervisor.process_id
    os.kill(before, number)
    assert len(process.restore([volume(noisy((6, 20, 22)))])) == 1
    assert process.supervisor.process_id == before


@pytest.mark.slow
def test_stop_from_another_thread_ends_a_volume_at_work(network: Path) -> None:
    process = RestoreProcess(settings(network))
    process.start()
    stopper = threading.Timer(0.3, process.stop, (0.1,))
    stopper.start()
    with pytest.raises(RestoreError, match="stopped"):
        process.restore([volume(noisy((24, 600, 600)))])
    stopper.join()
    assert process.supervisor.process_id is None
    assert process.supervisor.n_restarts == 0


def test_before_start_it_says_so(network: Path) -> None:
    with pytest.raises(RestoreError, match=r"call start\(\)"):
        RestoreProcess(settings(network)).restore([volume(noisy((6, 20, 22)))])


@pytest.mark.slow
@pytest.mark.parametrize("gap", [None, 3], ids=["complete", "missing-plane"])
def test_planes_sent_while_they_come_change_no_number(network: Path, gap: int | None) -> None:
    fixed = NormaliseConfig(mode="fixed", low_counts=100, high_counts=300)
    config = settings(network).model_copy(update={"normalise": fixed, "streaming": "on"})
    engine = Engine(network, config)
    process = RestoreProcess(config)
    process.start()
    try:
        for t in range(4):
            pixels = noisy((9, 22, 30), seed=t)
            if t == 2 and gap is not None:
                pixels[gap] = 0
            stack = volume(pixels, t=t, missing=[gap] if t == 2 and gap is not None else [])
            opened, planes = planes_of(stack)
            process.arrivals.begin(opened)
            for placed in planes:
                if placed.index.z in stack.integrity.received:
                    process.arrivals.place(placed)
            (ours,), (wanted,) = process.restore([stack]), engine.restore([stack])
            assert np.allclose(ours.mean, wanted.mean, rtol=0, atol=1e-4)
            assert ours.flags == wanted.flags
            assert (process.choice.kind == "stream") == (not stack.integrity.missing), str(process.choice)
    finally:
        process.stop()


@pytest.mark.slow
def test_restored_planes_are_shown_while_the_stack_is_recorded(network: Path) -> None:
    fixed = NormaliseConfig(mode="fixed", low_counts=100, high_counts=300)
    process = RestoreProcess(settings(network).model_copy(update={"normalise": fixed, "streaming": "on"}))
    process.start()
    try:
        stack = volume(noisy((60, 22, 30)))
        opened, planes = planes_of(stack)
        process.arrivals.begin(opened)
        shown = []
        for placed in planes[:-1]:
            process.arrivals.place(placed)
        deadline = time.monotonic() + 60
        while not shown and time.monotonic() < deadline:
            shown = process.arrivals.restored_planes()
            time.sleep(0.05)
        process.arrivals.place(planes[-1])
        (restored,) = process.restore([stack])
        assert shown[0].z.start == 0
        assert 0 < len(shown[0].maps["mean"]) < shown[0].n_planes == 60
        assert (shown[0].maps["mean"] == restored.mean[: len(shown[0].maps["mean"])]).all()
        assert "laplace_scale" in shown[0].maps
    finally:
        process.stop()


@pytest.mark.slow
def test_hundreds_of_volumes_leave_memory_and_handles_as_they_were(process: RestoreProcess) -> None:
    stack = volume(noisy((6, 64, 64)))
    for _ in range(50):
        process.restore([stack])
    assert process.supervisor.process_id is not None
    both = [psutil.Process(), psutil.Process(process.supervisor.process_id)]
    before = [(one.memory_info().rss, one.num_fds() if hasattr(one, "num_fds") else 0) for one in both]
    for _ in range(400):
        process.restore([stack])
    for one, (rss, handles) in zip(both, before, strict=True):
        assert one.memory_info().rss - rss < 8e6
        assert (one.num_fds() if hasattr(one, "num_fds") else 0) <= handles + 2


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_the_death_of_the_parent_ends_the_child(network: Path) -> None:
    script = textwrap.dedent(f"""
        import time
        from pathlib import Path
        from care_live.config import NormaliseConfig, RestoreConfig
        from care_live.worker.client import RestoreProcess
        if __name__ == "__main__":
            process = RestoreProcess(RestoreConfig(model=Path({str(network)!r}), provider="cpu", threads=1))
            process.start()
            print(process.supervisor.process_id, flush=True)
            time.sleep(60)
    """)
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert not psutil.wait_procs([child], timeout=60)[1]


@pytest.mark.slow
def test_several_channels_and_heads(tmp_path: Path) -> None:
    process = RestoreProcess(settings(save_network(tmp_path / "net.onnx", c_in=2, members=2, filters=2)))
    process.start()
    try:
        restored = process.restore([volume(noisy((6, 20, 22), c), c=c) for c in (0, 1)])
        assert [result.key.c for result in restored] == [0, 1]
        assert all(np.isfinite(result.maps["disagreement"]).all() for result in restored)
    finally:
        process.stop()
