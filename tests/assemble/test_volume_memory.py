"""Memory of volumes is used again, once no array refers to it and not before; little of it waits."""

from __future__ import annotations

import threading

import numpy as np

from care_live.assemble.volume_memory import VolumeMemory
from care_live.images import read_only

SHAPE = (2, 3, 4)
N_BYTES = 48


def test_memory_is_used_again_once_the_last_view_of_it_is_gone() -> None:
    memory = VolumeMemory(N_BYTES)
    pixels = memory.take(SHAPE, "uint16")
    pixels[:] = 7
    view = read_only(pixels)[1:, ::2]
    del pixels
    assert memory.idle_bytes == 0, "a view is left"
    other = memory.take(SHAPE, "uint16")
    other[:] = 9
    assert (view == 7).all()
    del view
    assert memory.idle_bytes == N_BYTES
    again = memory.take(SHAPE, "uint16")
    assert memory.idle_bytes == 0
    assert again.shape == SHAPE and again.dtype == np.uint16 and again.flags.writeable and again.flags.c_contiguous


def test_no_more_waits_than_may_and_none_of_another_size() -> None:
    memory = VolumeMemory(2 * N_BYTES)
    three = [memory.take(SHAPE, "uint16") for _ in range(3)]
    three.clear()
    assert memory.idle_bytes == 2 * N_BYTES
    larger = memory.take((3, 3, 4), "uint16")
    assert memory.idle_bytes == 0
    del larger
    assert memory.idle_bytes == 72


def test_any_thread_may_give_it_back() -> None:
    memory = VolumeMemory(N_BYTES)
    held = [memory.take(SHAPE, "uint8")]
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    assert memory.idle_bytes == 24
