"""Runs in CAREamics' own environment: N2V2 on noisy images for some CPU time, then restore others.

python _careamics_noisy.py IMAGES.npz OUT.npz --cpu-seconds S --seed K

IMAGES.npz holds ``train`` and ``judged``, each (n, [z,] y, x). All that is not given is the default of CAREamics: its
network, 32 filters, Adam; patches of 16 x 64 x 64 by 2, or 64 x 64 by 16, of which 8 are for validation, or a quarter
of fewer than 32. The time begins with training, validation included.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from typing import Any

import numpy as np
from _careamics_training import do_without_torchvision

MULTIPLE = 8
"""Of every side of an image that its network takes whole."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("images")
    parser.add_argument("out")
    parser.add_argument("--cpu-seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    chosen = parser.parse_args()
    import torch
    from lightning.pytorch.callbacks import Callback

    do_without_torchvision()
    from careamics import CAREamist
    from careamics.config import create_advanced_n2v_config

    torch.set_num_threads(1)

    class AtLimit(Callback):
        n_updates, begun_s = 0, 0.0

        def on_train_start(self, *_: object) -> None:
            self.begun_s = time.process_time()

        def on_train_batch_end(self, trainer: Any, *_: object) -> None:
            self.n_updates += 1
            trainer.should_stop = time.process_time() - self.begun_s > chosen.cpu_seconds

    data = np.load(chosen.images)
    train, is_flat = data["train"], data["train"].ndim == 3
    axes, patch_px = ("SYX", (64, 64)) if is_flat else ("SZYX", (_fitting(train.shape[1]), 64, 64))
    n_patches = len(train) * math.prod(size // step for size, step in zip(train.shape[1:], patch_px, strict=True))
    config = create_advanced_n2v_config(
        experiment_name="peer", data_type="array", axes=axes, patch_size=patch_px, batch_size=16 if is_flat else 2,
        num_epochs=10_000, use_n2v2=True, n_val_patches=min(8, max(1, n_patches // 4)), num_workers=0,
        seed=chosen.seed, trainer_params={"accelerator": "cpu"},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        model = CAREamist(config, work_dir=folder, callbacks=[limit := AtLimit()], enable_progress_bar=False)
        model.train(train_data=train.astype(np.float32))
        judged = data["judged"]
        spare = [(0, 0), *((0, -size % MULTIPLE) for size in judged.shape[1:])]
        restored, _ = model.predict(np.pad(judged, spare, mode="symmetric").astype(np.float32), axes=axes)
    there = tuple(slice(size) for size in judged.shape)
    whole = np.asarray(restored).reshape([n + sum(more) for n, more in zip(judged.shape, spare, strict=True)])
    np.savez(chosen.out, n_updates=limit.n_updates, restored=whole[there])


def _fitting(n_planes: int) -> int:
    """Return the largest patch along z, a power of two of at most 16, that fits."""
    return next(size for size in (16, 8, 4, 2) if size <= n_planes)


if __name__ == "__main__":
    main()
