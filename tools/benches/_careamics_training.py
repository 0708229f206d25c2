"""Runs in CAREamics' own environment: train on given patches, restore a given volume as it was trained then.

python _careamics_training.py PATCHES.npz OUT.npz --updates N --cpu-seconds S --seed K

One training serves both limits: its learning rate does not know them. Only training is counted, on one thread:
the clock starts at the end of the first update and rests in validation. Patches are not augmented.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("patches")
    parser.add_argument("out")
    parser.add_argument("--updates", type=int, required=True)
    parser.add_argument("--cpu-seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    return parser.parse_args()


def main() -> None:
    chosen = asked()
    import torch
    from lightning.pytorch.callbacks import Callback

    do_without_torchvision()
    from careamics import CAREamist
    from careamics.config import create_advanced_care_config

    torch.set_num_threads(1)

    class AtLimits(Callback):
        n_updates, spent_s = 0, 0.0

        def __init__(self) -> None:
            self.checkpoints: dict[str, Path] = {}

        def on_train_batch_start(self, *_: object) -> None:
            self.begun = time.process_time()

        def on_train_batch_end(self, trainer: Any, *_: object) -> None:
            self.n_updates += 1
            if self.n_updates > 1:
                self.spent_s += time.process_time() - self.begun
            if self.n_updates == chosen.updates:
                self.keep("at_updates", trainer)
            if self.spent_s > chosen.cpu_seconds and "at_cpu_seconds" not in self.checkpoints:
                self.keep("at_cpu_seconds", trainer)
                self.n_affordable = self.n_updates
            trainer.should_stop = len(self.checkpoints) == 2

        def keep(self, limit: str, trainer: Any) -> None:
            self.checkpoints[limit] = Path(folder) / f"{limit}.ckpt"
            trainer.save_checkpoint(self.checkpoints[limit])

    data = np.load(chosen.patches)
    x, y, vx, vy = (data[name][:, 0] for name in ("x", "y", "vx", "vy"))
    config = create_advanced_care_config(
        experiment_name="peer", data_type="array", axes="SZYX", patch_size=x.shape[1:], num_epochs=100,
        batch_size=int(data["batch"]), num_workers=0, augmentations=[], seed=chosen.seed,
        model_params={"num_channels_init": int(data["filters"])}, trainer_params={"accelerator": "cpu"},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        model = CAREamist(config, work_dir=folder, callbacks=[limits := AtLimits()], enable_progress_bar=False)
        model.train(train_data=x, train_data_target=y, val_data=vx, val_data_target=vy)
        restored = {}
        for limit, checkpoint in limits.checkpoints.items():
            volume, _ = model.predict(data["raw"][None], axes="SZYX", checkpoint=checkpoint)
            restored[limit] = np.asarray(volume[0]).squeeze()
    np.savez(chosen.out, n_updates=limits.n_affordable, **restored)


def do_without_torchvision() -> None:
    """Let CAREamics import: it wants torchvision, and an older torch, only for networks that are not used here."""
    for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__spec__ = ModuleSpec(name, None)
    sys.modules["torchvision"].__version__ = "0"  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
