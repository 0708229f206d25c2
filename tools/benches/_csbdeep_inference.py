"""CSBDeep in its own environment: reads requests from standard input, answers with seconds (for `peers`).

Runs under an interpreter that has csbdeep and tensorflow; knows nothing of care_live. A request is a line:
``untiled`` or ``tiled``; the answer is a line of JSON with wall and CPU seconds.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np


def main(folder: Path, threads: int, trained: Path) -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # TensorFlow and CSBDeep log a lot
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = load(trained) if trained.is_dir() else network(np.load(folder / "weights.npz"))
    raw = np.load(folder / "raw.npy")
    low, high = np.load(folder / "ends.npy")
    from csbdeep.data import Normalizer

    class Fixed(Normalizer):
        """The same range as ours, applied and undone."""

        do_after = property(lambda self: True)

        def before(self, x, axes):
            return (x.astype(np.float32) - low) / (high - low)

        def after(self, mean, scale, axes):
            return mean * (high - low) + low, scale * (high - low)

    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        tiles = (1, 2, 2) if line.strip() == "tiled" else None
        wall, cpu = time.perf_counter(), time.process_time()
        result = model.predict_probabilistic(raw, "ZYX", normalizer=Fixed(), n_tiles=tiles)
        spent = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        np.save(folder / "mean.npy", np.asarray(result.mean()))
        print(json.dumps(spent), file=answers, flush=True)


def load(trained: Path):
    """Open a trained network as CSBDeep does."""
    from csbdeep.models import CARE

    return CARE(None, trained.name, basedir=str(trained.parent))


def network(weights):
    """Build CSBDeep's 3D network and give it the weights, (c_out, c_in, z, y, x), in computing order."""
    from csbdeep.models import CARE, Config

    n_first = int(weights["down0_0_weight"].shape[0])
    config = Config("ZYX", 1, 1, probabilistic=True, unet_n_depth=2, unet_kern_size=3, unet_n_first=n_first)
    model = CARE(config, None, basedir=None)
    names = iter(
        sorted({name.rsplit("_", 1)[0] for name in weights.files}, key=lambda name: int(weights[f"{name}_order"]))
    )
    by_name = {layer.name: layer for layer in model.keras_model.layers if layer.weights}
    order = [f"down_level_{level}_no_{i}" for level in (0, 1) for i in (0, 1)] + ["middle_0", "middle_2"]
    order += [f"up_level_{level}_no_{i}" for level in (1, 0) for i in (0, 2)]
    heads = sorted(set(by_name) - set(order), key=len)
    for layer, name in zip([*order, *heads], names, strict=True):
        kernel = weights[f"{name}_weight"].transpose(2, 3, 4, 1, 0)
        by_name[layer].set_weights([kernel, weights[f"{name}_bias"]])
    return model


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
