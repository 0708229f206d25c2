"""The only module that calls the CUDA runtime: page-locked memory, and copies between it and a device.

A copy from ordinary memory goes through a buffer of the driver, at a third of the speed, and onnxruntime's Python
has no page-locked memory that every version since 1.23 offers. So this module calls the library that onnxruntime itself
has loaded. Where that is not found, or copies wrong bytes, onnxruntime copies, more slowly.

onnxruntime computes on streams that do not wait for the default one (cudaStreamNonBlocking), so these copies, on the
default stream, run beside a computation; and ctypes lets Python's other threads run meanwhile.
"""

from __future__ import annotations

import ctypes
import logging
import mmap
import os
import sys
import threading
import weakref
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from care_live.backends.host_memory import total_bytes
from care_live.errors import RestoreError

logger = logging.getLogger(__name__)

Array = NDArray[Any]

_VERSIONS = (13, 12)
_TO_DEVICE, _TO_HOST = 1, 2
"""Kinds of `cudaMemcpy`."""
_LOCKED_SHARE = 0.25
"""Largest share of the machine's memory to lock: other processes cannot get locked memory."""


class OnDevice(Protocol):
    """An array of onnxruntime's on a device."""

    def data_ptr(self) -> int:
        """Return its address there."""
        ...

    def update_inplace(self, data: Array) -> None:
        """Copy an array to it."""
        ...

    def numpy(self) -> Array:
        """Return a new copy on the host."""
        ...


class Copies(Protocol):
    """How arrays are copied between the host and a device; every copy is complete on return."""

    def lock(self, array: Array) -> None:
        """Lock an array's memory, which ends with it, so that copies are fast; it stays slow where that fails."""
        ...

    def to_device(self, array: Array, value: OnDevice) -> None:
        """Copy a C-contiguous array to a value of the same size and type."""
        ...

    def to_host(self, value: OnDevice, array: Array) -> None:
        """Copy a value to a C-contiguous array of the same size and type."""
        ...


class OnnxCopies:
    """onnxruntime's own copies, from and to ordinary memory; for its CPU provider, too."""

    def lock(self, array: Array) -> None:
        """Leave the memory as it is: onnxruntime copies locked memory like any other."""

    def to_device(self, array: Array, value: OnDevice) -> None:
        """See `Copies.to_device`."""
        value.update_inplace(array)

    def to_host(self, value: OnDevice, array: Array) -> None:
        """See `Copies.to_host`."""
        np.copyto(array, value.numpy().reshape(array.shape))


class RuntimeCopies:
    """The CUDA runtime's copies, at full speed where the memory on the host is locked.

    Parameters
    ----------
    library : libcudart
    most_locked_bytes : beyond that, memory stays as it is
    """

    def __init__(self, library: ctypes.CDLL, most_locked_bytes: int) -> None:
        self._library, self._most_locked_bytes = library, most_locked_bytes
        self._locked_bytes, self._counting = 0, threading.Lock()
        address, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
        library.cudaMemcpy.argtypes = [address, address, size, number]
        library.cudaStreamSynchronize.argtypes = [address]
        library.cudaHostRegister.argtypes = [address, size, ctypes.c_uint]
        library.cudaHostUnregister.argtypes = [address]
        library.cudaGetErrorString.argtypes, library.cudaGetErrorString.restype = [number], ctypes.c_char_p

    def lock(self, array: Array) -> None:
        """See `Copies.lock`."""
        address, n_bytes = array.ctypes.data, array.nbytes
        if not self._may_lock(n_bytes):
            logger.info("memory_locked=no bytes=%d locked_bytes=%d", n_bytes, self._locked_bytes)
            return
        if reason := self._failure(self._library.cudaHostRegister(address, n_bytes, 0)):
            self._count(-n_bytes)
            logger.warning("memory_locked=no bytes=%d reason=%s", n_bytes, reason)
            return
        weakref.finalize(array, self._unlock, address, n_bytes).atexit = False

    def to_device(self, array: Array, value: OnDevice) -> None:
        """See `Copies.to_device`; from ordinary memory `cudaMemcpy` returns before the last piece has arrived."""
        self._refuse(self._library.cudaMemcpy(value.data_ptr(), array.ctypes.data, array.nbytes, _TO_DEVICE))
        self._refuse(self._library.cudaStreamSynchronize(None))

    def to_host(self, value: OnDevice, array: Array) -> None:
        """See `Copies.to_host`."""
        self._refuse(self._library.cudaMemcpy(array.ctypes.data, value.data_ptr(), array.nbytes, _TO_HOST))

    def _may_lock(self, n_bytes: int) -> bool:
        with self._counting:
            fits = self._locked_bytes + n_bytes <= self._most_locked_bytes
            self._locked_bytes += n_bytes if fits else 0
        return fits

    def _count(self, n_bytes: int) -> None:
        with self._counting:
            self._locked_bytes += n_bytes

    def _unlock(self, address: int, n_bytes: int) -> None:
        self._failure(self._library.cudaHostUnregister(address))
        self._count(-n_bytes)

    def _failure(self, status: int) -> str:
        """Return what went wrong, empty if nothing; clear it, or onnxruntime takes it for an error of its own."""
        if not status:
            return ""
        self._library.cudaGetLastError()
        return f"CUDA failure {status}: {self._library.cudaGetErrorString(status).decode()}"

    def _refuse(self, status: int) -> None:
        if reason := self._failure(status):
            raise RestoreError(f"copying between host and device failed: {reason}")


@cache
def copies() -> Copies:
    """Return the fastest way to copy to this process' device; to be called once onnxruntime has its provider."""
    library = loaded()
    if library is None:
        logger.warning("copies=slow reason=no CUDA runtime is loaded")
        return OnnxCopies()
    return RuntimeCopies(library, int(_LOCKED_SHARE * total_bytes()))


def checked(way: Copies, value: OnDevice, array: Array) -> Copies:
    """Return a way that brings an array to a device and back as it is: the given one, or onnxruntime's own.

    Parameters
    ----------
    value : on the device; it is overwritten
    array : of the same size and type
    """
    noise = np.frombuffer(np.random.default_rng(0).bytes(array.nbytes), array.dtype).reshape(array.shape)
    back = np.zeros_like(noise)
    try:
        way.to_device(noise, value)
        way.to_host(value, back)
        same = noise.tobytes() == back.tobytes() == value.numpy().tobytes()
    except RestoreError as error:
        logger.warning("copies=slow reason=%s", error)
        return OnnxCopies()
    if not same:
        logger.warning("copies=slow reason=the CUDA runtime does not copy what it should")
    return way if same else OnnxCopies()


def locked(shape: Sequence[int], dtype: DTypeLike, way: Copies) -> Array:
    """Return an array of zeros in pages of its own, locked where that is possible."""
    n = int(np.prod(shape, dtype=np.int64))
    pages = mmap.mmap(-1, max(1, n * np.dtype(dtype).itemsize))
    array = np.frombuffer(pages, dtype, count=n)
    way.lock(array)
    return array.reshape(tuple(shape))


class DeviceMemory(NamedTuple):
    """Of the device that this process uses; all processes together."""

    taken_bytes: int
    free_bytes: int


def memory() -> DeviceMemory | None:
    """Return how much of the device's memory is taken and free; None without a CUDA runtime."""
    library, free, total = loaded(), ctypes.c_size_t(), ctypes.c_size_t()
    if library is None or library.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)):
        return None
    return DeviceMemory(total.value - free.value, free.value)


def loaded() -> ctypes.CDLL | None:
    """Return the CUDA runtime that this process has loaded already; a second copy would have a state of its own."""
    form = "cudart64_{}.dll" if sys.platform == "win32" else "libcudart.so.{}"
    for version in _VERSIONS:
        try:
            return ctypes.CDLL(form.format(version), mode=getattr(os, "RTLD_NOLOAD", 0))
        except OSError:
            continue
    return None
