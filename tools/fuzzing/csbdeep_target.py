"""CSBDeep model folders: config.json with hostile values, HDF5 weights damaged."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from care_live.model import checks
from care_live.model.csbdeep import import_csbdeep
from fuzzing.damage import Case, Files, also, damage_bytes, damage_json
from fuzzing.datasets import there
from fuzzing.target import Target, write_files

_REAL = ("csbdeep_models/care2d_prob_d2k5f8", "csbdeep_models/projection_mae", "csbdeep_models/care3d_prob_d2k3f8")
_CONFIG, _WEIGHTS = "config.json", "weights_best.h5"


class CsbdeepFolders:
    """Imports each folder; a network that comes out must pass our own checks."""

    def originals(self, folder: Path) -> Sequence[Files]:
        real = there(*_REAL)
        return [{name: (path / name).read_bytes() for name in (_CONFIG, _WEIGHTS)} for path in real or _written(folder)]

    def damaged(self, sound: Files, chance: random.Random) -> Case:
        match chance.randrange(4):
            case 0:
                return damage_json(sound, chance, _CONFIG)
            case 1:
                return also(damage_json(sound, chance, _CONFIG), damage_bytes, chance, _WEIGHTS)
            case _:
                return damage_bytes(sound, chance, _WEIGHTS)

    def read(self, case: Case, folder: Path) -> None:
        write_files(case.files, folder / "model")
        import_csbdeep(folder / "model", folder / "network.onnx")
        checks.check(folder / "network.onnx")


def _written(folder: Path) -> list[Path]:
    """Write one where no real model is on this machine."""
    from tests.make.keras_files import config_of, save_model, seeded_layers

    config = config_of()
    return [save_model(folder / "model", config, seeded_layers(config))]


def target() -> Target:
    return CsbdeepFolders()
