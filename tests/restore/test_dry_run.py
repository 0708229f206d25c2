"""What a rehearsal opens is what the volumes take, in every task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from care_live.backends.session import OnnxSession, Options, Session
from care_live.model.file import read_card
from care_live.percentiles import Span
from care_live.restore import tasks
from care_live.restore.dry_run import DryRunNetwork
from care_live.restore.geometry import output_shape
from care_live.restore.tiled import Network
from tests.make.networks import noisy, save_network

SHAPE = (6, 40, 44)


@pytest.mark.parametrize("tile_px", [None, (20, 28, 32)], ids=["whole", "tiled"])
@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"ndim": 2},
        {"ndim": 2, "task": "isotropic", "factor": 2.5},
        {"ndim": 2, "task": "isotropic", "factor": 2.5, "combine": "mixture", "mirror_yz": True},
        {"task": "upsample", "factor": 3.0},
    ],
    ids=["volume", "planes", "isotropic", "mirrored", "upsample"],
)
def test_a_rehearsal_opens_the_sessions_that_volumes_take(
    tmp_path: Path, kind: dict[str, Any], tile_px: tuple[int, int, int] | None
) -> None:
    path, opened = save_network(tmp_path / "net.onnx", **kind), []

    def open_session(content: bytes, shapes: Mapping[str, Sequence[int]], options: Options) -> Session:
        opened.append(shapes["raw"])
        return OnnxSession(content, shapes, options)

    card = read_card(path)
    network = Network(path, card, Options(threads=1), open_session=open_session, float_input="factor" in kind)
    pixels = noisy(SHAPE)[None]
    into = {head: np.full(output_shape(card, SHAPE), np.nan, np.float32) for head in card.heads}
    tasks.run(tasks.RestoreJob(card, DryRunNetwork(network), (Span(100.0, 900.0),), tile_px), pixels, into)
    rehearsed = list(opened)
    tasks.run(tasks.RestoreJob(card, network, (Span(100.0, 900.0),), tile_px), pixels, into)
    assert opened == rehearsed
    assert rehearsed
    assert np.isfinite(into["mean"]).all()
