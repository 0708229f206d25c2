"""Runs in CSBDeep's own environment: train on given patches, restore a given volume as it was trained then.

python _csbdeep_training.py PATCHES.npz OUT.npz --updates N --cpu-seconds S --seed K

One training serves both limits: its learning rate does not know them. Only training is counted, on one thread:
the clock starts at the end of the first update, in which TensorFlow builds its graph, and rests in validation.
"""

from __future__ import annotations

import argparse
import tempfile
import time

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
    import tensorflow
    from csbdeep.models import CARE, Config
    from tensorflow import keras

    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(chosen.seed)

    class AtLimits(keras.callbacks.Callback):
        n_updates, spent_s = 0, 0.0

        def __init__(self) -> None:
            super().__init__()
            self.weights: dict[str, list[np.ndarray]] = {}

        def on_train_batch_begin(self, batch: int, logs: object = None) -> None:
            self.begun = time.process_time()

        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            self.n_updates += 1
            if self.n_updates > 1:
                self.spent_s += time.process_time() - self.begun
            if self.n_updates == chosen.updates:
                self.weights["at_updates"] = self.model.get_weights()
            if self.spent_s > chosen.cpu_seconds and "at_cpu_seconds" not in self.weights:
                self.weights["at_cpu_seconds"], self.n_affordable = self.model.get_weights(), self.n_updates
            self.model.stop_training = len(self.weights) == 2

    data = np.load(chosen.patches)
    x, y, vx, vy = (np.moveaxis(data[name], 1, -1) for name in ("x", "y", "vx", "vy"))
    config = Config(
        "ZYXC", 1, 1, unet_n_first=int(data["filters"]), probabilistic=False, train_batch_size=int(data["batch"]),
        train_steps_per_epoch=len(x) // int(data["batch"]), train_epochs=100, train_tensorboard=False,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        model = CARE(config, "peer", basedir=folder)
        model.prepare_for_training()
        model.callbacks.append(limits := AtLimits())
        model.train(x, y, validation_data=(vx, vy))
        restored = {}
        for limit, weights in limits.weights.items():
            model.keras_model.set_weights(weights)
            restored[limit] = model.predict(data["raw"], "ZYX", normalizer=None)
    np.savez(chosen.out, n_updates=limits.n_affordable, **restored)


if __name__ == "__main__":
    main()
