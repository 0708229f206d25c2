"""The door to onnxruntime: one shape, honest providers, our errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from care_live.backends import session
from care_live.backends.failures import refusing_cpu, translated
from care_live.backends.session import OnnxSession, Options, cuda_options, refuse_twins
from care_live.errors import ConfigError, OutOfMemoryError, RestoreError
from tests.make.networks import noisy, save_network

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


def test_a_provider_that_is_not_there_is_refused_and_never_replaced(content: bytes) -> None:
    try:
        OnnxSession(content, SHAPES, Options(provider="cuda"))
    except ConfigError as error:
        gpu_package = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
        assert ("CUDA or cuDNN is missing" if gpu_package else "no cuda provider") in str(error)
        assert "provider = 'cpu'" in str(error)
    else:
        pytest.skip("this machine has a GPU")


def test_a_gpu_without_its_libraries_is_named_and_not_the_node_that_missed_it() -> None:
    """In the words of onnxruntime-gpu 1.31.1 on a machine without CUDA."""
    said = (
        "[ONNXRuntimeError] : 1 : FAIL : This session contains graph nodes that are assigned to the default CPU EP, "
        "but fallback to CPU EP has been explicitly disabled by the user."
    )
    with pytest.raises(ConfigError, match="CUDA or cuDNN is missing"), refusing_cpu("cuda"), translated("loading"):
        raise RuntimeError(said)
    with pytest.raises(RestoreError), refusing_cpu("cuda"), translated("loading"):
        raise RuntimeError("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF")


def test_another_shape_than_promised_is_an_error_of_ours(content: bytes) -> None:
    ours = OnnxSession(content, SHAPES, ONE)
    with pytest.raises(RestoreError, match="inference failed"):
        ours.run(feeds() | {"raw": np.zeros((1, 1, 9, 16, 16), np.uint16)})


def test_both_packages_of_onnxruntime_in_one_folder_are_refused() -> None:
    refuse_twins({"onnxruntime": "/a"})
    refuse_twins({"onnxruntime": "/a", "onnxruntime-gpu": "/b"})  # the first on the path is whole
    with pytest.raises(ConfigError, match="both installed"):
        refuse_twins({"onnxruntime": "/a", "onnxruntime-gpu": "/a"})


def test_neither_package_names_both_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    assert session.installed_in("onnxruntime") or session.installed_in("onnxruntime-gpu")
    monkeypatch.setattr(session, "installed_in", lambda _: "")
    with pytest.raises(ConfigError, match=r"care-live\[cpu\].*care-live\[gpu\]"):
        session.runtime()


SIGNATURE = (
    "std::conditional_t<THRW, void, onnxruntime::common::Status> onnxruntime::CudaCall(ERRTYPE, const char*, const "
    "char*, ERRTYPE, const char*, const char*, int) [with ERRTYPE = cudaError; bool THRW = true; "
    "std::conditional_t<THRW, void, onnxruntime::common::Status> = void] "
)
AT = "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv node. Name:'c' "
CALL = AT + "Status Message: /src/onnxruntime/core/providers/cuda/cuda_call.cc:121 " + 2 * SIGNATURE
ARENA = (
    AT + "Status Message: /src/onnxruntime/core/framework/bfc_arena.cc:376 void* onnxruntime::BFCArena::"
    "AllocateRawInternal(size_t, bool, onnxruntime::Stream*, bool, onnxruntime::WaitNotificationFn) "
)
NO_MEMORY = {
    "cudaMalloc": CALL + "CUDA failure 2: out of memory ; GPU=0 ; hostname=h ; expr=cudaMalloc((void**)&p, size);",
    "cuBLAS": CALL + "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; expr=cublasCreate(&cublas_handle_);",
    "cuDNN": CALL + "CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED ; GPU=0 ; expr=cudnnCreate(&cudnn_handle_);",
    "cuDNN 9": CALL + "CUDNN failure 4004: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ; GPU=0 ; expr=",
    "arena": ARENA + "Failed to allocate memory for requested buffer of size 9663676416",
    "limit": ARENA + "Available memory of 1048576 is smaller than requested bytes of 9663676416",
    "fragments": ARENA + "Failed to find a free memory block despite calling Extend. rounded_bytes=1024",
    "pool": "CudaMempoolArena::Alloc: cudaMallocFromPoolAsync failed: out of memory",
    "Windows": AT + "Status Message: bad allocation",
}
OTHERS = {
    "address": CALL + "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; expr=cudaMemcpy(dst);",
    "cuDNN": CALL + "CUDNN failure 5003: CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER ; GPU=0 ; expr=cudnnExecute;",
    "shape": "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: raw",
}


@pytest.mark.parametrize("text", NO_MEMORY.values(), ids=NO_MEMORY)
def test_memory_that_ran_out_is_known_by_the_words_of_every_library(text: str) -> None:
    """As users of the CUDA provider report them: the cause stands behind hundreds of characters of signatures."""
    with pytest.raises(OutOfMemoryError) as caught, translated("inference"):
        raise RuntimeError(text)
    assert len(str(caught.value)) < 450
    assert str(caught.value).endswith(text[-40:])


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_other_faults_of_a_device_are_no_lack_of_memory(text: str) -> None:
    with pytest.raises(RestoreError) as caught, translated("inference"):
        raise RuntimeError(text)
    assert not isinstance(caught.value, OutOfMemoryError)


def test_memory_of_the_host_that_ran_out_has_the_same_error() -> None:
    with pytest.raises(OutOfMemoryError), translated("inference"):
        raise MemoryError


def test_exact_mode_forbids_tf32_and_a_caller_may_set_against_a_default() -> None:
    assert cuda_options(Options())["use_tf32"] == "0"
    assert cuda_options(Options(fast_mode=True))["use_tf32"] == "1"
    assert cuda_options(Options(cuda={"prefer_nhwc": "0"}))["prefer_nhwc"] == "0"
