"""Inference takes no more memory than it may, and is the first to go."""

from __future__ import annotations

import multiprocessing
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from care_live.config import RestoreConfig
from care_live.worker import limits
from care_live.worker.client import RestoreProcess
from tests.make.networks import save_network

GIB = 2**30


@pytest.mark.parametrize(
    ("taken", "available", "starves"),
    [(8, 0.1, True), (8, 1, False), (2, 0.1, False)],
    ids=["it has taken all", "there is enough left", "others have taken it"],
)
def test_a_process_that_leaves_others_no_memory_is_recognised(taken: float, available: float, starves: bool) -> None:
    assert limits.starves(int(taken * GIB), int(available * GIB), 16 * GIB) == starves


@pytest.mark.parametrize(
    ("code", "entered", "said"),
    [
        (1, False, r"exit code 1: before its libraries were loaded.*memory runs out; \d+ MiB are available"),
        (-9, True, r"exit code -9: ended by force.*memory runs out"),
        (-11, True, r"exit code -11: a library crashed"),
        (1, True, r"exit code 1: an error that it could not report, as when memory runs out"),
        (3, True, r"^exit code 3$"),
    ],
)
def test_a_silent_death_is_put_into_words(code: int, entered: bool, said: str) -> None:
    assert re.search(said, limits.cause(code, entered=entered))


def most_mib(share: float) -> tuple[int, int]:
    """Confine this process; return the MiB that were available, and those that it then got."""
    available = psutil.virtual_memory().available // 2**20
    limits.confine(share)
    held = []
    try:
        while len(held) < available // 64:
            held.append(np.empty(64 * 2**20, np.uint8))  # reserved, not touched
    except MemoryError:
        pass
    return available, 64 * len(held)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a process to so much memory")
def test_a_confined_process_gets_an_error_and_not_the_whole_machine() -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        available, got = pool.submit(most_mib, 0.25).result(timeout=300)
    assert 0.1 * available < got < 0.4 * available


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_system_ends_inference_before_the_daemon(tmp_path: Path) -> None:
    process = RestoreProcess(RestoreConfig(model=save_network(tmp_path / "net.onnx"), provider="cpu", threads=1))
    process.start()
    try:
        proc = Path("/proc")
        child, daemon = (
            (proc / str(one) / "oom_score_adj").read_text(encoding="ascii")
            for one in (process.supervisor.process_id, "self")
        )
        assert int(child) > int(daemon)
        limits = (proc / str(process.supervisor.process_id) / "limits").read_text(encoding="ascii")
        assert "Max data size             unlimited" not in limits
    finally:
        process.stop()
