"""The door to onnxruntime: one shape, honest providers, our errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from care_live.errors import ConfigError, OutOfMemoryError, RestoreError
from care_live.restore import session
from care_live.restore.session import OnnxSession, Options, cuda_options, refuse_twins, translated
from tests.restore.networks import noisy, save_network

SHAPES = {"raw": (1, 1, 8, 16, 16), "low": (1,), "high": (1,)}
ONE = Options(threads=1)


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    return save_network(tmp_path / "net.onnx").read_bytes()


def feeds(seed: int = 0) -> dict[str, np.ndarray]:
    return {"raw": noisy((8, 16, 16), seed)[None, None], "low": np.float32([100]), "high": np.float32([300])}


def test_equals_a_bare_session_with_and_without_own_buffers(content: bytes) -> None:
    bare = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, feeds())
    ours = OnnxSession(content, SHAPES, ONE)
    into = [np.zeros((1, 1, 8, 16, 16), np.float32) for _ in ours.outputs]
    ours.run(feeds(), into)
    for wanted, got, free in zip(bare, into, ours.run(feeds()), strict=True):
        assert (wanted == got).all()
        assert (wanted == free).all()


def test_the_way_over_device_memory_gives_the_same(content: bytes) -> None:
    """The GPU's path (fixed addresses, bound values), walked with the CPU as the device."""
    ours = OnnxSession(content, SHAPES, ONE)
    wanted = [result.copy() for result in ours.run(feeds(3))]
    ours._prepare_device()
    ours._run_on_device(feeds(2), None)
    into = [np.zeros((1, 1, 8, 16, 16), np.float32) for _ in ours.outputs]
    ours._run_on_device(feeds(3), into)
    assert all((got == want).all() for got, want in zip(into, wanted, strict=True))


def test_a_provider_that_is_not_there_is_refused_and_never_replaced(content: bytes) -> None:
    with pytest.raises(ConfigError, match=r"no cuda provider.*care-live\[gpu\]"):
        OnnxSession(content, SHAPES, Options(provider="cuda"))


def test_another_shape_than_promised_is_an_error_of_ours(content: bytes) -> None:
    ours = OnnxSession(content, SHAPES, ONE)
    with pytest.raises(RestoreError, match="inference failed"):
        ours.run(feeds() | {"raw": np.zeros((1, 1, 9, 16, 16), np.uint16)})


def test_both_packages_of_onnxruntime_are_refused() -> None:
    refuse_twins({"onnxruntime"})
    with pytest.raises(ConfigError, match="both installed"):
        refuse_twins({"onnxruntime", "onnxruntime-gpu"})


def test_neither_package_names_both_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_is_installed", lambda _: False)
    with pytest.raises(ConfigError, match=r"care-live\[cpu\].*care-live\[gpu\]"):
        session.runtime()


@pytest.mark.parametrize(
    "raised",
    [MemoryError(), RuntimeError("BFCArena: Failed to allocate memory for requested buffer of size 9")],
    ids=["host", "device"],
)
def test_memory_that_ran_out_has_its_own_error(raised: Exception) -> None:
    with pytest.raises(OutOfMemoryError), translated("inference"):
        raise raised


def test_exact_mode_forbids_tf32_and_a_caller_may_set_against_a_default() -> None:
    assert cuda_options(Options())["use_tf32"] == "0"
    assert cuda_options(Options(fast_mode=True))["use_tf32"] == "1"
    assert cuda_options(Options(cuda={"prefer_nhwc": "0"}))["prefer_nhwc"] == "0"
