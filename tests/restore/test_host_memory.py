"""Too little memory in the host, truly: tiles shrink, that is said, and the result stays what it is with enough."""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import pytest

from care_live.config import NormaliseConfig, RestoreConfig
from care_live.errors import OutOfMemoryError
from care_live.images import Flag
from care_live.restore.engine import Engine
from care_live.worker.client import RestoreProcess
from tests.make.networks import noisy, save_network, volume
from tests.make.streams import begun

pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,  # how much address space the threads take depends on what else runs
    pytest.mark.timeout(900),  # it starts five processes, one after the other
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a process to so much address space"),
]
SHAPE = (12, 260, 280)
FIXED = NormaliseConfig(mode="fixed", low_counts=100, high_counts=300)


class Told(NamedTuple):
    """What became of one volume, and of the next one in the same process when there was memory again."""

    mean: np.ndarray | None
    """None: it was refused for lack of memory."""
    flags: frozenset[Flag]
    why: str
    """Why it was not streamed to the end; empty if it was."""
    next_mean: np.ndarray


def restored(path: Path, streaming: str, room_bytes: int) -> Told:
    """Restore in this process, which may take that many bytes more once its network is open."""
    import resource

    engine = Engine(path, RestoreConfig(provider="cpu", threads=1, normalise=FIXED, streaming=streaming))  # type: ignore[arg-type]
    engine.restore([volume(noisy((12, 16, 16)))])
    stack, maps = volume(noisy(SHAPE)), engine.empty(SHAPE)
    taken_bytes = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (taken_bytes + room_bytes, resource.RLIM_INFINITY))
    stream = begun(engine, stack.pixels, maps, plane_s=1.0)[0] if streaming == "on" else None
    mean, flags = None, frozenset()
    with contextlib.suppress(OutOfMemoryError):
        (result,) = engine.restore([stack], maps, stream=stream)
        mean, flags = result.mean, result.flags
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))  # for the way home
    why = "not begun" if stream is None else "" if stream.choice.kind == "stream" else str(stream.choice)
    (following,) = engine.restore([stack])
    return Told(mean, flags, why, following.mean)


def apart(path: Path, streaming: str, room_bytes: int) -> Told:
    """Do it in a process of its own, which the limit ends with."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(restored, path, streaming, room_bytes).result(timeout=240)


@pytest.mark.parametrize("streaming", ["off", "on"])
@pytest.mark.parametrize("members", [1, 5], ids=["one", "five"])
def test_too_little_memory_shrinks_the_tiles_and_changes_nothing(
    tmp_path: Path, members: int, streaming: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # as inference has it: its threads end a process without memory
    path = save_network(tmp_path / "net.onnx", filters=8 if members == 1 else 4, members=members)
    wanted = restored(path, "off", 2**36)
    assert wanted.mean is not None
    assert "degraded" not in wanted.flags
    shrunk = []
    for room_mib in (160, 80, 40, 20, 10):  # how much is too little depends on the processor's kernels
        measured = apart(path, streaming, room_mib * 2**20)
        for mean in (measured.mean, measured.next_mean):
            assert mean is None or np.abs(mean - wanted.mean).max() <= 1e-5 * np.ptp(wanted.mean)
        if "degraded" in measured.flags:
            assert measured.why
            shrunk.append(room_mib)
    assert shrunk


def started(path: Path, most_bytes: int) -> None:
    """Start inference where it, as this process, may take so much address space."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, resource.RLIM_INFINITY))
    process = RestoreProcess(RestoreConfig(model=path, provider="cpu", threads=1))
    try:
        process.start()
    finally:
        process.stop()


def test_too_little_memory_to_start_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # its threads take address space, many where there are many cores
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(1000 * 2**20)  # takes no room on the disk, but in memory
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
        pytest.raises(OutOfMemoryError, match=r"memory ran out.*\d+ MiB available.*restore.tile_px.*restore.threads"),
    ):
        pool.submit(started, path, 900 * 2**20).result(timeout=240)
