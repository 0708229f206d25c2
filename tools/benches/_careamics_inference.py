"""CAREamics in its own environment: reads requests from standard input, answers with seconds (for `peers`).

Runs under an interpreter that has careamics; knows nothing of care_live. The network is CAREamics' own U-Net
for CARE, after one update on noise: how long it takes does not depend on its weights. A request is a line:
``untiled`` or ``tiled``; the answer is a line of JSON with wall and CPU seconds.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PATCH_PX = (16, 64, 64)
TILE_PX, OVERLAP_PX = (16, 128, 128), (8, 48, 48)


def main(folder: Path, threads: int, n_filters: int) -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # Lightning logs a lot
    import torch

    torch.set_num_threads(threads)
    raw = np.load(folder / "raw.npy").astype(np.float32)
    with tempfile.TemporaryDirectory() as work_dir:
        model = network(n_filters, work_dir)
        print("ready", file=answers, flush=True)
        for line in sys.stdin:
            tiles = {"tile_size": TILE_PX, "tile_overlap": OVERLAP_PX} if line.strip() == "tiled" else {}
            wall, cpu = time.perf_counter(), time.process_time()
            model.predict(raw[np.newaxis], axes="SZYX", data_type="array", **tiles)
            spent = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
            print(json.dumps(spent), file=answers, flush=True)


def network(n_filters: int, work_dir: str):
    """Return a CAREamist that can predict."""
    import lightning  # noqa: F401 - looks for torchvision, which must still be missing then
    from _careamics_training import do_without_torchvision

    do_without_torchvision()
    from careamics import CAREamist
    from careamics.config import create_advanced_care_config

    config = create_advanced_care_config(
        experiment_name="peer", data_type="array", axes="SZYX", patch_size=PATCH_PX, batch_size=1, num_epochs=1,
        num_workers=0, model_params={"num_channels_init": n_filters}, trainer_params={"accelerator": "cpu"},
    )  # fmt: skip
    model = CAREamist(config, work_dir=work_dir, enable_progress_bar=False)
    noise = np.random.default_rng(0).random((1, *PATCH_PX), np.float32)
    model.train(train_data=noise, train_data_target=noise, val_data=noise, val_data_target=noise)
    return model


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if sys.argv[3].isdigit() else 32)
