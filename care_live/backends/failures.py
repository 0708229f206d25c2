"""Errors of onnxruntime, onnx and numpy become errors of care_live, on one line: memory ran out, or another failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from care_live.errors import CareLiveError, ConfigError, OutOfMemoryError, RestoreError

_MEMORY_WORDS = (
    "out of memory",  # CUDA failure 2, and what cudaMallocFromPoolAsync says
    "failed to allocate",  # onnxruntime's arena, of a device as of the host; OpenVINO, with the number of bytes
    "available memory of",  # the same, at the limit that was set for it
    "free memory block",
    "alloc_failed",  # CUBLAS_STATUS_, CUDNN_STATUS_
    "allocation_failed",  # cuDNN 9: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_, _HOST_
    "memory allocation failed",
    "cannot allocate memory",  # the system, ENOMEM
    "bad allocation",
    "bad_alloc",
    "arena alloc failed",  # protobuf, while it parses
    "failed to serialize proto",  # protobuf, which writes no more than 2 GiB: a file of more was refused before
)
"""Parts of messages, in lower case, that mean that memory ran out."""


_PARSED_BYTES = 4 * 2**20
"""What protobuf takes for a small graph and its copies while it is made ready."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn errors of libraries into those of care_live, on one line; errors of care_live pass unchanged."""
    try:
        yield
    except CareLiveError:
        raise
    except MemoryError as error:
        raise OutOfMemoryError(f"{what}: host memory ran out") from error
    except Exception as error:
        text = " ".join(str(error).split())
        if any(word in text.lower() for word in _MEMORY_WORDS):
            raise OutOfMemoryError(f"{what}: {_shortened(text)}") from error
        raise RestoreError(f"{what} failed: {type(error).__name__}: {_shortened(text)}") from error


def refuse_scarce_memory(file_bytes: int) -> None:
    """Raise a MemoryError where protobuf would end the process: it writes to memory that it did not get.

    Parameters
    ----------
    file_bytes : of the ONNX file that is about to be parsed, copied and rewritten
    """
    np.empty(_PARSED_BYTES + 6 * file_bytes, np.uint8)


def _shortened(text: str) -> str:
    """Keep both ends: the CUDA provider names the node first, the cause last, signatures of C++ in between."""
    return text if len(text) <= 400 else f"{text[:120]} ... {text[-270:]}"


@contextmanager
def refusing_cpu(provider: str) -> Iterator[None]:
    """Explain the error of onnxruntime that nodes are left for the CPU: mostly, libraries are missing."""
    try:
        yield
    except RestoreError as error:
        if "fallback to CPU EP" not in str(error):
            raise
        raise ConfigError(cpu_instead(provider)) from error


def cpu_instead(provider: str) -> str:
    """Return what to say when a provider that was asked for would not be the one that runs."""
    return (
        f"provider {provider} was asked for, but onnxruntime would run on the CPU: the NVIDIA driver, CUDA or cuDNN is "
        "missing (see 'care-live doctor'), or it has no kernel for an operation of this network; or set "
        "provider = 'cpu'"
    )
