"""Networks under attack: what a daemon does with a file before and when it restores with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from care_live.config import NormaliseConfig, RestoreConfig
from care_live.model.file import read_card
from care_live.restore.engine import Engine
from fuzzing.target import WrongError
from tests.make.networks import noisy, volume

SHAPE = (4, 24, 24)
_CONFIG = RestoreConfig(provider="cpu", threads=1, normalise=NormaliseConfig(mode="per-volume"))


def restore_with(model: Path) -> None:
    """Load a network as the inference process does and restore one small volume.

    Raises
    ------
    CareLiveError
        The network is refused, or can't restore.
    WrongError
        What it restored is no image: another shape, or NaN that is not flagged.
    """
    engine = Engine(model, _CONFIG)
    channels = [volume(noisy(SHAPE, seed=c), c=c) for c in range(len(read_card(model).channels_in))]
    for restored in engine.restore(channels):
        if not np.isfinite(restored.mean).all():
            raise WrongError("NaN or infinity came out as a restored volume")
        if "laplace_scale" in restored.maps and not (restored.maps["laplace_scale"] >= 0).all():
            raise WrongError("a Laplace scale below 0, or NaN, came out")
