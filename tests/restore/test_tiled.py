"""Tiles shrink when memory runs out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from care_live.backends.session import OnnxSession, Options
from care_live.config import RestoreConfig
from care_live.errors import OutOfMemoryError
from care_live.model.file import read_card
from care_live.percentiles import Span
from care_live.restore.select import open_network
from care_live.restore.tiled import Array, Network
from tests.make.networks import noisy, save_network

CPU = RestoreConfig(provider="cpu", threads=1)


class Cramped:
    """A real session behind a device that can hold a number of pixels only."""

    def __init__(self, most_px: int) -> None:
        self.most_px = most_px
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, content: bytes, shapes: Mapping[str, Sequence[int]], options: Options) -> OnnxSession:
        shape = tuple(shapes["raw"])
        self.seen.append(shape)
        if np.prod(shape) > self.most_px:
            raise OutOfMemoryError("inference: Failed to allocate memory for requested buffer")
        return OnnxSession(content, shapes, options)


def test_memory_that_runs_out_shrinks_the_tiles_and_changes_nothing(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx", ndim=2)
    device = Cramped(40 * 40)
    network = Network(path, read_card(path), Options(threads=1), open_session=device)
    pixels = noisy((1, 1, 120, 130))[:, :]
    outs: list[Array] = [np.empty(pixels.shape, np.float32) for _ in range(2)]
    network.predict(pixels, [Span(100, 300)], outs, tile_px=None)
    assert network.degraded
    assert len(set(device.seen)) > 1
    roomy, _ = open_network(path, read_card(path), CPU)
    wanted: list[Array] = [np.empty(pixels.shape, np.float32) for _ in range(2)]
    roomy.predict(pixels, [Span(100, 300)], wanted, tile_px=None)
    assert not roomy.degraded
    assert all((out == want).all() for out, want in zip(outs, wanted, strict=True))


def test_memory_for_no_tile_at_all_is_an_error_and_not_a_loop(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx", ndim=2)
    network = Network(path, read_card(path), Options(threads=1), open_session=Cramped(100))
    with pytest.raises(OutOfMemoryError, match="does not fit"):
        network.predict(noisy((1, 1, 64, 64)), [Span(0, 1)], [np.empty((1, 1, 64, 64), np.float32)] * 2, tile_px=None)
