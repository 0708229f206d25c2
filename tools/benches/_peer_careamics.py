"""Runs in CAREamics' own environment: train on given patches, restore a given volume.

python _peer_careamics.py PATCHES.npz OUT.npy --updates N | --cpu-seconds S
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("patches")
    parser.add_argument("out")
    parser.add_argument("--updates", type=int, default=10**6)
    parser.add_argument("--cpu-seconds", type=float, default=float("inf"))
    chosen = parser.parse_args()
    from lightning.pytorch.callbacks import Callback

    do_without_torchvision()
    from careamics import CAREamist
    from careamics.config import create_advanced_care_config

    class TimeIsUp(Callback):
        n_updates = 0

        def on_train_batch_end(self, trainer: Any, *_: object) -> None:
            self.n_updates += 1
            if time.process_time() - begun > chosen.cpu_seconds or self.n_updates >= chosen.updates:
                trainer.should_stop = True

    data = np.load(chosen.patches)
    x, y, vx, vy = (data[name][:, 0] for name in ("x", "y", "vx", "vy"))
    batch = int(data["batch"])
    config = create_advanced_care_config(
        experiment_name="peer", data_type="array", axes="SZYX", patch_size=x.shape[1:], batch_size=batch,
        num_epochs=max(1, chosen.updates * batch // len(x) + 1), num_workers=0,
        model_params={"num_channels_init": int(data["filters"])}, trainer_params={"accelerator": "cpu"},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        model = CAREamist(config, work_dir=folder, callbacks=[stop := TimeIsUp()], enable_progress_bar=False)
        begun = time.process_time()
        model.train(train_data=x, train_data_target=y, val_data=vx, val_data_target=vy)
        print(f"{stop.n_updates} updates in {time.process_time() - begun:.0f} CPU s", file=sys.stderr)
        restored, _ = model.predict(data["raw"][None], axes="SZYX")
        np.save(chosen.out, np.asarray(restored[0]).squeeze())


def do_without_torchvision() -> None:
    """Let CAREamics import: it wants torchvision, and an older torch, only for networks that are not used here."""
    for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__spec__ = ModuleSpec(name, None)
    sys.modules["torchvision"].__version__ = "0"  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
