"""Runs in CSBDeep's own environment: train on given patches, restore a given volume.

python _peer_csbdeep.py PATCHES.npz OUT.npy --updates N | --cpu-seconds S
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("patches")
    parser.add_argument("out")
    parser.add_argument("--updates", type=int, default=10**6)
    parser.add_argument("--cpu-seconds", type=float, default=float("inf"))
    chosen = parser.parse_args()
    from csbdeep.models import CARE, Config
    from tensorflow import keras

    class TimeIsUp(keras.callbacks.Callback):
        n_updates = 0

        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            self.n_updates += 1
            if time.process_time() - begun > chosen.cpu_seconds:
                self.model.stop_training = True
                raise StopIteration

    data = np.load(chosen.patches)
    x, y, vx, vy = (np.moveaxis(data[name], 1, -1) for name in ("x", "y", "vx", "vy"))
    per_epoch = next(steps for steps in range(min(50, chosen.updates), 0, -1) if chosen.updates % steps == 0)
    config = Config(
        "ZYXC", 1, 1, unet_n_first=int(data["filters"]), probabilistic=True, train_batch_size=int(data["batch"]),
        train_steps_per_epoch=per_epoch, train_epochs=max(1, chosen.updates // per_epoch), train_tensorboard=False,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        model = CARE(config, "peer", basedir=folder)
        model.prepare_for_training()
        model.callbacks.append(stop := TimeIsUp())
        begun = time.process_time()
        with contextlib.suppress(StopIteration):
            model.train(x, y, validation_data=(vx, vy))
        print(f"{stop.n_updates} updates in {time.process_time() - begun:.0f} CPU s", file=sys.stderr)
        np.save(chosen.out, model.predict(data["raw"], "ZYX", normalizer=None))


if __name__ == "__main__":
    main()
