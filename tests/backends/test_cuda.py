"""The CUDA runtime's part, on a device that is the host's own memory: what is copied, locked, and given back."""

from __future__ import annotations

import ctypes
import gc
import logging
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from care_live.backends import cuda
from care_live.backends.device import DeviceSession, HostResults, run_each
from care_live.backends.session import OnnxSession, Options
from care_live.planewise.caches import Landing
from care_live.worker.shared_memory import Pool, SegmentView
from tests.make.networks import noisy, save_network

ONE = Options(threads=1)


class HostRuntime:
    """The CUDA runtime's functions on a device that is the host's own memory."""

    def __init__(self, fault: str = "") -> None:
        self.locked: dict[int, int] = {}
        self.n_copies = self.n_forgotten = 0

        def memcpy(target: int, source: int, n_bytes: int, kind: int) -> int:
            self.n_copies += 1
            ctypes.memmove(target, source, n_bytes if fault != "short" else n_bytes - 1)
            return 700 if fault == "address" else 0

        def register(address: int, n_bytes: int, flags: int) -> int:
            assert address % 4096 == flags == 0
            self.locked[address] = n_bytes
            return 801 if fault == "lock" else 0

        def unregister(address: int) -> int:
            del self.locked[address]
            return 0

        def forget() -> int:
            self.n_forgotten += 1
            return 0

        self.cudaMemcpy, self.cudaHostRegister, self.cudaHostUnregister = memcpy, register, unregister
        self.cudaStreamSynchronize, self.cudaGetLastError = (lambda stream: 0), forget
        self.cudaGetErrorString = lambda status: b"said the driver"


def ways(runtime: HostRuntime, most_locked_bytes: int = 2**30) -> cuda.RuntimeCopies:
    return cuda.RuntimeCopies(runtime, most_locked_bytes)  # type: ignore[arg-type]


def test_the_runtime_copies_to_values_of_onnxruntime_and_back(tmp_path: Path) -> None:
    content = save_network(tmp_path / "net.onnx").read_bytes()
    shapes = {"raw": (1, 1, 8, 16, 16), "low": (1,), "high": (1,)}
    fed = [
        {"raw": noisy((8, 16, 16), seed)[None, None], "low": np.float32([100]), "high": np.float32([300])}
        for seed in range(5)
    ]
    plain, runtime = OnnxSession(content, shapes, ONE), HostRuntime()
    session = DeviceSession(content, shapes, ONE, way=ways(runtime))
    session.places(2)
    runtime.n_copies = 0
    same: list[bool] = []

    def take(i: int, results: HostResults) -> None:
        same.extend((got == want).all() for got, want in zip(results, plain.run(fed[i]), strict=True))

    run_each(session, len(fed), fed.__getitem__, take)
    assert len(same) == 2 * len(fed)
    assert all(same)
    assert runtime.n_copies == 5 * len(fed)  # three inputs, two outputs
    assert len(runtime.locked) == 2 * 2  # inputs go as they are; each place keeps what comes back
    del session
    gc.collect()
    assert not runtime.locked


@pytest.mark.parametrize("on_device", [True, False])
def test_restored_planes_come_down_by_the_same_way(on_device: bool) -> None:
    runtime = HostRuntime()
    landing = Landing(ONE, way=ways(runtime) if on_device else None)
    planes = [np.random.default_rng(seed).random((1, 2, 4, 5), np.float32) for seed in range(2)]
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(plane, "cpu", 0) for plane in planes]
    for value, plane in zip(values, planes, strict=True):
        assert (landing.fetch(value) == plane).all()
    assert (runtime.n_copies, len(runtime.locked)) == ((2, 1) if on_device else (0, 0))


def test_locked_memory_is_given_back_when_the_last_look_at_it_is_gone() -> None:
    runtime = HostRuntime()
    array = cuda.locked((3, 5), np.uint16, ways(runtime))
    assert array.shape == (3, 5)
    assert not array.any()
    view = array[1:, ::2]
    del array
    assert list(runtime.locked.values()) == [30]
    del view
    assert not runtime.locked


def test_a_window_locks_each_segment_once_and_gives_it_back() -> None:
    runtime, pool = HostRuntime(), Pool()
    lease = pool.take(8192)
    places = [lease.array((1024,), np.float32)[1] for _ in range(2)]
    window = SegmentView(ways(runtime).lock)
    looks = [window.array(place) for place in places]
    assert len(runtime.locked) == 1
    assert sum(runtime.locked.values()) >= 8192
    window.keep_only(())
    assert runtime.locked  # somebody looks
    looks.clear()
    assert not runtime.locked


def test_memory_that_cannot_be_locked_is_used_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    refused, full = HostRuntime("lock"), HostRuntime()
    with caplog.at_level(logging.INFO):
        arrays = cuda.locked((4,), np.float32, ways(refused)), cuda.locked((4,), np.float32, ways(full, 15))
    assert all((array == 0).all() for array in arrays)
    assert "CUDA failure 801: said the driver" in caplog.text
    assert refused.n_forgotten == 1  # or onnxruntime would find it after its next kernel
    assert "memory_locked=no bytes=16 locked_bytes=0" in caplog.text
    assert not full.locked


@pytest.mark.parametrize(("fault", "trusted"), [("", True), ("short", False), ("address", False)])
def test_a_runtime_that_does_not_copy_what_it_should_is_not_trusted(fault: str, trusted: bool) -> None:
    array = np.zeros(64, np.float32)
    value = onnxruntime.OrtValue.ortvalue_from_numpy(array.copy(), "cpu", 0)
    way = ways(HostRuntime(fault))
    assert isinstance(cuda.checked(way, value, array), cuda.RuntimeCopies if trusted else cuda.OnnxCopies)


def test_without_a_cuda_runtime_onnxruntime_copies(caplog: pytest.LogCaptureFixture) -> None:
    if cuda.loaded() is not None:
        pytest.skip("this process has a CUDA runtime")
    cuda.copies.cache_clear()
    assert isinstance(cuda.copies(), cuda.OnnxCopies)
    assert "copies=slow" in caplog.text
